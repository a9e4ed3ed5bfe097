"""The reference rules: how a reference starts, what it takes in, and what it keeps out."""

from dataclasses import replace

import numpy as np
import pytest

from cycles import (
    SLOTS,
    arrays,
    cycle,
    gamma,
    held_out_of,
    names,
    new_state,
    quiet,
    reported,
    started,
    verdicts,
)
from mlma.domain.state import NOT_OPEN
from mlma.domain.verdicts import Decision, Verdict
from mlma.stats.moments import moments_of
from mlma.stats.registry import TESTS
from mlma.steps.refer import WINSOR, deploy

SMALL = {"reference_batches": 4, "min_reference_batches": 3}
EVIDENCE = ("waiting", "slot_profile.scores", "slot_profile.links", "slot_profile.kinds")
RULES = ("adaptive", "anchored", "fixed")
START = (1.0, 0.9, 1.1, 1.05)
LEVELS = (1.02, 0.95, 1.04, 0.97, 1.01, 0.98, 1.03, 0.99)
BETTER = (0.8, 0.9, 0.78, 0.9, 0.79, 0.88, 0.78, 0.88, 0.79, 0.8, 0.86)


def flat(*levels):
    """One stream's batches, every loss of a batch the same: ``(1, n_batches, slots)``."""
    return np.repeat(np.array(levels, dtype=float)[None, :, None], SLOTS, axis=2)


def fed(state, levels, policy):
    for level in levels:
        state, _ = cycle(state, np.full((len(state), SLOTS), level), policy)
    return state


def assert_holds(state, levels, weekends=0, entered=0):
    """The reference of one stream is what these batches make, the last ones of weekends.

    The last ``entered`` came in one by one; they move the typical loss as they move a mean.
    """
    means = np.array([levels], dtype=float)
    weekend = (np.arange(means.size) >= means.size - weekends).astype(np.int8)
    expected = arrays(moments_of(means, weekend[None], 2))
    logs, first = np.log(means[0]), means.size - entered
    if entered:
        start = first * np.median(logs[:first]) if first else 0.0
        expected["typical"] = np.array([(start + logs[first:].sum()) / logs.size])
    got = arrays(state.reference.moments)
    for name, column in expected.items():
        np.testing.assert_allclose(got[name], column, rtol=1e-9, atol=1e-12, err_msg=name)


def assert_same_reference(state, other):
    kept = arrays(state.reference)
    for name, column in arrays(other.reference).items():
        np.testing.assert_array_equal(kept[name], column, err_msg=name)


def healthy_part(state):
    """The reference without what only counts as evidence: what waits, and the last scores."""
    return {
        name: column
        for name, column in arrays(state.reference).items()
        if not name.startswith(EVIDENCE)
    }


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def test_a_reference_below_its_cap_is_all_its_healthy_batches_with_equal_weights():
    policy = quiet(min_reference_batches=3)
    state = started(policy, flat(*START))
    for day in range(1, len(LEVELS) + 1):
        state = fed(state, LEVELS[day - 1 : day], policy)
        assert_holds(state, (*START, *LEVELS[:day]), entered=day)


def test_from_its_cap_on_older_batches_lose_their_weight():
    policy = quiet(**SMALL)
    state = started(policy, flat(*START))
    level = np.log(START).mean()
    for batch in LEVELS:
        state = fed(state, (batch,), policy)
        level += 2 / 5 * (np.log(batch) - level)  # the weight that keeps four effective batches
        np.testing.assert_allclose(state.reference.moments.level(), level, rtol=1e-9)
        assert state.reference.moments.count().tolist() == [4]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("test", ["moderated_t", "ks"])
def test_no_reference_grows_beyond_its_cap(rule, test, rng):
    policy = quiet(reference=rule, reference_from="production", test=test, **SMALL)
    state = started(policy, gamma(rng, 3, 4, SLOTS))
    size = state.nbytes()
    for losses in gamma(rng, 20, 3, SLOTS):
        state, _ = cycle(state, losses, policy)
        assert (state.reference.moments.count() <= 4).all()
        assert state.nbytes() == size
    np.testing.assert_allclose(state.reference.moments.count(), 4, rtol=1e-6)


def test_an_anchor_is_the_best_level_and_is_forgotten_with_a_new_version():
    policy = quiet(reference="anchored", **SMALL)
    state = started(policy, flat(*START))
    np.testing.assert_allclose(state.reference.anchor_level, np.log(START).mean())
    better = fed(state, BETTER, policy)
    anchor = better.reference.anchor_level
    assert (anchor < state.reference.anchor_level).all()
    # Lower than the anchor by chance is not lower: it follows up to a standard error.
    assert (anchor > better.reference.moments.level()).all()
    worse = fed(better, (0.9, 0.95, 0.97, 0.92), policy)
    assert (worse.reference.moments.level() > anchor).all()
    assert (worse.reference.anchor_level <= anchor).all()
    new = deploy(worse, np.array([0]), held_out_of(flat(2.0, 2.1, 1.9, 2.0)), policy, seed=0)
    np.testing.assert_allclose(
        new.reference.anchor_level, np.log([2.0, 2.1, 1.9, 2.0]).mean(), rtol=1e-12
    )


def test_an_anchored_reference_does_not_follow_slow_drift_and_an_adaptive_one_does(rng):
    drift = 1.004 ** np.arange(120)
    days, first = gamma(rng, 120, 8, 96) * drift[:, None, None], gamma(rng, 8, 28, 96)
    alarmed, expected = {}, {}
    for rule in ("adaptive", "anchored"):
        policy = quiet(reference=rule, common=False, drift=False)
        state, found = started(policy, first), np.zeros(8)
        for losses in days:
            state, news = cycle(state, losses, policy)
            found += news.decision
            state = replace(reported(state), episode=np.full(8, NOT_OPEN))
        alarmed[rule], expected[rule] = found, news.reference_loss
    assert (expected["anchored"] < 1.1).all()
    assert (expected["adaptive"] > expected["anchored"] + 0.1).all()
    assert (alarmed["anchored"] > alarmed["adaptive"]).all()


def test_a_growing_anchor_follows_so_that_a_good_first_batch_is_not_the_whole_reference():
    policy = quiet(reference="anchored", reference_from="production", min_reference_batches=3)
    first = (0.5, 1.0, 1.1, 0.9, 1.05)
    state = fed(started(policy, flat(1.0)), first, policy)
    np.testing.assert_allclose(state.reference.moments.level(), np.log(first).mean(), rtol=1e-9)
    np.testing.assert_array_equal(state.reference.anchor_level, state.reference.moments.level())


def test_a_fixed_reference_stays_as_it_started():
    policy = quiet(reference="fixed", **SMALL)
    state = started(policy, flat(*START))
    assert_holds(fed(state, LEVELS, policy), START)


def test_a_fixed_reference_from_production_is_the_first_batches():
    policy = quiet(reference="fixed", reference_from="production", **SMALL)
    assert_holds(fed(started(policy, flat(1.0)), LEVELS, policy), LEVELS[:4], entered=4)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("test", ["moderated_t", "ks"])
def test_a_new_version_starts_its_reference_from_its_held_out_losses(rule, test, rng):
    policy = quiet(reference=rule, test=test)
    old = started(policy, gamma(rng, 3, 28, SLOTS))
    losses = gamma(rng, 1, 28, SLOTS, level=5.0)
    hard = rng.uniform(0.5, 2.0, (1, 28))
    state = deploy(old, np.array([1]), held_out_of(losses, hard), policy, seed=0)
    means = losses.mean(axis=2) / hard
    weekend = np.array([[0, 0, 0, 0, 0, 1, 1] * 4], dtype=np.int8)
    expected = arrays(moments_of(means, weekend, 2))
    for name, column in arrays(state.reference.moments.rows(np.array([1]))).items():
        np.testing.assert_allclose(column, expected[name], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(state.reference.anchor_level[1], state.birth_level[1])
    if test == "ks":
        window = state.reference.window
        np.testing.assert_allclose(window.losses[1], losses[0] / hard[0][:, None])
        assert window.calendar[1].tolist() == weekend[0].tolist()
    others = np.array([0, 2])
    kept = arrays(old.reference.rows(others))
    for name, column in arrays(state.reference.rows(others)).items():
        np.testing.assert_array_equal(column, kept[name], err_msg=name)
    assert state.version.tolist() == [1, 2, 1]


def test_the_last_held_out_batches_are_taken_where_there_are_more_than_places():
    state = started(quiet(**SMALL), flat(9.0, 9.0, *START))
    assert_holds(state, START, weekends=1)


def test_a_window_of_single_losses_drops_its_oldest_batch():
    policy = quiet(test="ks", **SMALL)
    state = fed(started(policy, flat(9.0, 9.0, *START)), (1.02,), policy)
    kept = state.reference.window.reference().means[0]
    np.testing.assert_allclose(np.sort(kept), [0.9, 1.02, 1.05, 1.1])


def test_held_out_batches_without_a_loss_are_empty_places():
    losses = flat(*START)
    losses[0, 1] = np.nan
    assert_holds(started(quiet(**SMALL), losses), (1.0, 1.1, 1.05))


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
@pytest.mark.parametrize("test", sorted(TESTS))
def test_a_degraded_batch_is_not_absorbed_but_waits(rule, test, rng):
    policy = quiet(reference=rule, test=test, level=0.01)
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    after, news = cycle(state, gamma(rng, 1, SLOTS, level=20.0), policy)
    assert verdicts(news.verdict) == ["DEGRADED"]
    assert news.decision.tolist() == [Decision.KEEP]
    kept = healthy_part(state)
    for name, column in healthy_part(after).items():
        np.testing.assert_array_equal(column, kept[name], err_msg=name)
    assert after.reference.waiting.batches.tolist() == [1]


def suspected(state, policy, rises):
    """The state after batches that stand so far above the reference, with evidence adding up."""
    usual = np.exp(state.reference.moments.mean[:, 0])
    return fed(state, [float(usual[0]) * (1 + rise) for rise in rises], policy)


def test_batches_wait_while_evidence_grows_and_enter_together_when_it_dissolves(rng):
    policy = quiet()
    held_out = gamma(rng, 1, 28, SLOTS)
    state = suspected(started(policy, held_out), policy, (0.0,))
    rising = suspected(state, policy, (0.25, 0.3, 0.28, 0.22))
    waiting = rising.reference.waiting.batches[0]
    assert 1 <= waiting < 4  # the first ones entered before anything was suspected
    count = state.reference.moments.count()[0]
    assert rising.reference.moments.count()[0] == min(28, count + 4 - waiting)
    level = rising.reference.moments.level()
    assert (suspected(rising, policy, (0.3,)).reference.moments.level() == level).all()
    calm = suspected(rising, policy, (-0.15, -0.15))
    assert calm.reference.waiting.batches.tolist() == [0]
    # The waiting batches were 25 % above: what enters is higher than the calm batches alone.
    nothing = replace(rising.reference, waiting=state.reference.waiting)
    forgotten = replace(rising, reference=nothing, cusum_up=np.zeros(1), cusum_all=np.zeros(1))
    alone = suspected(forgotten, policy, (-0.15, -0.15))
    assert (calm.reference.moments.level() > alone.reference.moments.level() + 0.01).all()


def test_batches_that_wait_enter_as_if_they_had_come_in_one_by_one():
    """Below the cap every batch has the same weight, whenever it enters."""
    policy = quiet(min_reference_batches=4)
    start = (*START, 0.95)
    state = replace(started(policy, flat(*start)), cusum_up=np.array([2.3]))
    rising = fed(state, (1.09, 1.1), policy)
    assert rising.reference.waiting.batches.tolist() == [2]
    assert_holds(rising, start)
    calm = fed(rising, (0.9, 0.88), policy)
    assert calm.reference.waiting.batches.tolist() == [0]
    all_of_them = (*start, 1.09, 1.1, 0.9, 0.88)
    moments = calm.reference.moments
    assert moments.count().tolist() == [9]
    # What waits is held in single precision.
    np.testing.assert_allclose(moments.level(), np.log(all_of_them).mean(), atol=1e-7)
    np.testing.assert_allclose(moments.variance, np.log(all_of_them).var(), rtol=1e-6)


def test_batches_that_wait_are_dropped_at_an_alarm(rng):
    policy = quiet(follow_ups=())
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    seen = []
    for losses in gamma(rng, 5, 1, SLOTS, level=4.0):
        after, news = cycle(state, losses, policy)
        seen.append((int(after.reference.waiting.batches[0]), int(news.decision[0])))
        state = after
        if news.decision[0] == Decision.RETRAIN:
            break
    assert seen == [(1, Decision.KEEP), (2, Decision.KEEP), (0, Decision.RETRAIN)]
    assert_same_reference(state, started(policy, gamma(np.random.default_rng(11), 1, 28, SLOTS)))


def test_a_batch_that_gathers_to_degraded_is_not_absorbed_either(rng):
    policy = quiet(level=0.01)
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    state = replace(state, cusum_up=np.array([12.0]))
    usual = float(np.exp(state.reference.moments.level()[0]))
    after, news = cycle(state, np.full((1, SLOTS), usual), policy)
    assert news.p_value[0] > 0.05
    assert news.verdict[0] == Verdict.DEGRADED
    assert_same_reference(after, state)


def test_a_batch_far_below_the_reference_enters_no_further_than_three_standard_errors(rng):
    policy = quiet(test="batch_t", allowance=0.25)  # one such batch alone does not wait
    state = started(policy, gamma(rng, 1, 20, SLOTS))
    after, news = cycle(state, np.full((1, SLOTS), 0.05), policy)
    old, new = state.reference.moments, after.reference.moments
    assert news.effect[0] < -0.9
    share = 1 / (old.weight[0, 0] + 1)
    moved = -WINSOR * news.spread * share
    np.testing.assert_allclose(new.mean[:, 0] - old.mean[:, 0], moved, rtol=1e-6)
    assert 0 < new.outlying[0] < 0.1


def test_a_batch_far_below_the_reference_waits_as_one_that_is_three_standard_errors_below(rng):
    policy = quiet(test="batch_t")
    state = started(policy, gamma(rng, 1, 20, SLOTS))
    after, news = cycle(state, np.full((1, SLOTS), 0.05), policy)
    waiting = after.reference.waiting
    assert waiting.batches.tolist() == [1]
    np.testing.assert_allclose(waiting.total, -WINSOR * news.spread, rtol=1e-6)
    assert healthy_part(after).keys() == healthy_part(state).keys()
    for name, column in healthy_part(state).items():
        np.testing.assert_array_equal(healthy_part(after)[name], column, err_msg=name)


def test_low_batches_wait_as_high_ones_do_and_enter_together_when_the_evidence_dissolves(rng):
    policy = quiet()
    state = suspected(started(policy, gamma(rng, 1, 28, SLOTS)), policy, (0.0,))
    falling = suspected(state, policy, (-0.2,) * 5)
    waiting = falling.reference.waiting.batches[0]
    assert 1 <= waiting < 5  # the first ones entered before anything was suspected
    count = state.reference.moments.count()[0]
    assert falling.reference.moments.count()[0] == min(28, count + 5 - waiting)
    level = falling.reference.moments.level()
    longer = suspected(falling, policy, (-0.2,))
    assert (longer.reference.moments.level() == level).all()
    assert longer.reference.waiting.batches.tolist() == [waiting + 1]
    calm = suspected(falling, policy, (0.12, 0.12, 0.12))
    assert calm.reference.waiting.batches.tolist() == [0]
    # The waiting batches were 20 % below: what enters is lower than the calm batches alone.
    nothing = replace(falling.reference, waiting=state.reference.waiting)
    forgotten = replace(falling, reference=nothing, cusum_down=np.zeros(1))
    alone = suspected(forgotten, policy, (0.12, 0.12, 0.12))
    assert (calm.reference.moments.level() < alone.reference.moments.level() - 0.01).all()


def test_what_rises_and_what_falls_by_as_many_standard_errors_waits_as_long():
    policy = quiet(min_reference_batches=3)
    start = np.exp([-0.15, -0.05, 0.05, 0.15])  # symmetric: no skewness

    def waiting(side):
        state, made = started(policy, flat(*start)), []
        for away in (0.28, 0.28, 0.28, -0.28, -0.28, -0.28, 0.14, 0.14):
            state = fed(state, (np.exp(side * away),), policy)
            made.append(int(state.reference.waiting.batches[0]))
        return made

    assert waiting(1) == waiting(-1)
    assert max(waiting(1)) > waiting(1)[-1] == 0


@pytest.mark.parametrize("fall", [0.2, 0.7])
def test_low_batches_enter_at_the_latest_with_the_batch_after_they_are_an_improvement(fall, rng):
    policy = quiet()
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    old = state.reference.moments.level()
    usual, told = np.exp(state.reference.moments.mean[0, 0]), []
    while "IMPROVED" not in told[:-1] and len(told) < 12:
        state, news = cycle(state, np.full((1, SLOTS), usual * (1 - fall)), policy)
        told += verdicts(news.verdict)
    assert told == ["HEALTHY"] * (len(told) - 2) + ["IMPROVED", "HEALTHY"]
    assert state.reference.waiting.batches[0] <= 1
    assert (state.reference.moments.level() < old - 0.05).all()


@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_what_the_reference_takes_in_does_not_depend_on_the_margin(margin):
    policy = quiet(min_reference_batches=3, margin=margin)
    state = fed(started(policy, flat(*START)), LEVELS, policy)
    assert_holds(state, (*START, *LEVELS), entered=len(LEVELS))


@pytest.mark.parametrize("rule", ["adaptive", "anchored"])
def test_what_waits_enters_as_it_was_wherever_the_anchor_stands(rule):
    policy = quiet(reference=rule, min_reference_batches=4, drift=False)
    start = (*START, 0.95)
    state = replace(started(policy, flat(*start)), cusum_up=np.array([2.5]))
    reference = replace(state.reference, anchor_level=state.reference.anchor_level - 0.05)
    rising = fed(replace(state, reference=reference), (1.09,), policy)
    assert rising.reference.waiting.batches.tolist() == [1]
    calm = fed(rising, (0.8,), policy)
    assert calm.reference.waiting.batches.tolist() == [0]
    np.testing.assert_allclose(
        calm.reference.moments.level(), np.log([*start, 1.09, 0.8]).mean(), rtol=1e-6
    )


def test_the_reference_waits_while_follow_ups_are_due(rng):
    policy = quiet(follow_ups=(3,))
    state = replace(started(policy, gamma(rng, 2, 20, SLOTS)), episode=np.array([0, NOT_OPEN]))
    counts = []
    for losses in gamma(rng, 4, 2, SLOTS):
        state, _ = cycle(state, losses, policy)
        counts.append(state.reference.moments.count().tolist())
    assert counts == [[20, 21], [20, 22], [21, 23], [22, 24]]


def test_a_reference_that_is_too_small_to_tell_does_not_wait_for_follow_ups(rng):
    policy = quiet(reference_from="production", min_reference_batches=3)
    state = replace(started(policy, gamma(rng, 1, 1, SLOTS)), episode=np.array([0]))
    for losses in gamma(rng, 5, 1, SLOTS):
        state, _ = cycle(state, losses, policy)
    assert state.reference.moments.count().tolist() == [3]


@pytest.mark.parametrize("test", ["moderated_t", "ks"])
def test_a_batch_without_losses_is_not_absorbed(test, rng):
    policy = quiet(test=test)
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    after, _ = cycle(state, np.full((1, SLOTS), np.nan), policy)
    assert_same_reference(after, state)


def test_losses_are_absorbed_relative_to_their_difficulty():
    policy = quiet(min_reference_batches=3)
    state = started(policy, flat(*START))
    after, _ = cycle(state, flat(4.0)[:, 0], policy, difficulty=np.array([4.1]))
    assert_holds(after, (*START, 4.0 / 4.1), entered=1)


def test_the_birth_level_is_set_at_deployment_or_as_soon_as_the_reference_is_large_enough(rng):
    born = started(quiet(), gamma(rng, 2, 28, SLOTS))
    np.testing.assert_array_equal(born.birth_level, born.reference.moments.level())
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
    assert state.reference.moments.count().tolist() == [0, 0]
    assert np.isnan(state.reference.moments.typical).all()
    assert state.version.tolist() == [0, 0]
    assert np.isnan(state.birth_level).all()
