"""The level of the tests on seeded break-free streams, against its binomial interval."""

import numpy as np
import pytest
from scipy import stats

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.stats.batch_mean import batch_t
from mlma.stats.sample_tests import welch

M, SLOTS = 28, 24


def weekends(n, rng):
    return ((rng.integers(0, 7, (n, 1)) + np.arange(M + 1)) % 7 >= 5).astype(np.int8)


def batches(losses, weekend):
    losses = losses * np.where(weekend, 1.4, 1.0)[:, :, None]
    old = losses[:, :-1]
    reference = ReferenceBatch(old.mean(axis=2), weekend[:, :-1], old)
    return LossBatch(losses[:, -1], weekend[:, -1]), reference


def losses_of_days(n, kind, phi, rng):
    """AR(1) within the day, days independent."""
    latent = rng.standard_normal((n, M + 1, SLOTS))
    for slot in range(1, SLOTS):
        fresh = np.sqrt(1 - phi**2) * latent[:, :, slot]
        latent[:, :, slot] = phi * latent[:, :, slot - 1] + fresh
    if kind == "lognormal":
        return np.exp(0.8 * latent)
    grid = np.linspace(-6, 6, 2001)
    return np.interp(latent, grid, stats.gamma.ppf(stats.norm.cdf(grid), 2.0))


def inside(rejected, level):
    low, high = stats.binom.interval(0.999, len(rejected), level)
    return low <= rejected.sum() <= high


@pytest.mark.parametrize("level", [0.05, 0.01])
@pytest.mark.parametrize(("kind", "phi"), [("lognormal", 0.3), ("lognormal", 0.6), ("gamma", 0.3)])
def test_level_of_batch_t_holds_for_losses_that_move_together(kind, phi, level):
    rng = np.random.default_rng(8)
    drawn = batches(losses_of_days(4000, kind, phi, rng), weekends(4000, rng))
    assert inside(batch_t(*drawn, "greater").p_value <= level, level)


@pytest.mark.parametrize("side", ["greater", "two-sided"])
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_level_of_batch_t_is_exact_where_log_means_are_normal(level, side):
    rng = np.random.default_rng(9)
    n = 60_000
    drawn = batches(rng.lognormal(3, 0.4, (n, M + 1, 1)), weekends(n, rng))
    assert inside(batch_t(*drawn, side).p_value <= level, level)


def test_weekends_would_be_rejected_without_the_weekend_effect():
    rng = np.random.default_rng(10)
    incoming, reference = batches(rng.lognormal(0, 0.1, (4000, M + 1, 1)), weekends(4000, rng))
    blind = ReferenceBatch(reference.means, np.zeros_like(reference.calendar))
    weekend = incoming.calendar == 1
    unseen = LossBatch(incoming.losses, np.zeros_like(incoming.calendar))
    assert (batch_t(unseen, blind, "greater").p_value[weekend] <= 0.05).mean() > 2 * 0.05
    assert inside(batch_t(incoming, reference, "greater").p_value[weekend] <= 0.05, 0.05)


def test_level_of_welch_does_not_hold_for_losses_that_move_together():
    rng = np.random.default_rng(8)
    drawn = batches(losses_of_days(4000, "gamma", 0.6, rng), weekends(4000, rng))
    assert (welch(*drawn, "greater").p_value <= 0.05).mean() > 0.1
