"""What evidence, age and policy decide, and the reason that is given."""

from dataclasses import replace

import numpy as np
import pytest

from cycles import (
    SLOTS,
    arrays,
    cycle,
    cycled_on,
    gamma,
    names,
    new_state,
    quiet,
    reasons,
    reported,
    retrained,
    started,
    verdicts,
)
from mlma.domain.fleet import FleetState
from mlma.domain.settings import Periodic
from mlma.domain.state import NOT_OPEN
from mlma.domain.verdicts import Decision, Reason, Verdict
from mlma.stats.cusum import tail_probability
from mlma.stats.dial import limits_of
from mlma.stats.multiplicity import adjusted_p_values
from mlma.steps.refer import AGE_SPREAD, deploy

ONE_BATCH = {"accumulate": "none", "multiplicity": "none"}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def through(state, days, policy, held_out=None):
    """Decisions and reasons of each day, ``(n_days, n_streams)``; new versions as asked for."""
    decisions, why = [], []
    for losses in days:
        state, news = cycle(state, losses, policy)
        decisions.append(news.decision)
        why.append(news.reason)
        if held_out is not None:
            state = retrained(state, news, policy, held_out)
    return np.array(decisions), np.array(why), state


def days_of(decisions):
    return np.flatnonzero(decisions[:, 0] == Decision.RETRAIN).tolist()


def test_an_alarm_re_trains_and_is_followed_up_after_exactly_7_14_and_28_batches(rng):
    held_out, days = gamma(rng, 1, 28, SLOTS), gamma(rng, 60, 1, SLOTS, level=4.0)
    policy = quiet()
    decisions, why, _ = through(started(policy, held_out), days, policy, held_out)
    asked = days_of(decisions)
    first = asked[0]
    assert [day - first for day in asked[:4]] == [0, 7, 14, 28]
    assert reasons(why[asked[:4]]) == ["ALARM", "FOLLOW_UP", "FOLLOW_UP", "FOLLOW_UP"]
    # The loss is still high: the episode is closed, so the next alarm opens a new one.
    assert asked[4] > first + 28
    assert reasons(why[asked[4]]) == ["ALARM"]


def test_alarms_while_follow_ups_are_due_open_nothing_and_say_so(rng):
    held_out, days = gamma(rng, 1, 28, SLOTS), gamma(rng, 28, 1, SLOTS, level=4.0)
    policy = quiet(**ONE_BATCH)
    decisions, why, _ = through(started(policy, held_out), days, policy, held_out)
    assert days_of(decisions) == [0, 7, 14]
    between = np.setdiff1d(np.arange(28), [0, 7, 14])
    assert set(reasons(why[between])) == {"EPISODE"}
    assert "follow-ups of an earlier alarm are still due" in Reason.EPISODE.label


def test_without_follow_ups_every_alarm_re_trains(rng):
    held_out, days = gamma(rng, 1, 28, SLOTS), gamma(rng, 4, 1, SLOTS, level=4.0)
    policy = quiet(follow_ups=(), **ONE_BATCH)
    decisions, _, state = through(started(policy, held_out), days, policy, held_out)
    assert days_of(decisions) == [0, 1, 2, 3]
    assert state.version.tolist() == [5]


def test_with_a_pool_an_alarm_waits_until_the_newest_version_is_as_old_as_the_cooldown(rng):
    held_out, days = gamma(rng, 1, 28, SLOTS), gamma(rng, 16, 1, SLOTS, level=4.0)
    policy = quiet(pool=8, cooldown=5, **ONE_BATCH)
    decisions, why, state = through(started(policy, held_out), days, policy, held_out)
    # A first version has no cooldown: nothing was done about this break yet.
    assert days_of(decisions) == [0, 5, 10, 15]
    assert set(reasons(why[[0, 5, 10, 15]])) == {"ALARM"}
    assert "FOLLOW_UP" not in reasons(why)
    assert state.version.tolist() == [5]


def test_confirm_2_waits_for_a_second_alarm_in_a_row(rng):
    held_out = gamma(rng, 1, 28, SLOTS)
    bad, good, none = (
        np.full((1, SLOTS), 4.0),
        np.full((1, SLOTS), 0.9),
        np.full((1, SLOTS), np.nan),
    )
    policy = quiet(confirm=2, **ONE_BATCH)

    def asked(*days):
        return days_of(through(started(policy, held_out), days, policy)[0])

    assert asked(bad, good, bad, good) == []
    assert asked(bad, bad) == [1]
    assert asked(bad, none, bad) == [2]  # a day without losses tells nothing either way


def test_one_huge_batch_alone_is_degraded_and_gathers_but_does_not_re_train(rng):
    held_out, policy = gamma(rng, 6, 28, SLOTS), quiet()
    losses = gamma(rng, 6, SLOTS)
    losses[2] *= 1000.0
    state, news = cycle(started(policy, held_out), losses, policy)
    assert verdicts(news.verdict)[2] == "DEGRADED"
    assert reasons(news.reason)[2] == "GATHERING"
    assert (news.decision == Decision.KEEP).all()
    assert news.p_adjusted[2] <= policy.level < news.p_evidence[2]
    decisions, _, _ = through(state, gamma(rng, 10, 6, SLOTS), policy)
    assert (decisions == Decision.KEEP).all()


def test_one_huge_batch_re_trains_at_once_where_evidence_does_not_accumulate(rng):
    held_out, policy = gamma(rng, 6, 28, SLOTS), quiet(accumulate="none")
    losses = gamma(rng, 6, SLOTS)
    losses[2] *= 1000.0
    _, news = cycle(started(policy, held_out), losses, policy)
    assert np.flatnonzero(news.decision == Decision.RETRAIN).tolist() == [2]
    assert reasons(news.reason)[2] == "ALARM"


@pytest.mark.parametrize("rise", [2.5, 5.0, 1000.0])
def test_two_to_four_bad_batches_re_train(rise, rng):
    held_out, days, policy = gamma(rng, 10, 28, SLOTS), gamma(rng, 6, 10, SLOTS), quiet()
    days[:, 3] *= rise
    decisions, why, _ = through(started(policy, held_out), days, policy)
    asked = np.flatnonzero(decisions[:, 3] == Decision.RETRAIN)
    assert 2 <= asked[0] + 1 <= 4
    assert why[asked[0], 3] == Reason.ALARM


def test_the_evidence_starts_again_after_an_alarm(rng):
    policy = quiet()
    state = replace(started(policy, gamma(rng, 1, 28, SLOTS)), cusum_up=np.array([20.0]))
    after, news = cycle(state, gamma(rng, 1, SLOTS, level=3.0), policy)
    assert reasons(news.reason) == ["ALARM"]
    assert news.evidence[0] > 20
    assert after.cusum_up.tolist() == [0.0]


def test_a_re_training_that_is_not_reported_yet_is_not_asked_for_again(rng):
    held_out, days = gamma(rng, 1, 28, SLOTS), gamma(rng, 20, 1, SLOTS, level=4.0)
    policy = quiet(follow_ups=(7,), **ONE_BATCH)
    decisions, why, state = through(started(policy, held_out), days, policy)
    assert days_of(decisions) == [0]
    assert reasons(why[7]) == ["PENDING"]
    assert set(reasons(why[8:])) == {"PENDING"}
    assert state.pending.tolist() == [True]
    _, news = cycle(reported(state), days[0], policy)
    assert reasons(news.reason) == ["ALARM"]


def test_a_review_re_trains_a_model_whose_reference_has_risen_and_looks_again_later_otherwise(rng):
    policy = quiet(review_age=5, review_every=3)
    state = started(policy, np.repeat(gamma(rng, 1, 28, SLOTS), 2, axis=0))
    now = state.reference.moments.level()
    state = replace(state, birth_level=now - np.array([0.5, 0.0]), next_review=np.array([5.0, 5.0]))
    ordinary = np.full((2, SLOTS), np.exp(now[0]))
    decisions, why, after = through(state, [ordinary] * 5, policy)
    assert (decisions[:4] == Decision.KEEP).all()
    assert decisions[4].tolist() == [Decision.RETRAIN, Decision.KEEP]
    assert reasons(why[4]) == ["REVIEW", "NONE"]
    assert after.next_review.tolist() == [8.0, 8.0]


def test_a_review_does_not_re_train_for_a_rise_below_review_rise(rng):
    for rise, expected in ((0.4, "NONE"), (0.2, "REVIEW")):
        policy = quiet(review_age=1, review_rise=rise)
        state = started(policy, gamma(rng, 1, 28, SLOTS))
        now = state.reference.moments.level()
        state = replace(state, birth_level=now - np.log(1.3), next_review=np.array([1.0]))
        _, news = cycle(state, np.full((1, SLOTS), np.exp(now[0])), policy)
        assert reasons(news.reason) == [expected]


def test_a_model_of_maximum_age_is_re_trained_in_any_case(rng):
    policy = quiet(max_age=5)
    state = replace(started(policy, gamma(rng, 1, 28, SLOTS)), oldest=np.array([5.0]))
    decisions, why, _ = through(state, gamma(rng, 5, 1, SLOTS), policy)
    assert days_of(decisions) == [4]
    assert reasons(why[4]) == ["MAX_AGE"]


def test_a_maximum_age_that_no_version_answers_is_not_asked_for_every_batch(rng):
    policy = quiet(max_age=5, review_every=6)
    state = replace(started(policy, gamma(rng, 1, 28, SLOTS)), oldest=np.array([5.0]))
    asked = []
    for day, losses in enumerate(gamma(rng, 20, 1, SLOTS)):
        state, news = cycle(state, losses, policy)
        asked += [day] * int(news.decision[0] == Decision.RETRAIN)
        state = reported(state)
    assert asked == [4, 10, 16]


def test_neither_review_nor_maximum_age_interrupts_follow_ups(rng):
    policy = quiet(max_age=2, follow_ups=(4,))
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    state = replace(state, episode=np.array([0]), oldest=np.array([1.0]))
    decisions, why, _ = through(state, gamma(rng, 4, 1, SLOTS), policy)
    assert days_of(decisions) == [3]
    assert reasons(why[3]) == ["FOLLOW_UP"]


def test_phases_of_streams_differ_and_do_not_depend_on_other_streams():
    policy = replace(quiet(), review_age=40, max_age=100)
    ids = names(60)
    everyone = np.arange(60)
    first = deploy(new_state(policy, ids), everyone, None, policy, seed=4)
    assert len(np.unique(first.oldest)) == 60
    assert ((first.oldest > 60) & (first.oldest <= 100)).all()
    assert np.ptp(first.next_review) > 30
    second = deploy(first, everyone, None, policy, seed=4)
    assert len(np.unique(second.oldest)) == 60
    assert (np.abs(second.oldest - 100) <= AGE_SPREAD * 40).all()
    some = [ids[50], "another", ids[3]]
    few = deploy(new_state(policy, some), np.arange(3), None, policy, seed=4)
    for column in ("oldest", "next_review"):
        assert getattr(few, column)[[0, 2]].tolist() == getattr(first, column)[[50, 3]].tolist()
    other = deploy(new_state(policy, ids), everyone, None, policy, seed=5)
    assert (other.oldest != first.oldest).all()


def test_without_reviews_and_maximum_age_nothing_is_ever_due():
    state = deploy(new_state(quiet(), names(3)), np.arange(3), None, quiet(), seed=0)
    assert np.isinf(state.oldest).all()
    assert np.isinf(state.next_review).all()


def test_a_dead_stream_that_wakes_up_is_re_trained(rng):
    policy = quiet()
    state = started(policy, np.zeros((2, 28, SLOTS)))
    losses = np.zeros((2, SLOTS))
    state, news = cycle(state, losses, policy)
    assert verdicts(news.verdict) == ["UNCLEAR"] * 2
    assert (news.decision == Decision.KEEP).all()
    losses[1, 3] = 0.2
    _, news = cycle(state, losses, policy)
    assert verdicts(news.verdict) == ["UNCLEAR", "DEGRADED"]
    assert reasons(news.reason) == ["FLAT", "AWAKENED"]
    assert news.decision.tolist() == [Decision.KEEP, Decision.RETRAIN]
    assert news.reference_loss.tolist() == [0.0, 0.0]


def test_negative_losses_are_unclear_and_not_dead(rng):
    policy = quiet()
    _, news = cycle(started(policy, -gamma(rng, 1, 28, SLOTS)), gamma(rng, 1, SLOTS), policy)
    assert verdicts(news.verdict) == ["UNCLEAR"]
    assert news.decision.tolist() == [Decision.KEEP]


@pytest.mark.parametrize("test", ["moderated_t", "batch_t", "welch", "mann_whitney", "ks"])
def test_too_small_a_reference_is_unclear_however_bad_the_batch(test, rng):
    policy = quiet(test=test)
    losses = gamma(rng, 1, SLOTS, level=1000.0)
    _, news = cycle(started(policy, gamma(rng, 1, 13, SLOTS)), losses, policy)
    assert verdicts(news.verdict) == ["UNCLEAR"]
    assert reasons(news.reason) == ["UNCLEAR"]
    assert np.isnan(news.p_value[0])
    assert np.isnan(news.p_evidence[0])
    _, news = cycle(started(policy, gamma(rng, 1, 14, SLOTS)), losses, policy)
    assert verdicts(news.verdict) == ["DEGRADED"]


def test_a_stream_without_losses_waits_and_keeps_its_evidence(rng):
    policy = quiet()
    state = replace(started(policy, gamma(rng, 1, 28, SLOTS)), cusum_up=np.array([2.5]))
    after, news = cycle(state, np.full((1, SLOTS), np.nan), policy)
    assert verdicts(news.verdict) == ["WAITING"]
    assert reasons(news.reason) == ["WAITING"]
    assert news.n.tolist() == [0]
    assert after.cusum_up.tolist() == [2.5]
    assert after.age.tolist() == [1]


def test_a_rise_below_the_margin_is_no_alarm(rng):
    held_out, days = gamma(rng, 4, 28, 96), gamma(rng, 60, 4, 96, level=1.1)
    asked = {}
    for margin in (0.0, 0.25):
        policy = quiet(reference="fixed", margin=margin)
        decisions, _, _ = through(started(policy, held_out), days, policy)
        asked[margin] = (decisions == Decision.RETRAIN).any(axis=0)
    assert asked[0.0].all()
    assert not asked[0.25].any()


def test_the_effect_is_relative_to_the_reference_whatever_the_margin(rng):
    held_out = gamma(rng, 1, 28, SLOTS)
    for margin in (0.0, 0.25):
        policy = quiet(margin=margin)
        _, news = cycle(started(policy, held_out), np.full((1, SLOTS), 2.0), policy)
        np.testing.assert_allclose(news.effect, 2.0 / news.reference_loss - 1)


def test_reference_loss_and_effect_are_in_the_unit_of_the_losses_whatever_the_difficulty(rng):
    held_out, policy = gamma(rng, 1, 28, SLOTS), quiet()
    plain = cycle(started(policy, held_out), np.full((1, SLOTS), 1.5), policy)[1]
    losses, hard = np.full((1, SLOTS), 4.5), np.array([3.0])
    eased = cycle(started(policy, held_out), losses, policy, difficulty=hard)[1]
    np.testing.assert_allclose(eased.reference_loss, 3 * plain.reference_loss)
    np.testing.assert_allclose(eased.p_value, plain.p_value)
    np.testing.assert_allclose(eased.effect, plain.effect)


def test_a_provisional_version_is_followed_up_as_after_an_alarm(rng):
    policy = quiet()
    state = started(policy, gamma(rng, 2, 28, SLOTS))
    state = deploy(state, np.array([0, 1]), None, policy, 0, provisional=np.array([True, False]))
    assert state.episode.tolist() == [0, NOT_OPEN]
    decisions, why, _ = through(state, gamma(rng, 30, 2, SLOTS), policy, gamma(rng, 2, 28, SLOTS))
    assert days_of(decisions) == [6, 13, 27]
    assert set(reasons(why[[6, 13, 27], 0])) == {"FOLLOW_UP"}
    assert (decisions[:, 1] == Decision.KEEP).all()


def test_a_provisional_version_is_not_followed_up_where_the_policy_has_no_follow_ups(rng):
    policy = quiet(follow_ups=())
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    state = deploy(state, np.array([0]), None, policy, 0, provisional=np.array([True]))
    assert state.episode.tolist() == [NOT_OPEN]


@pytest.mark.parametrize("accumulate", ["cusum", "none"])
def test_two_sided_an_improvement_is_an_alarm_and_named_as_what_it_is(accumulate, rng):
    held_out, days = gamma(rng, 1, 28, SLOTS), gamma(rng, 6, 1, SLOTS, level=0.3)
    policy = quiet(side="two-sided", accumulate=accumulate)
    decisions, why, _ = through(started(policy, held_out), days, policy)
    asked = days_of(decisions)
    assert asked
    assert reasons(why[asked[0]]) == ["IMPROVED"]
    decisions, why, _ = through(started(quiet(), held_out), days, quiet())
    assert not days_of(decisions)
    # The mirrored evidence starts again, as that of an alarm does: not told with every batch.
    assert reasons(why) == (["NONE"] * 2 + ["IMPROVED"]) * 2


def test_one_batch_alone_improves_only_by_its_own_p_value(rng):
    policy = quiet(accumulate="none")
    state = replace(started(policy, gamma(rng, 1, 28, SLOTS)), cusum_down=np.array([50.0]))
    level = np.exp(state.reference.moments.level())
    _, news = cycle(state, np.full((1, SLOTS), level), policy)
    assert news.verdict.tolist() == [Verdict.HEALTHY]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"drift": False},
        {"false_retrainings": 100.0},
        {"accumulate": "e_process"},
        {"allowance": 1.0},
    ],
    ids=str,
)
def test_the_dial_is_the_evidence_that_an_alarm_takes(settings, rng):
    policy = quiet(test="batch_t", common=False, **settings)
    limit = limits_of(policy).up
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    losses = gamma(rng, 1, SLOTS, level=2.0)
    reached = []
    for before in np.linspace(limit - 5.0, limit, 21):
        _, news = cycle(replace(state, cusum_up=np.array([before])), losses, policy)
        reached.append(bool(news.evidence[0] >= limit))
        assert news.alarm.tolist() == [reached[-1]]
    assert reached[-1]
    assert not reached[0]


def test_more_false_re_trainings_that_are_allowed_ask_for_less_evidence():
    dials = [limits_of(quiet(false_retrainings=rate)).up for rate in (0.1, 1.0, 10.0, 100.0)]
    assert (np.diff(dials) < -1).all()


def test_without_a_dial_the_adjusted_tail_of_the_evidence_decides(rng):
    policy = quiet(test="batch_t", common=False, drift=False, false_retrainings=None)
    n, level = 200, policy.level
    state = started(policy, gamma(rng, n, 28, SLOTS))
    state = replace(state, cusum_up=np.linspace(0.0, 20.0, n))
    _, news = cycle(state, gamma(rng, n, SLOTS), policy)
    adjusted = adjusted_p_values(tail_probability(news.evidence, policy.allowance), "bh")
    np.testing.assert_allclose(news.p_evidence, adjusted)
    np.testing.assert_array_equal(news.alarm, adjusted <= level)
    assert 0 < news.alarm.sum() < n


def test_evidence_against_the_best_level_alone_is_an_alarm_of_slow_drift(rng):
    policy = quiet()
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    state = replace(state, cusum_drift=np.array([limits_of(policy).drift + 4.0]))
    after, news = cycle(state, gamma(rng, 1, SLOTS), policy)
    assert reasons(news.reason) == ["DRIFT"]
    assert verdicts(news.verdict) == ["DEGRADED"]
    assert news.drift[0] > limits_of(policy).drift
    assert after.cusum_drift.tolist() == [0.0]
    _, news = cycle(state, gamma(rng, 1, SLOTS), replace(policy, drift=False))
    assert news.decision.tolist() == [Decision.KEEP]


def common_rise(rng, policy, n=40, days=8):
    """What each day gives while the losses of a whole fleet are doubled, from the first day on."""
    state, fleet = started(policy, gamma(rng, n, 28, SLOTS)), FleetState.new(("fleet",))
    made = []
    for losses in gamma(rng, days, n, SLOTS, level=2.0):
        made.append(cycled_on(state, losses, policy, fleet))
        state, fleet = made[-1].state, made[-1].fleet
    return made


def test_a_common_rise_is_one_finding_and_its_streams_re_train_as_part_of_it(rng):
    made = common_rise(rng, quiet())
    assert [len(one.findings) for one in made] == [1] * 8
    told = [one.findings[0] for one in made]
    assert [one.state for one in told] == ["opened"] + ["open"] * 7
    assert {(one.scope, one.since, one.streams) for one in told} == {("fleet", 0, 40)}
    assert sum(one.alarmed for one in told) <= 2
    assert all(0.7 < one.effect < 1.3 for one in told)
    first = [one.alarm for one in told].index(True)
    decisions = np.array([one.evidence.decision for one in made])
    asked = decisions == Decision.RETRAIN
    assert not asked[:first].any()
    assert asked[first : first + 3].any(axis=0).mean() > 0.9
    why = np.array([one.evidence.reason for one in made])
    assert set(reasons(why[:first])) <= {"COMMON", "NONE"}
    assert reasons(why[asked]).count("COMMON") > 0.9 * asked.sum()


def test_every_stream_that_alarms_with_its_group_is_degraded(rng):
    policy = quiet()
    before = common_rise(rng, policy, days=6)[-1]
    state = replace(before.state, cusum_all=np.full(40, 2 * limits_of(policy).up))
    state = replace(reported(state), episode=np.full(40, NOT_OPEN, dtype=np.int32))
    losses = gamma(rng, 40, SLOTS, level=2.0)
    losses[7] /= 2.0  # its own batch is as in the reference; the evidence before was not
    made = cycled_on(state, losses, policy, before.fleet)
    assert made.findings[0].alarm
    assert made.evidence.alarm.all()
    assert set(reasons(made.evidence.reason)) == {"COMMON"}
    assert set(verdicts(made.evidence.verdict)) == {"DEGRADED"}


def test_a_cycle_that_tells_nothing_of_a_group_leaves_its_finding_open(rng):
    policy = quiet()
    before = common_rise(rng, policy)[-1]
    some = before.state.rows(np.arange(4))
    silent = cycled_on(some, gamma(rng, 4, SLOTS), policy, before.fleet)
    for name, column in arrays(before.fleet.groups).items():
        np.testing.assert_array_equal(getattr(silent.fleet.groups, name), column, err_msg=name)
    assert not any(one.alarm for one in silent.findings)
    again = cycled_on(before.state, gamma(rng, 40, SLOTS, level=2.0), policy, silent.fleet)
    assert [(one.state, one.since) for one in again.findings] == [("open", 0)]


def drifting(rng, policy, growth, days, n=40):
    """What each day gives while the losses of a whole fleet grow slowly; nothing goes live."""
    state, fleet = started(policy, gamma(rng, n, 28, SLOTS)), FleetState.new(("fleet",))
    made = []
    for day, losses in enumerate(gamma(rng, days, n, SLOTS)):
        made.append(cycled_on(state, losses * growth**day, policy, fleet))
        state, fleet = made[-1].state, made[-1].fleet
    return made


def test_a_slow_common_drift_is_a_finding_before_it_is_an_alarm(rng):
    policy = quiet(false_retrainings=0.1)  # so that no streams alarm together before the drift does
    made = drifting(rng, policy, growth=1.004, days=60)
    first = [bool(one.findings) for one in made].index(True)
    (told,) = made[first].findings
    assert (told.scope, told.state, told.streams) == ("fleet", "opened", 40)
    assert not told.alarm
    assert first < 45  # 1.004 ** 45 is a rise of 20 %, or 1.4 standard deviations of a batch
    assert told.alarmed == 0
    assert told.evidence > limits_of(policy).group
    asked = np.array([one.evidence.decision for one in made]) == Decision.RETRAIN
    assert asked[:first].sum() <= 2
    assert not asked[first].any()


def test_streams_that_drift_together_re_train_with_their_group(rng):
    made = drifting(rng, quiet(), growth=1.008, days=80)
    asked = np.array([one.evidence.decision for one in made]) == Decision.RETRAIN
    why = np.array([one.evidence.reason for one in made])[asked]
    assert asked.any(axis=0).mean() > 0.9
    assert reasons(why).count("COMMON") > 0.9 * asked.sum()
    opened = [bool(one.findings) for one in made].index(True)
    assert np.median(asked.argmax(axis=0)) - opened < 20


def test_a_finding_closes_when_its_evidence_is_gone(rng):
    policy = quiet()
    made = common_rise(rng, policy)[-1]
    told = []
    while made.findings:
        made = cycled_on(made.state, gamma(rng, 40, SLOTS), policy, made.fleet)
        told += [one.state for one in made.findings]
    assert 3 < len(told) < 40
    assert told == ["open"] * (len(told) - 1) + ["closed"]
    assert made.fleet.groups.since.tolist() == [-1]


def test_without_the_common_part_every_stream_alarms_for_itself(rng):
    made = common_rise(rng, quiet(common=False))
    assert [one.findings for one in made] == [()] * 8
    why = np.array([one.evidence.reason for one in made])
    asked = np.array([one.evidence.decision for one in made]) == Decision.RETRAIN
    assert asked.any(axis=0).all()
    assert set(reasons(why[asked])) <= {"ALARM", "DRIFT"}


@pytest.mark.parametrize("weekend", [0, 1])
def test_an_excluded_batch_is_neither_evidence_nor_reference(weekend, rng):
    policy, fleet = quiet(), FleetState.new(("fleet",))
    state = replace(started(policy, gamma(rng, 2, 28, SLOTS)), cusum_up=np.array([2.5, 2.5]))
    losses, excluded = gamma(rng, 2, SLOTS, level=9.0), np.array([True, False])
    made = cycled_on(state, losses, policy, fleet, weekend=weekend, excluded=excluded)
    assert verdicts(made.evidence.verdict) == ["UNCLEAR", "DEGRADED"]
    assert reasons(made.evidence.reason) == ["EXCLUDED", "GATHERING"]
    assert made.state.cusum_up[0] == 2.5 < made.state.cusum_up[1]
    kept = arrays(made.state.reference.rows(np.array([0])))
    for name, column in arrays(state.reference.rows(np.array([0]))).items():
        np.testing.assert_array_equal(kept[name], column, err_msg=name)


def test_a_reference_that_spans_an_outage_cannot_tell(rng):
    held_out = gamma(rng, 2, 28, 96)
    held_out[1, ::3] *= 50.0  # ten of 28 batches
    policy = quiet()
    _, news = cycle(started(policy, held_out), gamma(rng, 2, 96, level=9.0), policy)
    assert verdicts(news.verdict) == ["DEGRADED", "UNCLEAR"]
    assert reasons(news.reason) == ["GATHERING", "OUTAGE"]


def test_a_schedule_re_trains_whatever_the_losses_say(rng):
    policy = Periodic(every=3, phase=0)
    state = started(policy, gamma(rng, 1, 28, SLOTS))
    decisions, why, _ = through(
        state, gamma(rng, 9, 1, SLOTS, level=50.0), policy, gamma(rng, 1, 28, SLOTS)
    )
    assert days_of(decisions) == [2, 5, 8]
    assert set(reasons(why[[2, 5, 8]])) == {"SCHEDULE"}
    assert set(reasons(why[[0, 1, 3]])) == {"GATHERING"}
