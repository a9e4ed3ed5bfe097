"""The tests on single losses against scipy, one stream at a time, with missing losses and ties."""

import numpy as np
import pytest
from scipy import special, stats

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.stats import sample_tests
from mlma.stats.sample_tests import ks, mann_whitney, welch

RELATIVE = {"rtol": 1e-9, "atol": 1e-300}


def fleet(seed, ties):
    rng = np.random.default_rng(seed)
    new, old = rng.gamma(1.5, 1.2, (40, 11)), rng.gamma(1.5, 1.0, (40, 6, 11))
    if ties:
        new, old = np.round(new), np.round(old)
    new[rng.random(new.shape) < 0.2] = np.nan
    old[rng.random(old.shape) < 0.2] = np.nan
    batch = LossBatch(new, np.zeros(40, np.int8))
    return batch, ReferenceBatch(np.nanmean(old, axis=2), np.zeros((40, 6), np.int8), old)


def rows(incoming, reference):
    for new, old in zip(incoming.losses, reference.losses, strict=True):
        yield new[np.isfinite(new)], old[np.isfinite(old)]


@pytest.fixture(params=[False, True], ids=["continuous", "ties"])
def batches(request):
    return fleet(7, request.param)


sides = pytest.mark.parametrize("side", ["greater", "two-sided"])


@sides
def test_welch_is_the_one_of_scipy(batches, side):
    outcome = welch(*batches, side)
    expected = [stats.ttest_ind(a, b, equal_var=False, alternative=side) for a, b in rows(*batches)]
    np.testing.assert_allclose(outcome.statistic, [e.statistic for e in expected], **RELATIVE)
    np.testing.assert_allclose(outcome.p_value, [e.pvalue for e in expected], **RELATIVE)


@sides
def test_mann_whitney_is_the_one_of_scipy(batches, side):
    outcome = mann_whitney(*batches, side)
    expected = [
        stats.mannwhitneyu(a, b, alternative=side, method="asymptotic", use_continuity=False).pvalue
        for a, b in rows(*batches)
    ]
    np.testing.assert_allclose(outcome.p_value, expected, **RELATIVE)


@sides
def test_mann_whitney_counts_the_pairs(batches, side):
    outcome = mann_whitney(*batches, side)
    for row, (a, b) in enumerate(rows(*batches)):
        wins = sum((x > y) + 0.5 * (x == y) for x in a for y in b) - len(a) * len(b) / 2
        assert np.sign(outcome.statistic[row]) == np.sign(wins)


def test_one_sided_ks_is_the_one_of_scipy(batches):
    outcome = ks(*batches, "greater")
    # scipy names the side after the distribution function: larger losses lie below the other.
    expected = [stats.ks_2samp(a, b, alternative="less", method="asymp") for a, b in rows(*batches)]
    np.testing.assert_allclose(outcome.statistic, [e.statistic for e in expected], **RELATIVE)
    np.testing.assert_allclose(outcome.p_value, [e.pvalue for e in expected], **RELATIVE)


def test_two_sided_ks_has_the_distance_of_scipy_and_the_limit_of_kolmogorov(batches):
    outcome = ks(*batches, "two-sided")
    for row, (a, b) in enumerate(rows(*batches)):
        expected = stats.ks_2samp(a, b, method="asymp")
        np.testing.assert_allclose(abs(outcome.statistic[row]), expected.statistic, **RELATIVE)
        z = np.sqrt(len(a) * len(b) / (len(a) + len(b))) * expected.statistic
        np.testing.assert_allclose(outcome.p_value[row], special.kolmogorov(z), **RELATIVE)
        sign = -expected.statistic_sign  # +1 where the incoming distribution lies below
        assert np.sign(outcome.statistic[row]) == sign


def test_two_sided_ks_nears_the_exact_p_value_in_large_samples():
    rng = np.random.default_rng(3)
    new, old = rng.gamma(2, 1.0, (1, 300)), rng.gamma(2, 0.95, (1, 10, 300))
    reference = ReferenceBatch(old.mean(axis=2), np.zeros((1, 10), np.int8), old)
    ours = ks(LossBatch(new, np.zeros(1, np.int8)), reference, "two-sided").p_value[0]
    exact = stats.ks_2samp(new[0], old.ravel(), method="exact").pvalue
    assert ours == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize("test", [welch, mann_whitney, ks])
def test_reference_loss_is_the_mean_of_all_reference_losses(batches, test):
    outcome = test(*batches, "greater")
    new, old = (np.array([x.mean() for x in side]) for side in zip(*rows(*batches), strict=True))
    np.testing.assert_allclose(outcome.reference_loss, old, rtol=1e-9)
    np.testing.assert_allclose(outcome.effect, new / old - 1, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("test", [mann_whitney, ks])
def test_sorting_in_blocks_changes_nothing(batches, test, monkeypatch):
    whole = test(*batches, "greater")
    monkeypatch.setattr(sample_tests, "BLOCK", 200)
    np.testing.assert_array_equal(test(*batches, "greater").statistic, whole.statistic)
