"""Where re-training does not help a person is asked, and not for ever."""

from dataclasses import replace

import numpy as np
import pytest

from mlma.domain.outcomes import Asked, EscalationState, Kind, Outcomes, OutcomeState
from mlma.steps.escalate import escalated

ONE = np.ones(1, dtype=bool)
NO = ~ONE
LEVEL = np.zeros(1)


def outcome(gain=0.0, after=0.5, kind=Kind.ALARM, withheld=False):
    one = np.ones(1)
    asked = replace(Asked.nothing(1), kind=np.array([kind], dtype=np.int8))
    held = np.array([withheld])
    return Outcomes(np.arange(1), asked, held, gain * one, 0.1 * one, after * one, 7 * one)


NOTHING = outcome().rows(np.empty(0, dtype=np.int64))


def losses(log_loss=0.5):
    return replace(OutcomeState.new(1), recent=np.full((1, 7), log_loss, dtype=np.float32))


def after(state, alarm=NO, made=NOTHING, log_loss=0.5, **settings):
    return escalated(state, alarm, LEVEL, losses(log_loss), made, **settings)


def tried(state, times, made=None, **settings):
    """Return the state after so many alarms, each with an outcome that did not help."""
    for _ in range(times):
        state = after(state, alarm=ONE, **settings)
        for _ in range(7):
            state = after(state, **settings)
        state = after(state, made=made or outcome(), **settings)
    return state


def test_three_tries_that_did_not_help_escalate():
    state = EscalationState.new(1)
    assert not tried(state, 2).escalated.any()
    assert tried(state, 3).escalated.all()
    assert tried(state, 1, escalate_after=1).escalated.all()


@pytest.mark.parametrize(
    "better",
    [
        outcome(gain=0.3),
        outcome(gain=0.3, kind=Kind.FOLLOW_UP),
        outcome(gain=0.3, kind=Kind.AGE),
        outcome(gain=-0.1, after=0.01),
    ],
    ids=["helped", "follow-up helped", "age helped", "back at the level before the break"],
)
def test_a_re_training_that_helped_forgets_the_tries_before_it(better):
    state = after(tried(EscalationState.new(1), 2), made=better)
    assert state.tries.tolist() == [0]
    assert not tried(state, 2).escalated.any()


@pytest.mark.parametrize(
    "made",
    [
        outcome(kind=Kind.FOLLOW_UP),
        outcome(kind=Kind.AGE),
        outcome(withheld=True),
        outcome(np.nan),
    ],
    ids=["follow-up", "by age", "withheld", "not told"],
)
def test_only_a_re_training_by_alarm_is_a_try(made):
    assert tried(EscalationState.new(1), 4, made).tries.tolist() == [0]


def test_a_fall_that_may_be_chance_is_no_help():
    state = tried(EscalationState.new(1), 3, made=outcome(gain=0.18))
    assert state.escalated.all()


def test_a_withheld_outcome_that_fell_is_no_help():
    state = after(tried(EscalationState.new(1), 2), made=outcome(0.4, withheld=True))
    assert state.tries.tolist() == [2]


def test_recovery_ends_the_escalation():
    state = tried(EscalationState.new(1), 3)
    state = after(state, log_loss=0.01)
    assert not state.escalated.any()
    assert not tried(state, 2).escalated.any()


def test_an_alarm_speaks_against_recovery():
    state = tried(EscalationState.new(1), 3)
    assert after(state, alarm=ONE, log_loss=0.01).escalated.all()


def test_a_person_ends_the_escalation():
    state = tried(EscalationState.new(1), 3)
    assert not after(state, by_hand=ONE).escalated.any()


def test_one_more_try_is_allowed_after_a_while_and_its_failure_escalates_again():
    state = tried(EscalationState.new(1), 3)
    for batch in range(28):
        assert state.escalated.all(), batch
        state = after(state, alarm=NO | (batch % 3 == 0))
    assert not state.escalated.any()
    assert state.tries.tolist() == [2]
    assert tried(state, 1).escalated.all()


def test_tries_are_forgotten_when_no_alarm_follows():
    state = tried(EscalationState.new(1), 2)
    for _ in range(50):
        state = after(state)
    assert state.tries.tolist() == [0]
    assert not tried(state, 2).escalated.any()


def test_an_alarm_shortly_before_tries_are_forgotten_is_still_judged():
    state = tried(EscalationState.new(1), 2)
    for _ in range(34):
        state = after(state)
    assert tried(state, 1).escalated.all()


def test_a_stream_whose_level_is_not_known_is_escalated_and_does_not_recover():
    state, unknown = EscalationState.new(1), np.full(1, np.nan)
    for _ in range(3):
        state = escalated(state, ONE, unknown, losses(), NOTHING)
        state = escalated(state, NO, unknown, losses(), outcome())
    assert state.escalated.all()
    assert after(state, log_loss=-9.0).escalated.all()


def test_quiet_streams_cost_nothing():
    state = EscalationState.new(1)
    assert after(state) is state


def test_permuting_the_streams_permutes_the_escalations():
    rng = np.random.default_rng(3)
    n, order = 40, rng.permutation(40)
    one, other, kind = EscalationState.new(n), EscalationState.new(n), np.full(n, Kind.ALARM)
    for _ in range(60):
        alarm, level, told = rng.random(n) < 0.3, rng.normal(0, 0.1, n), rng.random(n) < 0.2
        recent = replace(
            OutcomeState.new(n), recent=rng.normal(0.3, 0.3, (n, 7)).astype(np.float32)
        )
        asked = replace(Asked.nothing(n), kind=kind.astype(np.int8))
        gain = rng.normal(0, 0.2, n)
        made = Outcomes(
            np.arange(n), asked, ~told & told, gain, gain * 0, gain * 0 + 1, gain * 0 + 7
        )
        mixed = replace(made.rows(order), row=np.arange(n))
        one = escalated(one, alarm, level, recent, made.rows(np.flatnonzero(told)))
        kept = mixed.rows(np.flatnonzero(told[order]))
        other = escalated(other, alarm[order], level[order], recent.rows(order), kept)
    assert one.escalated.any()
    for name, column in one.rows(order).flat().items():
        np.testing.assert_array_equal(other.flat()[name], column)
