"""The reference rules: how a reference starts, what it takes in, and what it keeps out."""

from dataclasses import replace

import numpy as np
import pytest

from cycles import SLOTS, cycle, gamma, held_out_of, names, new_state, quiet, started, verdicts
from mlma.domain.state import NOT_OPEN
from mlma.domain.verdicts import Verdict
from mlma.stats.levels import log_level
from mlma.steps.refer import deploy

SMALL = {"reference_batches": 4, "min_reference_batches": 3}
RULES = ("adaptive", "anchored", "fixed")
LEVELS = (1.02, 0.95, 1.04, 0.97, 1.01, 0.98, 1.03, 0.99)


def flat(*levels):
    """One stream's batches, every loss of a batch the same: ``(1, n_batches, slots)``."""
    return np.repeat(np.array(levels, dtype=float)[None, :, None], SLOTS, axis=2)


def fed(state, levels, policy):
    for level in levels:
        state, _ = cycle(state, np.full((len(state), SLOTS), level), policy)
    return state


def kept(reference):
    return sorted(reference.means[0][np.isfinite(reference.means[0])].round(9).tolist())


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def test_an_adaptive_reference_is_the_last_healthy_batches_and_the_oldest_leave():
    policy = quiet(**SMALL)
    state = started(policy, flat(1.0, 0.9, 1.1, 1.05))
    for day in range(1, len(LEVELS)):
        state = fed(state, LEVELS[day - 1 : day], policy)
        expected = [*(1.0, 0.9, 1.1, 1.05), *LEVELS[:day]][-4:]
        assert kept(state.reference.rolling) == sorted(expected)


@pytest.mark.parametrize("rule", RULES)
def test_no_reference_grows_beyond_its_cap(rule, rng):
    policy = quiet(reference=rule, reference_from="production", **SMALL)
    state = started(policy, gamma(rng, 3, 4, SLOTS))
    for losses in gamma(rng, 20, 3, SLOTS):
        state, _ = cycle(state, losses, policy)
        assert (state.reference.rolling.count() <= 4).all()
        assert (state.reference.anchored.count() <= 4).all()
    assert (state.reference.rolling.count() == 4).all()


def test_an_anchored_reference_keeps_the_best_level_and_forgets_it_with_a_new_version():
    policy = quiet(reference="anchored", **SMALL)
    state = started(policy, flat(1.0, 0.9, 1.1, 1.05))
    better = fed(state, (0.9, 0.85, 0.95, 0.88), policy)
    assert kept(better.reference.anchored) == [0.85, 0.88, 0.9, 0.95]
    worse = fed(better, (0.93, 0.9, 0.97, 0.95), policy)
    assert kept(worse.reference.rolling) == [0.9, 0.93, 0.95, 0.97]
    assert kept(worse.reference.anchored) == [0.85, 0.88, 0.9, 0.95]
    new = deploy(worse, np.array([0]), held_out_of(flat(2.0, 2.1, 1.9, 2.0)), policy, seed=0)
    assert kept(new.reference.anchored) == [1.9, 2.0, 2.0, 2.1]


def test_an_anchored_reference_does_not_follow_slow_drift_and_an_adaptive_one_does(rng):
    drift = 1.004 ** np.arange(120)
    days, first = gamma(rng, 120, 8, 96) * drift[:, None, None], gamma(rng, 8, 28, 96)
    alarmed, level = {}, {}
    for rule in ("adaptive", "anchored"):
        policy = quiet(reference=rule)
        state, found = started(policy, first), np.zeros(8)
        for losses in days[:, :, :]:
            state, news = cycle(state, losses, policy)
            found += news.decision
            state = replace(state, episode=np.full(8, NOT_OPEN), pending=np.zeros(8, dtype=bool))
        reference = state.reference.anchored if rule == "anchored" else state.reference.rolling
        alarmed[rule], level[rule] = found, np.exp(log_level(reference.means))
    assert (level["anchored"] < 1.1).all()
    assert (level["adaptive"] > level["anchored"] + 0.1).all()
    assert (alarmed["anchored"] > alarmed["adaptive"]).all()


def test_a_growing_anchor_follows_so_that_a_good_first_batch_is_not_the_whole_reference():
    policy = quiet(reference="anchored", reference_from="production", **SMALL)
    state = fed(started(policy, flat(1.0)), (0.5, 1.0, 1.1, 0.9, 1.05), policy)
    assert state.reference.anchored.count().tolist() == [4]
    _, news = cycle(state, flat(1.0)[:, 0], policy)
    assert verdicts(news.verdict) != ["UNCLEAR"]


def test_a_fixed_reference_stays_as_it_started():
    policy = quiet(reference="fixed", **SMALL)
    state = started(policy, flat(1.0, 0.9, 1.1, 1.05))
    assert kept(fed(state, LEVELS, policy).reference.rolling) == [0.9, 1.0, 1.05, 1.1]


def test_a_fixed_reference_from_production_is_the_first_batches():
    policy = quiet(reference="fixed", reference_from="production", **SMALL)
    state = fed(started(policy, flat(1.0)), LEVELS, policy)
    assert kept(state.reference.rolling) == sorted(LEVELS[:4])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("test", ["batch_t", "ks"])
def test_a_new_version_starts_its_reference_from_its_held_out_losses(rule, test, rng):
    policy = quiet(reference=rule, test=test)
    old = started(policy, gamma(rng, 3, 28, SLOTS))
    losses = gamma(rng, 1, 28, SLOTS, level=5.0)
    hard = rng.uniform(0.5, 2.0, (1, 28))
    state = deploy(old, np.array([1]), held_out_of(losses, hard), policy, seed=0)
    expected = losses[0].mean(axis=1) / hard[0]
    for reference in (state.reference.rolling, state.reference.anchored):
        np.testing.assert_allclose(reference.means[1], expected)
        assert reference.calendar[1].tolist() == [0, 0, 0, 0, 0, 1, 1] * 4
        if test == "ks":
            np.testing.assert_allclose(reference.losses[1], losses[0] / hard[0][:, None])
    np.testing.assert_array_equal(state.reference.means[[0, 2]], old.reference.means[[0, 2]])
    assert state.version.tolist() == [1, 2, 1]


def test_the_last_held_out_batches_are_taken_where_there_are_more_than_places():
    policy = quiet(**SMALL)
    state = started(policy, flat(9.0, 9.0, 1.0, 0.9, 1.1, 1.05))
    assert kept(state.reference.rolling) == [0.9, 1.0, 1.05, 1.1]
    state = fed(state, (1.02,), policy)
    assert kept(state.reference.rolling) == [0.9, 1.02, 1.05, 1.1]


def test_held_out_batches_without_a_loss_are_empty_places():
    losses = flat(1.0, 0.9, 1.1, 1.05)
    losses[0, 1] = np.nan
    state = started(quiet(**SMALL), losses)
    assert state.reference.rolling.count().tolist() == [3]
    assert kept(state.reference.rolling) == [1.0, 1.05, 1.1]


@pytest.mark.parametrize("rule", RULES)
def test_in_production_the_reference_restarts_empty_and_is_unclear_until_it_is_large_enough(rule):
    policy = quiet(reference=rule, reference_from="production", **SMALL)
    state = fed(started(policy, flat(1.0)), LEVELS, policy)
    state = deploy(state, np.array([0]), None, policy, seed=0)
    seen = []
    for level in LEVELS[:5]:
        state, news = cycle(state, flat(level)[:, 0], policy)
        seen += verdicts(news.verdict)
    assert seen == ["UNCLEAR"] * 3 + ["HEALTHY"] * 2


@pytest.mark.parametrize("rule", ["adaptive", "anchored"])
@pytest.mark.parametrize("test", ["batch_t", "welch", "mann_whitney", "ks"])
def test_a_degraded_batch_is_not_absorbed(rule, test, rng):
    policy = quiet(reference=rule, test=test, level=0.01)
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    after, news = cycle(state, gamma(rng, 1, SLOTS, level=20.0), policy)
    assert verdicts(news.verdict) == ["DEGRADED"]
    for column in ("means", "place", "anchor_means", "losses"):
        old, new = getattr(state.reference, column), getattr(after.reference, column)
        if old is not None:
            np.testing.assert_array_equal(new, old)


def test_a_batch_that_gathers_to_degraded_is_not_absorbed_either(rng):
    policy = quiet(level=0.01)
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    state = replace(state, cusum_up=np.array([9.0]))
    after, news = cycle(state, np.nanmean(state.reference.means) * np.ones((1, SLOTS)), policy)
    assert news.p_value[0] > 0.05
    assert news.verdict[0] == Verdict.DEGRADED
    np.testing.assert_array_equal(after.reference.means, state.reference.means)


def test_the_reference_waits_while_follow_ups_are_due(rng):
    policy = quiet(follow_ups=(3,))
    state = replace(started(policy, gamma(rng, 2, 28, SLOTS)), episode=np.array([0, NOT_OPEN]))
    absorbed = []
    for losses in gamma(rng, 4, 2, SLOTS):
        after, _ = cycle(state, losses, policy)
        absorbed.append((after.reference.place != state.reference.place).tolist())
        state = after
    assert absorbed == [[False, True]] * 2 + [[True, True]] * 2


def test_a_reference_that_is_too_small_to_tell_does_not_wait_for_follow_ups(rng):
    policy = quiet(reference_from="production", min_reference_batches=3)
    state = replace(started(policy, gamma(rng, 1, 1, SLOTS)), episode=np.array([0]))
    for losses in gamma(rng, 5, 1, SLOTS):
        state, _ = cycle(state, losses, policy)
    assert state.reference.rolling.count().tolist() == [3]


def test_a_batch_without_losses_is_not_absorbed(rng):
    policy = quiet()
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    after, _ = cycle(state, np.full((1, SLOTS), np.nan), policy)
    np.testing.assert_array_equal(after.reference.place, state.reference.place)


def test_losses_are_absorbed_relative_to_their_difficulty():
    policy = quiet(**SMALL)
    state = started(policy, flat(1.0, 0.9, 1.1, 1.05))
    after, _ = cycle(state, flat(4.0)[:, 0], policy, difficulty=np.array([4.1]))
    assert kept(after.reference.rolling) == sorted([0.9, 1.1, 1.05, round(4.0 / 4.1, 9)])


def test_the_birth_level_is_set_at_deployment_or_as_soon_as_the_reference_is_large_enough(rng):
    born = started(quiet(), gamma(rng, 2, 28, SLOTS))
    np.testing.assert_allclose(born.birth_level, np.log(born.reference.means).mean(axis=1))
    policy = quiet(reference_from="production", **SMALL)
    state = started(policy, flat(1.0))
    known = []
    for level in LEVELS:
        state = fed(state, (level,), policy)
        known.append(float(state.birth_level[0]))
    assert np.isnan(known[:2]).all()
    np.testing.assert_allclose(known[2:], np.log(LEVELS[:3]).mean())


def test_a_stream_that_was_never_deployed_has_an_empty_reference():
    state = new_state(quiet(), names(2))
    assert state.reference.rolling.count().tolist() == [0, 0]
    assert state.version.tolist() == [0, 0]
    assert np.isnan(state.birth_level).all()
