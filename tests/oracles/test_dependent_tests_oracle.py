"""The tests that allow for dependence against a slow readable loop, with missing losses."""

import numpy as np
import pytest
from scipy import fft, stats

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.stats import block_bootstrap as bootstrap_module
from mlma.stats import dependent_tests
from mlma.stats.block_bootstrap import block_bootstrap
from mlma.stats.dependent_tests import ewc, hac

RELATIVE = {"rtol": 1e-9, "atol": 1e-300}
N, M = 30, 6


def fleet(slots, missing, reference_slots=None):
    rng = np.random.default_rng(11)
    new = rng.gamma(1.5, 1.2, (N, slots))
    old = rng.gamma(1.5, 1.0, (N, M, reference_slots or slots))
    new[rng.random(new.shape) < missing] = np.nan
    old[rng.random(old.shape) < missing] = np.nan
    if missing:
        old[::3, 2] = np.nan  # some streams have a batch without a loss
    means = LossBatch(old.reshape(N * M, -1), np.zeros(N * M, np.int8)).mean().reshape(N, M)
    return LossBatch(new, np.zeros(N, np.int8)), ReferenceBatch(means, np.zeros((N, M), int), old)


# 27 is a cube: the third root of a float must not fall below 3.
@pytest.fixture(params=[(11, 0.0), (11, 0.25), (27, 0.1), (24, 0.6)], ids=str)
def batches(request):
    return fleet(*request.param)


sides = pytest.mark.parametrize("side", ["greater", "two-sided"])


def streams(incoming, reference):
    return zip(incoming.losses, reference.losses, strict=True)


def third_root(number):
    return max(i for i in range(number + 1) if i**3 <= number)


def tail(p_above, p_below, side):
    return p_above if side == "greater" else 2 * min(p_above, p_below)


def long_run_sum(batch, centre, lags):
    """Products of all losses of a batch that are at most `lags` slots apart, Bartlett weights."""
    total = 0.0
    for s, one in enumerate(batch):
        for t, other in enumerate(batch):
            if abs(s - t) <= lags and np.isfinite(one) and np.isfinite(other):
                total += (1 - abs(s - t) / (lags + 1)) * (one - centre) * (other - centre)
    return total


def slow_hac(new, old, side):
    found = old[np.isfinite(old)]
    lags_1, lags_0 = third_root(len(new)), third_root(old.shape[1])
    mean_1, n_1 = np.nanmean(new), np.isfinite(new).sum()
    square_1 = long_run_sum(new, mean_1, lags_1) / n_1**2
    square_0 = sum(long_run_sum(one, found.mean(), lags_0) for one in old) / len(found) ** 2
    z = (mean_1 - found.mean()) / np.sqrt(square_1 + square_0)
    return z, tail(stats.norm.sf(z), stats.norm.cdf(z), side)


def cosine_variance(batch):
    """Long-run variance of one batch and the number of its cosines."""
    found = np.isfinite(batch)
    n, terms = found.sum(), 0
    while (terms + 1) ** 3 <= 0.4**3 * n**2:
        terms += 1
    if terms == 0:
        return 0.0, 0, 0
    residual = batch - batch[found].mean()
    total = 0.0
    for j in range(1, terms + 1):
        weights = [np.cos(np.pi * j * (t + 0.5) / len(batch)) for t in range(len(batch))]
        score = sum(w * r for w, r in zip(weights, residual, strict=True) if np.isfinite(r))
        total += 2 / n * score**2
    return total / terms, terms, n


def slow_ewc(new, old, side):
    found = old[np.isfinite(old)]
    variance, df_1, n_1 = cosine_variance(new)
    square_1 = variance / n_1
    parts = [part for part in map(cosine_variance, old) if part[1]]
    used = sum(n for _, _, n in parts)
    square_0 = sum(n * w for w, _, n in parts) / used / len(found)
    df_0 = used**2 / sum(n**2 / terms for _, terms, n in parts)
    t = (np.nanmean(new) - found.mean()) / np.sqrt(square_1 + square_0)
    df = (square_1 + square_0) ** 2 / (square_1**2 / df_1 + square_0**2 / df_0)
    return t, tail(stats.t.sf(t, df), stats.t.cdf(t, df), side)


def slow_bootstrap(new, old, side):
    b, length = len(new), third_root(len(new))
    needed = -(-b // length)
    uniform = np.random.default_rng(1989).random((999, needed))
    mean_0, n_0 = old[np.isfinite(old)].mean(), np.isfinite(old).sum()
    mean_1, n_1 = np.nanmean(new), np.isfinite(new).sum()
    kept = [batch for batch in old if np.isfinite(batch).any()]
    blocks = [one[s : s + length] for one in kept for s in range(len(one) - length + 1)]
    blocks = [np.nan_to_num(block - mean_0) for block in blocks]
    widths = [length] * (needed - 1) + [b - (needed - 1) * length]
    expected = sum(np.mean([block[:width].sum() for block in blocks]) for width in widths)
    held = n_0 * b / (len(kept) * old.shape[1])
    resampled = []
    for row in uniform:
        picks = [blocks[int(u * len(blocks))] for u in row]
        total = sum(block[:width].sum() for block, width in zip(picks, widths, strict=True))
        resampled.append((total - expected) / np.sqrt(held * n_1) * np.sqrt(1 + n_1 / n_0))
    resampled, difference = np.array(resampled), mean_1 - mean_0
    statistic = difference / np.sqrt(np.mean(resampled**2))
    if side == "two-sided":
        resampled, difference = abs(resampled), abs(difference)
    return statistic, (1 + (resampled >= difference).sum()) / 1000


PAIRS = [(hac, slow_hac), (ewc, slow_ewc), (block_bootstrap, slow_bootstrap)]
each = pytest.mark.parametrize(("fast", "slow"), PAIRS, ids=["hac", "ewc", "block_bootstrap"])


@sides
@each
def test_the_fast_version_is_the_slow_loop(batches, fast, slow, side):
    outcome = fast(*batches, side)
    expected = np.array([slow(new, old, side) for new, old in streams(*batches)])
    np.testing.assert_allclose(outcome.statistic, expected[:, 0], **RELATIVE)
    np.testing.assert_allclose(outcome.p_value, expected[:, 1], **RELATIVE)


@each
def test_a_reference_may_have_batches_of_another_length(fast, slow):
    incoming, reference = fleet(16, 0.1, reference_slots=9)
    outcome = fast(incoming, reference, "greater")
    expected = [slow(new, old, "greater")[1] for new, old in streams(incoming, reference)]
    np.testing.assert_allclose(outcome.p_value, expected, **RELATIVE)


@pytest.mark.parametrize("test", [hac, ewc, block_bootstrap])
def test_reference_loss_is_the_mean_of_all_reference_losses(batches, test):
    outcome = test(*batches, "greater")
    old = np.array([np.nanmean(losses) for losses in batches[1].losses])
    np.testing.assert_allclose(outcome.reference_loss, old, rtol=1e-9)
    effect = np.nanmean(batches[0].losses, axis=1) / old - 1
    np.testing.assert_allclose(outcome.effect, effect, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("test", [hac, ewc, block_bootstrap])
def test_working_in_blocks_of_streams_changes_nothing(batches, test, monkeypatch):
    whole = test(*batches, "greater")
    for module in (dependent_tests, bootstrap_module):
        monkeypatch.setattr(module, "BLOCK", 500)
    np.testing.assert_array_equal(test(*batches, "greater").statistic, whole.statistic)


def test_bartlett_weights_are_those_of_the_squared_running_sums_of_numpy():
    (new,), reference = fleet(24, 0.0)[0].losses[:1], fleet(24, 0.0)[1]
    old = reference.losses[0]
    running = [
        np.convolve(side - side.mean(), np.ones(3)) for side in (new, old.ravel())
    ]  # L = 2 for 24 slots: windows of three
    separate = [np.convolve(batch - old.mean(), np.ones(3)) for batch in old]
    squares = (
        (running[0] ** 2).sum() / 3 / new.size**2,
        (np.square(separate)).sum() / 3 / old.size**2,
    )
    z = (new.mean() - old.mean()) / np.sqrt(sum(squares))
    incoming = LossBatch(new[None], np.zeros(1, np.int8))
    one = ReferenceBatch(reference.means[:1], reference.calendar[:1], old[None])
    assert hac(incoming, one, "greater").statistic[0] == pytest.approx(z, rel=1e-9)


def test_cosines_are_those_of_the_discrete_cosine_transform_of_scipy():
    incoming, reference = fleet(40, 0.0)
    terms = 4  # 0.4 * 40^(2/3) = 4.68
    new, old = (
        (fft.dct(side, type=2, axis=-1, norm="ortho")[..., 1 : terms + 1] ** 2).mean(axis=-1)
        for side in (incoming.losses, reference.losses)
    )
    error = np.sqrt(new / 40 + old.mean(axis=1) / (M * 40))
    t = (incoming.losses.mean(axis=1) - reference.losses.mean(axis=(1, 2))) / error
    np.testing.assert_allclose(ewc(incoming, reference, "greater").statistic, t, **RELATIVE)


def test_bootstrap_of_single_losses_has_the_standard_error_of_independent_ones():
    incoming, reference = fleet(7, 0.0, reference_slots=70)  # blocks of one slot
    new, old = incoming.losses, reference.losses.reshape(N, -1)
    error = old.std(axis=1) * np.sqrt(1 / 7 + 1 / old.shape[1])
    z = (new.mean(axis=1) - old.mean(axis=1)) / error
    # 999 resamples know a standard deviation to about 2 %.
    outcome = block_bootstrap(incoming, reference, "greater")
    np.testing.assert_allclose(outcome.statistic, z, rtol=0.1)
