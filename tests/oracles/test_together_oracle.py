"""Scores of shared models against loops that can be read aloud."""

import math
from itertools import permutations

import numpy as np
import pytest

from mlma.stats.together import (
    HIGHEST_CORRELATION,
    MEMORY,
    PRIOR_BATCHES,
    Comovement,
    combined_scores,
    running_correlation,
    unfit,
    updated,
)

N_GROUPS = 4


def one_batch(seed):
    """Scores, some missing and some extreme, of four models, the last of them without a stream."""
    rng = np.random.default_rng(seed)
    score = rng.standard_normal(30) * rng.choice([1.0, 4.0], 30)
    score[rng.random(30) < 0.2] = np.nan
    return score, rng.integers(-1, N_GROUPS - 1, 30)


def told(score, group, which):
    """The scores of one model's streams that are there, none of them beyond 3."""
    pairs = zip(score, group, strict=True)
    return [min(max(z, -3.0), 3.0) for z, g in pairs if g == which and not math.isnan(z)]


def slow_combined(score, group, correlation):
    made = []
    for which, rho in enumerate(correlation):
        scores = told(score, group, which)
        k = len(scores)
        made.append(sum(scores) / math.sqrt(k + k * (k - 1) * rho) if k else math.nan)
    return made


def slow_correlation(batches):
    """Every pair of streams of every batch, the newest batch first and with full weight."""
    sums = [[0.0, 0.0] for _ in range(N_GROUPS)]
    for which in range(N_GROUPS):
        usable = [s for s in (told(z, g, which) for z, g in batches) if len(s) > 1]
        for age, scores in enumerate(reversed(usable)):
            products = [a * b for a, b in permutations(scores, 2)]
            sums[which][0] += (1 - MEMORY) ** age * sum(products) / len(products)
            sums[which][1] += (1 - MEMORY) ** age * sum(z * z for z in scores) / len(scores)
    start = PRIOR_BATCHES * HIGHEST_CORRELATION
    usual = (sum(c for c, _ in sums) + start) / (sum(q for _, q in sums) + PRIOR_BATCHES)
    raw = [(c + PRIOR_BATCHES * usual) / (q + PRIOR_BATCHES) for c, q in sums]
    return [min(max(r, 0.0), HIGHEST_CORRELATION) for r in raw]


def slow_unfit(evidence, limit, group, alarm):
    return [g >= 0 and not alarm[g] and e >= limit for e, g in zip(evidence, group, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_combined_scores_are_those_of_the_slow_loop(seed):
    score, group = one_batch(seed)
    rho = np.random.default_rng(seed).random(N_GROUPS)
    made = combined_scores(score, group, N_GROUPS, rho)
    assert np.isnan(made[-1])
    assert made == pytest.approx(slow_combined(score, group, rho), rel=1e-9, nan_ok=True)


def test_the_running_correlation_is_that_of_all_pairs():
    batches = [one_batch(seed) for seed in range(12)]
    state = Comovement.new(N_GROUPS)
    for score, group in batches:
        state = updated(state, score, group)
    assert running_correlation(state) == pytest.approx(slow_correlation(batches), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_unfit_streams_are_those_of_the_slow_loop(seed):
    rng = np.random.default_rng(seed)
    evidence, group = rng.gamma(2.0, 3.0, 200), rng.integers(-1, 5, 200)
    evidence[rng.random(200) < 0.1] = np.nan
    alarm = rng.permutation([True, True, False, False, False])
    made = unfit(evidence, 7.0, group, alarm)
    assert 0 < made.sum() < 200
    assert made.tolist() == slow_unfit(evidence, 7.0, group, alarm)
