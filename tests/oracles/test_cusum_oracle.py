"""The cusum against a loop that can be read aloud."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from mlma.stats.cusum import accumulated, scores, tail_probability


def slow_evidence(p_values, signs, side, allowance):
    """Evidence and its tail after each batch of one stream."""
    total, told = 0.0, []
    for p, sign in zip(p_values, signs, strict=True):
        if not math.isnan(p):
            upper = p
            if side == "two-sided":
                upper = p / 2 if sign > 0 else 1 - p / 2
            score = -NormalDist().inv_cdf(upper)
            score = min(max(score, -3.0), 4.0)
            total = max(0.0, total + score - allowance)
        tail = math.exp(-2 * allowance * (total + 0.5826)) if total > 0 else 1.0
        told.append((total, tail))
    return np.array(told).T


@pytest.mark.parametrize("side", ["greater", "two-sided"])
@pytest.mark.parametrize("allowance", [0.25, 0.5])
def test_cusum_is_that_of_the_slow_loop(side, allowance):
    rng = np.random.default_rng(12)
    n, days = 20, 60
    p_values = rng.random((days, n)) ** rng.choice([0.5, 1.0, 3.0], n)
    p_values[rng.random((days, n)) < 0.1] = np.nan
    signs = rng.choice([-1.0, 1.0], (days, n))
    evidence, totals, tails = np.zeros(n), [], []
    for p, sign in zip(p_values, signs, strict=True):
        evidence = accumulated(evidence, scores(p, sign, side), allowance)
        totals.append(evidence)
        tails.append(tail_probability(evidence, allowance))
    for row in range(n):
        total, tail = slow_evidence(p_values[:, row], signs[:, row], side, allowance)
        np.testing.assert_allclose(np.array(totals)[:, row], total, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(np.array(tails)[:, row], tail, rtol=1e-9)
