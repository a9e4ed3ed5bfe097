"""`batch_t` against a slow loop over streams, and against scipy's t tests."""

import math

import numpy as np
import pytest
from scipy import stats

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.stats.batch_mean import batch_t, straightened


def slow_batch_t(losses, calendar, means, classes, side):
    """One stream, in the order in which one would do it on paper: (statistic, p, reference)."""
    filled = [(x, c) for x, c in zip(means, classes, strict=True) if not math.isnan(x)]
    finite = [x for x in losses if not math.isnan(x)]
    level = float(np.median([x for x, _ in filled if x > 0]))
    logs = [(math.log(max(x / level, 0.01)), c) for x, c in filled]
    z = math.log(max(sum(finite) / len(finite) / level, 0.01))
    if calendar not in [c for _, c in logs]:
        logs = [(value, calendar) for value, _ in logs]
    groups = {c: [v for v, k in logs if k == c] for c in {c for _, c in logs}}
    centre = {c: sum(group) / len(group) for c, group in groups.items()}
    residuals = [v - centre[c] for v, c in logs]
    m, df = len(logs), len(logs) - len(groups)
    deviation = math.sqrt(sum(r**2 for r in residuals) / df)
    t = (z - centre[calendar]) / (deviation * math.sqrt(1 + 1 / len(groups[calendar])))
    second, third = sum(r**2 for r in residuals) / m, sum(r**3 for r in residuals) / m
    a = max(-1.0, min(1.0, third / second**1.5 * m / (m + 28))) / 6
    statistic = t - a * (t**2 - 1) + a**2 * t**3 / 3
    p = stats.t.sf(statistic, df) if side == "greater" else 2 * stats.t.sf(abs(statistic), df)
    return statistic, p, level * math.exp(centre[calendar])


def fleet(seed, n_streams=60, m=17, slots=12):
    rng = np.random.default_rng(seed)
    means = rng.lognormal(0, 0.5, (n_streams, m)) * rng.lognormal(0, 5, (n_streams, 1))
    means[rng.random(means.shape) < 0.2] = np.nan
    means[:5, 0] = 0.0
    classes = rng.integers(0, 3, (n_streams, m)).astype(np.int8)
    losses = means[:, [1]] * rng.gamma(2, 1, (n_streams, slots))
    losses = np.where(np.isnan(losses), 1.0, losses)
    losses[rng.random(losses.shape) < 0.1] = np.nan
    calendar = rng.integers(0, 4, n_streams).astype(np.int8)  # class 3 is in no reference
    return LossBatch(losses, calendar), ReferenceBatch(means, classes)


@pytest.mark.parametrize("side", ["greater", "two-sided"])
@pytest.mark.parametrize("seed", [1, 2])
def test_batch_t_equals_the_slow_loop(seed, side):
    incoming, reference = fleet(seed)
    outcome = batch_t(incoming, reference, side)
    for row in range(len(incoming.losses)):
        expected = slow_batch_t(
            incoming.losses[row],
            incoming.calendar[row],
            reference.means[row],
            reference.calendar[row],
            side,
        )
        got = outcome.statistic[row], outcome.p_value[row], outcome.reference_loss[row]
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(
        outcome.effect, incoming.mean() / outcome.reference_loss - 1, rtol=1e-12, atol=1e-12
    )


def test_symmetric_reference_gives_the_two_sample_t_test_of_scipy():
    logs = np.array([-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0])  # no skewness: nothing to straighten
    reference = ReferenceBatch(np.exp(logs)[None], np.zeros((1, 7), np.int8))
    incoming = LossBatch(np.array([[np.e, np.e]]), np.zeros(1, np.int8))
    expected = stats.ttest_ind([1.0], logs, alternative="greater")
    outcome = batch_t(incoming, reference, "greater")
    np.testing.assert_allclose(outcome.statistic, expected.statistic, rtol=1e-9)
    np.testing.assert_allclose(outcome.p_value, expected.pvalue, rtol=1e-9)


def test_straightening_brings_a_gamma_tail_to_the_normal_one():
    """With the true skewness g the cubic maps upper gamma quantiles near normal ones."""
    shape, level = 400.0, 0.001
    skewness = 2 / math.sqrt(shape)
    quantile = (stats.gamma.isf(level, shape) - shape) / math.sqrt(shape)
    known = np.array([1e12])  # so many batches that nothing is shrunk
    straight = straightened(np.array([quantile]), np.array([skewness]), known)
    assert abs(straight[0] - stats.norm.isf(level)) < 0.02 < quantile - stats.norm.isf(level)
