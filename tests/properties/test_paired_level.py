"""Errors and power of the paired comparison under continuous monitoring, and its symmetries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gates import (
    NEVER,
    alarmed,
    days_of_dependent_losses,
    first_times,
    lognormal_pairs,
    rolled_back,
    trials,
)
from mlma.domain.challengers import PairedEvidence
from mlma.stats.paired import POWERS, gain_interval, paired
from mlma.steps.gate import passes_gate

N = 5000


def highest(level, n=N):
    """Three standard errors of a binomial share above its level."""
    return level + 3 * np.sqrt(level * (1 - level) / n)


def seen(old, new):
    evidence = PairedEvidence.none(len(old), len(POWERS))
    for batch in range(old.shape[1]):
        evidence = paired(evidence, old[:, batch], new[:, batch])
    return evidence


@pytest.mark.parametrize("level", [0.2, 0.05])
@pytest.mark.parametrize("sd", [0.05, 0.15, 0.4])
def test_an_equal_version_is_ever_better_or_worse_no_more_often_than_the_level(level, sd):
    old, new = lognormal_pairs(np.random.default_rng(31), N, 200, sd=sd)
    for when in first_times(old, new, level):
        assert 0.2 * level < np.mean(when < NEVER) < highest(level)


@pytest.mark.parametrize("phi", [0.3, 0.6])
def test_losses_that_depend_on_each_other_within_a_batch_do_no_harm(phi):
    old, new = days_of_dependent_losses(np.random.default_rng(32), N, 60, phi, slots=12)
    for when in first_times(old, new, 0.2):
        assert np.mean(when < NEVER) < highest(0.2)


def test_heavy_tails_and_noise_of_any_size_keep_the_level():
    rng = np.random.default_rng(33)
    jump = np.exp(rng.standard_t(2, (N, 100)) * rng.choice([0.02, 1.0], (N, 1)))
    for when in first_times(jump, np.ones_like(jump), 0.1):
        assert np.mean(when < NEVER) < highest(0.1)


def test_a_worse_version_is_hardly_ever_better():
    old, new = lognormal_pairs(np.random.default_rng(34), N, 200, gain=-0.05)
    better, worse = first_times(old, new, 0.2)
    assert np.mean(better < NEVER) < 0.02
    assert np.mean(worse < NEVER) > 0.99


@pytest.mark.parametrize(("gain", "batches"), [(0.05, 13), (0.1, 6), (0.2, 4)])
def test_a_better_version_is_found_within_the_batches_that_the_page_names(gain, batches):
    old, new = lognormal_pairs(np.random.default_rng(35), N, 100, gain)
    assert np.median(first_times(old, new, 0.2)[0]) <= batches


def test_the_interval_holds_the_typical_gain_at_all_batches_together():
    old, new = lognormal_pairs(np.random.default_rng(36), N, 100, gain=0.05)
    evidence, missed = PairedEvidence.none(N, len(POWERS)), np.zeros(N, dtype=bool)
    for batch in range(100):
        evidence = paired(evidence, old[:, batch], new[:, batch])
        low, high = gain_interval(evidence, 0.1)
        missed |= (low > 0.05) | (high < 0.05)
    assert missed.mean() < highest(0.1)
    assert np.median(high - low) < 0.1


def test_the_trial_refuses_an_equal_version_that_the_sign_rule_deploys():
    old, new = lognormal_pairs(np.random.default_rng(37), N, 28)
    made = trials(old, new, held_out=14)
    assert 0.45 < passes_gate(old[:, :14], new[:, :14]).mean() < 0.55
    assert made.deployed.mean() < 0.2
    assert not (made.deployed & made.dropped).any()
    assert (made.deployed | made.dropped).all()


@pytest.mark.parametrize(
    ("gain", "low", "high"), [(-0.05, 0, 0.01), (0.05, 0.9, 1), (0.1, 0.99, 1)]
)
def test_the_trial_deploys_better_versions_and_not_worse_ones(gain, low, high):
    old, new = lognormal_pairs(np.random.default_rng(38), N, 21, gain)
    assert low <= trials(old, new, held_out=7).deployed.mean() <= high


def test_an_alarm_on_the_champions_bad_luck_does_not_deploy_its_equal():
    rng = np.random.default_rng(39)
    (old, new), fresh = alarmed(rng, 1000, 28), lognormal_pairs(rng, 1000, 14)
    made = trials(np.hstack([old, fresh[0]]), np.hstack([new, fresh[1]]), held_out=28)
    assert passes_gate(old, new).mean() > 0.55
    assert made.deployed.mean() < 0.25


def test_a_worse_version_is_rolled_back_and_an_equal_one_rarely():
    rng = np.random.default_rng(40)
    assert np.mean(rolled_back(*lognormal_pairs(rng, N, 14, gain=0.1)) < NEVER) > 0.95
    assert np.mean(rolled_back(*lognormal_pairs(rng, N, 14)) < NEVER) < 0.1


positive = st.floats(1e-3, 1e3) | st.just(0.0) | st.just(np.nan)
losses = arrays(np.float64, (2, 4, 9), elements=positive)


def close(one, other):
    for name, column in one.flat().items():
        np.testing.assert_allclose(column, other.flat()[name], rtol=1e-9, atol=1e-9, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(losses)
def test_swapping_the_versions_swaps_the_answers(pair):
    one, other = seen(*pair), seen(*pair[::-1])
    np.testing.assert_allclose(one.better, other.worse, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.worse, other.better, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(one.champion_loss, other.challenger_loss)


@settings(max_examples=50, deadline=None)
@given(losses, st.floats(1e-6, 1e6))
def test_the_unit_of_the_losses_changes_no_evidence(pair, unit):
    one, other = seen(*pair), seen(*(pair * unit))
    for name in ("better", "worse", "log_total", "log_squares"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(losses, st.permutations(range(4)), st.permutations(range(9)))
def test_the_order_of_streams_and_of_batches_changes_nothing(pair, streams, batches):
    mixed = pair[:, streams][:, :, batches]
    close(seen(*mixed), seen(*pair).rows(np.array(streams)))


@settings(max_examples=50, deadline=None)
@given(losses)
def test_no_batch_costs_more_than_the_stake(pair):
    evidence = seen(*pair)
    least = evidence.batches[:, None] * np.log(0.1) - 1e-9
    assert (evidence.better >= least).all()
    assert (evidence.worse >= least).all()
