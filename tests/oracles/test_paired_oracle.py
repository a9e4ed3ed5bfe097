"""The paired comparison against loops that can be read aloud."""

import math

import numpy as np
import pytest

from gates import lognormal_pairs
from mlma.domain.challengers import PairedEvidence
from mlma.stats.paired import (
    MIXTURE_VARIANCE,
    POWERS,
    STAKE,
    gain_interval,
    log_capital,
    paired,
    relative_gain,
)


def seen(old, new):
    evidence = PairedEvidence.none(len(old), len(POWERS))
    for batch in range(old.shape[1]):
        evidence = paired(evidence, old[:, batch], new[:, batch])
    return evidence


def slow_capitals(old, new):
    """Mean capital of the bets on and against the challenger, after all batches of one stream."""
    on, against = [1.0] * len(POWERS), [1.0] * len(POWERS)
    for one, other in zip(old, new, strict=True):
        if math.isnan(one) or math.isnan(other):
            continue
        for bet, power in enumerate(POWERS):
            ahead = (one**power - other**power) / (one**power + other**power)
            on[bet] *= 1 + STAKE * ahead
            against[bet] *= 1 - STAKE * ahead
    return sum(on) / len(on), sum(against) / len(against)


def with_gaps(rng, n=20, batches=40):
    old, new = lognormal_pairs(rng, n, batches, gain=0.03, sd=0.4)
    old[rng.random(old.shape) < 0.1] = np.nan
    new[rng.random(new.shape) < 0.1] = np.nan
    return old, new


def test_the_capitals_are_those_of_the_slow_loop():
    old, new = with_gaps(np.random.default_rng(21))
    evidence = seen(old, new)
    made = np.exp([log_capital(evidence.better), log_capital(evidence.worse)])
    slow = np.array([slow_capitals(*pair) for pair in zip(old, new, strict=True)]).T
    np.testing.assert_allclose(made, slow, rtol=1e-9)


def test_the_relative_gain_is_that_of_the_sums_over_common_batches():
    old, new = with_gaps(np.random.default_rng(22))
    both = np.isfinite(old) & np.isfinite(new)
    slow = [1 - b[k].sum() / a[k].sum() for a, b, k in zip(old, new, both, strict=True)]
    np.testing.assert_allclose(relative_gain(seen(old, new)), slow, rtol=1e-9, atol=1e-12)


def log_mixture(ratios, centre):
    """Log of the self-normalised normal mixture of one stream about a centre."""
    total = sum(x - centre for x in ratios)
    squares = sum((x - centre) ** 2 for x in ratios) + MIXTURE_VARIANCE
    return total**2 / (2 * squares) + math.log(MIXTURE_VARIANCE / squares) / 2


@pytest.mark.parametrize("level", [0.2, 0.05])
def test_at_the_bounds_of_the_interval_the_mixture_reaches_the_level(level):
    old, new = lognormal_pairs(np.random.default_rng(23), 20, 30, gain=0.05)
    low, high = gain_interval(seen(old, new), level)
    for row in range(len(old)):
        ratios = np.log(old[row] / new[row])
        for bound in (low[row], high[row]):
            made = log_mixture(ratios, -math.log(1 - bound))
            assert made == pytest.approx(-math.log(level), rel=1e-9)
        inside = -np.log1p(-np.linspace(low[row], high[row], 50)[1:-1])
        assert max(log_mixture(ratios, centre) for centre in inside) < -math.log(level)
