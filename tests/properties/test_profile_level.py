"""The level of `profile` on seeded break-free streams, against its binomial interval."""

import numpy as np
import pytest
from scipy import stats

from mlma.domain.batches import LossBatch
from mlma.stats.profile import profile_of, profile_test, profile_updated

N, SLOTS = 4000, 24


def streams(m, phi, day_effect, later=1):
    rng = np.random.default_rng(12)
    latent = rng.standard_normal((N, m + later, SLOTS))
    for slot in range(1, SLOTS):
        fresh = np.sqrt(1 - phi**2) * latent[:, :, slot]
        latent[:, :, slot] = phi * latent[:, :, slot - 1] + fresh
    grid = np.linspace(-6, 6, 2001)
    losses = np.interp(latent, grid, stats.gamma.ppf(stats.norm.cdf(grid), 2.0))
    losses *= 1 + 0.6 * np.sin(2 * np.pi * np.arange(SLOTS) / SLOTS)
    weekend = (rng.integers(0, 7, (N, 1)) + np.arange(m + later)) % 7 >= 5
    losses *= np.where(weekend, 1.4, 1.0)[:, :, None]
    losses *= rng.lognormal(0, day_effect, (N, m + later, 1))
    return losses, weekend.astype(np.int8)


def inside(p, level, room):
    """Within the binomial interval of some level between 1 - room and 1 + room times nominal."""
    low = stats.binom.ppf(0.0005, len(p), (1 - room) * level)
    high = stats.binom.ppf(0.9995, len(p), (1 + room) * level)
    return low <= (p <= level).sum() <= high


@pytest.mark.parametrize(
    ("m", "phi", "day_effect"), [(14, 0.3, 0.0), (14, 0.6, 0.0), (28, 0.6, 0.0), (28, 0.3, 0.3)]
)
@pytest.mark.parametrize("side", ["greater", "two-sided"])
def test_level_of_profile_holds_for_losses_that_move_together(m, phi, day_effect, side):
    losses, calendar = streams(m, phi, day_effect)
    moments = profile_of(losses[:, :m], calendar[:, :m], 2)
    p = profile_test(LossBatch(losses[:, m], calendar[:, m]), moments, side).p_value
    assert inside(p, 0.05, 0.1)
    assert inside(p, 0.01, 0.1)
    assert inside(p, 0.001, 0.2)


def test_part_day_batches_are_not_liberal():
    losses, calendar = streams(14, 0.3, 0.0)
    moments = profile_of(losses[:, :14], calendar[:, :14], 2)
    losses[:, 14, :6] = losses[:, 14, 12:] = np.nan
    p = profile_test(LossBatch(losses[:, 14], calendar[:, 14]), moments, "greater").p_value
    assert inside(p, 0.05, 0.25)
    assert inside(p, 0.01, 0.25)


@pytest.mark.parametrize("absorb", [True, False])
def test_level_holds_in_the_windows_after_the_reference(absorb):
    losses, calendar = streams(14, 0.3, 0.0, later=8)
    moments, taken = profile_of(losses[:, :14], calendar[:, :14], 2), np.full(N, absorb)
    for day in range(14, 21):
        moments = profile_updated(moments, LossBatch(losses[:, day], calendar[:, day]), taken, 14)
    p = profile_test(LossBatch(losses[:, 21], calendar[:, 21]), moments, "greater").p_value
    assert inside(p, 0.05, 0.1)
    assert inside(p, 0.01, 0.25)


def test_reference_loss_is_the_mean_loss_to_a_hundredth():
    losses, calendar = streams(28, 0.3, 0.0)
    moments = profile_of(losses[:, :28], calendar[:, :28], 2)
    incoming = LossBatch(losses[:, 28], calendar[:, 28])
    expected = profile_test(incoming, moments, "greater").reference_loss
    assert expected.mean() == pytest.approx(incoming.mean().mean(), rel=0.01)
