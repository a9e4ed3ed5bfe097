"""One decision per model: what the streams that share one see becomes its alarm, or their own."""

from dataclasses import fields

import numpy as np
import pytest

from cycles import quiet
from mlma.domain.verdicts import CycleRecord, Decision, Reason
from mlma.steps.together import SharedModels, echoed, speakers, together, voiced

POLICY = quiet(common=False)
MODEL = np.array([1, 0, 1, 0, 0, 1, 0, 0, 0, 0])  # three and seven streams
N = len(MODEL)


def seen(score, **columns):
    """A record of one batch in which nothing was decided."""
    made = {}
    for spec in fields(CycleRecord):
        made[spec.name] = np.full(N, np.nan)
    made |= {name: np.zeros(N, dtype=np.int8) for name in ("verdict", "decision", "reason")}
    made |= {"n": np.full(N, 4), "alarm": np.zeros(N, dtype=np.bool_)}
    made["score"] = np.broadcast_to(np.asarray(score, dtype=np.float64), N).copy()
    return CycleRecord(**(made | columns))


def where(*rows):
    made = np.zeros(N, dtype=np.bool_)
    made[list(rows)] = True
    return made


def alarms(*rows, reason=Reason.ALARM):
    """Columns of streams whose own evidence asks for a re-training."""
    at = where(*rows)
    return {
        "alarm": at,
        "decision": np.where(at, Decision.RETRAIN, Decision.KEEP).astype(np.int8),
        "reason": np.where(at, reason, Reason.NONE).astype(np.int8),
    }


def healthy(batches=60, seed=2):
    """Models after healthy batches, and a generator to go on with."""
    rng, state = np.random.default_rng(seed), SharedModels.new(2)
    for _ in range(batches):
        state, record = together(state, seen(rng.standard_normal(N)), MODEL, POLICY)
        assert not record.alarm.any()
    return state


def test_speakers_are_the_first_streams_of_their_models():
    assert speakers(MODEL).tolist() == [1, 0]
    assert voiced(np.arange(N), MODEL).tolist() == [0, 1, 0, 1, 1, 0, 1, 1, 1, 1]


def test_a_moderate_rise_of_all_streams_is_an_alarm_of_their_model_alone():
    state = healthy()
    rising = np.where(MODEL == 0, 1.2, 0.0)
    for _ in range(12):
        state, record = together(state, seen(rising), MODEL, POLICY)
        if record.alarm.any():
            break
    assert np.flatnonzero(record.alarm).tolist() == [1]
    assert record.decision.tolist() == [0, Decision.RETRAIN] + [0] * 8
    assert record.reason.tolist() == [0, Reason.ALARM] + [0] * 8
    assert state.evidence[0] == 0.0  # starts anew


def test_the_same_rise_of_one_stream_is_no_alarm_of_the_model():
    state = healthy()
    for _ in range(20):
        state, record = together(state, seen(np.where(where(3), 1.2, 0.0)), MODEL, POLICY)
        assert not record.alarm.any()


def test_a_stream_that_breaks_alone_is_named_and_re_trains_nothing():
    state = healthy()
    _, record = together(state, seen(np.where(where(4), 6.0, 0.0), **alarms(4)), MODEL, POLICY)
    assert record.reason.tolist() == [0] * 4 + [Reason.UNFIT] + [0] * 5
    assert not record.decision.any()
    assert not record.alarm.any()


def test_streams_of_a_model_with_an_alarm_are_not_named():
    state = SharedModels(healthy().comovement, np.array([1e9, 0.0]))
    _, record = together(state, seen(2.0, **alarms(4, 5)), MODEL, POLICY)
    assert record.reason[[1, 4, 5]].tolist() == [Reason.ALARM, Reason.NONE, Reason.UNFIT]


@pytest.mark.parametrize("reason", [Reason.MAX_AGE, Reason.REVIEW])
def test_an_old_model_is_re_trained_when_its_speaker_says_so(reason):
    columns = alarms(1, 2, reason=reason) | {"alarm": where()}
    _, record = together(SharedModels.new(2), seen(0.0, **columns), MODEL, POLICY)
    assert np.flatnonzero(record.decision == Decision.RETRAIN).tolist() == [1]
    assert record.reason[1] == reason
    assert record.reason[2] == Reason.NONE


def test_batches_without_a_score_leave_the_evidence_as_it_was():
    state = SharedModels(healthy().comovement, np.array([2.0, 3.0]))
    after, record = together(state, seen(np.nan), MODEL, POLICY)
    assert after.evidence.tolist() == [2.0, 3.0]
    assert not record.alarm.any()


def test_a_model_without_a_live_stream_is_left_alone():
    state = SharedModels(healthy().comovement, np.array([2.0, 1e9]))
    only = np.zeros(N, dtype=np.int64)  # the second model has no stream today
    after, record = together(state, seen(0.0), only, POLICY)
    assert not record.alarm.any()
    assert after.evidence[0] < 2.0


def test_the_order_of_streams_does_not_matter_to_the_alarms_of_their_models():
    rng = np.random.default_rng(4)
    order = rng.permutation(N)
    one = other = healthy()
    for _ in range(30):
        score = rng.standard_normal(N) + 0.6
        one, first = together(one, seen(score), MODEL, POLICY)
        other, second = together(other, seen(score[order]), MODEL[order], POLICY)
        np.testing.assert_allclose(one.evidence, other.evidence, rtol=1e-9)
        np.testing.assert_array_equal(
            voiced(first.alarm, MODEL)[order], voiced(second.alarm, MODEL[order])
        )


def test_what_the_speaker_does_is_echoed_and_named_streams_keep_their_reason():
    decision, reason = np.zeros(N, dtype=np.int8), np.zeros(N, dtype=np.int8)
    decision[1], reason[1] = Decision.DEFER, Reason.BUDGET
    reason[4], reason[5] = Reason.UNFIT, Reason.WAITING
    said, why = echoed(decision, reason, MODEL)
    assert said.tolist() == np.where(MODEL == 0, Decision.DEFER, Decision.KEEP).tolist()
    assert why[MODEL == 0].tolist() == [Reason.BUDGET] * 2 + [Reason.UNFIT] + [Reason.BUDGET] * 4
    assert why[MODEL == 1].tolist() == [0, 0, Reason.WAITING]
    assert (said.dtype, why.dtype) == (np.int8, np.int8)
