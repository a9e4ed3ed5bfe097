"""What a re-training gained is measured against the batches before it."""

import numpy as np
import pytest

from mlma.domain.chance import stream_keys, uniforms
from mlma.domain.outcomes import JUDGED, Kind, OutcomeState, kinds
from mlma.domain.verdicts import Reason
from mlma.steps.outcome import asked_again, held_back, measured, noted, recovered, rise, withheld

NO = np.zeros(1, dtype=bool)
YES = ~NO


def played(losses, deployed=(), held=(), state=None):
    """Play one stream's log losses; return the state and the outcomes with their batch."""
    state, made = state or OutcomeState.new(1), []
    for batch, loss in enumerate(losses):
        went = NO | (batch in deployed)
        state, one = measured(state, np.array([loss]), went, NO | (batch in held))
        made += [(batch, one)] * len(one)
    return state, made


def test_the_gain_is_the_fall_of_the_mean_log_loss():
    rng = np.random.default_rng(0)
    before, after = rng.normal(0.5, 0.1, 7), rng.normal(0.2, 0.1, 7)
    _, [(batch, made)] = played([*before, *after], deployed={7})
    assert batch == 13
    np.testing.assert_allclose(made.gain, before.mean() - after.mean(), rtol=1e-5)
    error = (before - after).std(ddof=1) / np.sqrt(7)
    np.testing.assert_allclose(made.error, error, rtol=1e-4)
    np.testing.assert_allclose(made.after, after.mean(), rtol=1e-5)
    assert made.helped().tolist() == [True]


def test_only_the_last_batches_before_are_compared():
    _, [(_, made)] = played([9.0] * 5 + [0.5] * 7 + [0.5] * 7, deployed={12})
    np.testing.assert_allclose(made.gain, 0.0, atol=1e-6)
    assert not made.helped().any()


def test_weekdays_meet_their_like_when_batches_are_missing():
    week = np.array([0.0, 0, 0, 0, 0, 1, 1])
    before, after = week + 0.3, week.copy()
    before[6] = after[1] = np.nan
    _, [(_, made)] = played([*before, *after], deployed={7})
    np.testing.assert_allclose(made.gain, 0.3, rtol=1e-5)
    assert made.pairs.tolist() == [5]


@pytest.mark.parametrize("lost", [np.nan, -np.inf, np.inf])
def test_too_few_losses_give_an_outcome_that_is_not_told(lost):
    _, [(_, made)] = played([0.5] * 7 + [0.2] * 3 + [lost] * 4, deployed={7})
    assert not made.told.any()
    assert not made.helped().any()
    assert np.isnan(made.gain).all()


def test_the_first_version_of_a_stream_has_no_outcome_to_tell():
    _, [(_, made)] = played([0.5] * 7, deployed={0})
    assert not made.told.any()


def test_a_version_that_goes_live_meanwhile_neither_ends_the_window_nor_opens_another():
    losses = [0.5] * 7 + [0.4] * 5 + [0.1] * 9
    state, [(batch, made)] = played(losses, deployed={7, 12})
    assert batch == 13
    np.testing.assert_allclose(made.gain, (5 * 0.1 + 2 * 0.4) / 7, rtol=1e-5)
    assert not state.window.open.any()
    state, [(_, one), (_, other)] = played([0.5] * 7 + [0.2] * 7 + [0.1] * 7, deployed={7, 14})
    np.testing.assert_allclose([one.gain[0], other.gain[0]], [0.3, 0.1], rtol=1e-5)


def test_a_withheld_re_training_is_measured_and_not_called_helpful():
    state, [(batch, made)] = played([0.5] * 7 + [0.2] * 7, held={7})
    assert batch == 13
    assert made.withheld.all()
    assert not made.helped().any()
    assert not held_back(state).any()


def test_a_withheld_stream_is_held_back_until_its_window_is_over():
    seen, state = [], OutcomeState.new(1)
    for batch in range(12):
        state, _ = measured(state, np.array([0.5]), NO, NO | (batch == 2))
        seen.append(bool(held_back(state)[0]))
    assert np.flatnonzero(seen).tolist() == list(range(2, 2 + JUDGED - 1))


def test_what_was_known_at_the_decision_comes_back_with_the_outcome():
    state = noted(
        OutcomeState.new(2),
        np.array([1]),
        np.array([Kind.ALARM], dtype=np.int8),
        np.array([[0.25, 8.0, 40.0]]),
    )
    deployed = np.array([False, True])
    for batch in range(7):
        state, made = measured(state, np.zeros(2), deployed & (batch == 0), np.zeros(2, bool))
        state = noted(state, np.array([1]), np.array([Kind.AGE], dtype=np.int8), np.zeros((1, 3)))
    assert made.row.tolist() == [1]
    assert made.asked.kind.tolist() == [Kind.ALARM]
    assert made.asked.features.tolist() == [[0.25, 8.0, 40.0]]


def test_a_version_that_nobody_asked_for_counts_as_by_age():
    _, [(_, made)] = played([0.5] * 14, deployed={7})
    assert made.asked.kind.tolist() == [Kind.AGE]


def test_every_reason_of_a_re_training_has_a_kind():
    by_alarm = {Reason.ALARM, Reason.DRIFT, Reason.COMMON, Reason.AWAKENED, Reason.IMPROVED}
    for reason in Reason:
        expected = Kind.ALARM if reason in by_alarm else Kind.AGE
        if reason is Reason.FOLLOW_UP:
            expected = Kind.FOLLOW_UP
        assert kinds(np.array([reason], dtype=np.int8))[0] == expected


def test_permuting_the_streams_permutes_the_outcomes():
    rng = np.random.default_rng(1)
    order = rng.permutation(30)
    one, other = OutcomeState.new(30), OutcomeState.new(30)
    for _ in range(40):
        loss = np.where(rng.random(30) < 0.1, np.nan, rng.normal(size=30))
        went, held = rng.random(30) < 0.1, rng.random(30) < 0.05
        one, made = measured(one, loss, went, held)
        other, mixed = measured(other, loss[order], went[order], held[order])
        assert made.row.tolist() == sorted(made.row.tolist())
        place = np.argsort(order[mixed.row])
        assert (order[mixed.row][place] == made.row).all()
        np.testing.assert_array_equal(mixed.gain[place], made.gain)
    for name, column in one.rows(order).flat().items():
        np.testing.assert_array_equal(other.flat()[name], column)


def test_the_state_is_as_small_as_it_says():
    assert OutcomeState.new(1000).nbytes() == 75 * 1000


def test_recovery_needs_losses_at_the_level():
    losses = np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    state, _ = played(losses)
    assert recovered(state, np.array([0.03])).all()
    assert not recovered(state, np.array([0.02])).any()
    assert not recovered(state, np.array([np.nan])).any()
    few, _ = played([0.0] * 3)
    assert not recovered(few, np.array([1.0])).any()


def test_the_lower_bound_of_a_rise_finds_how_old_the_break_is():
    level, spread = np.zeros(1), np.full(1, 0.1)
    fresh, _ = played([0.0] * 4 + [0.5] * 3)
    long, _ = played([0.5] * 7)
    lost, _ = played([np.nan] * 7)
    found = rise(fresh, level, spread)
    np.testing.assert_allclose(found.lower, 0.5 - 1.645 * 0.1 / np.sqrt(3), rtol=1e-4)
    assert found.since.tolist() == [3]
    assert rise(long, level, spread).since.tolist() == [7]
    assert np.isnan(rise(lost, level, spread).lower).all()
    assert np.isnan(rise(long, np.array([np.nan]), spread).lower).all()


def test_withholding_is_reproducible_and_keeps_its_share():
    keys, asked = stream_keys(map(str, range(4000))), np.arange(4000) % 2 == 0
    draws = np.stack([withheld(asked, 0.1, keys, cycle, seed=3) for cycle in range(20)])
    again = withheld(asked[::-1], 0.1, keys[::-1], 7, seed=3)[::-1]
    assert (draws[7] == again).all()
    assert not draws[:, ~asked].any()
    assert abs(draws.sum() - 4000) < 4 * np.sqrt(4000 * 0.9)
    both = (draws[:-1] & draws[1:]).sum()
    assert abs(both - 380) < 4 * np.sqrt(380)
    assert (draws[7] != asked & (uniforms(3, keys, 7) < 0.1)).any()  # a policy may draw that
    assert not withheld(asked, 0.0, keys, 0, seed=3).any()


@pytest.mark.parametrize(("kind", "gain"), [(Kind.ALARM, 0.4), (Kind.AGE, 0.4 * 2 / 7)])
def test_of_the_batches_before_an_alarm_only_those_since_the_break_count(kind, gain):
    state, _ = played([0.0] * 5 + [0.4] * 2)
    code, since = np.array([kind], dtype=np.int8), np.array([2], dtype=np.int8)
    state = noted(state, np.arange(1), code, np.zeros((1, 3)), since)
    _, [(_, made)] = played([0.0] * 7, deployed={0}, state=state)
    np.testing.assert_allclose(made.gain, gain, rtol=1e-5)


def test_an_alarm_without_losses_since_the_break_counts_all_before():
    state, _ = played([0.2] * 6 + [np.nan])
    code, since = np.array([Kind.ALARM], dtype=np.int8), np.array([1], dtype=np.int8)
    state = noted(state, np.arange(1), code, np.zeros((1, 3)), since)
    _, [(_, made)] = played([0.0] * 7, deployed={0}, state=state)
    np.testing.assert_allclose(made.gain, 0.2, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "back", "reason"),
    [
        (Kind.ALARM, False, Reason.ALARM),
        (Kind.ALARM, True, Reason.NONE),
        (Kind.FOLLOW_UP, False, Reason.FOLLOW_UP),
        (Kind.AGE, False, Reason.MAX_AGE),
        (Kind.AGE, True, Reason.MAX_AGE),
    ],
)
def test_what_was_withheld_asks_again_unless_the_loss_is_back(kind, back, reason):
    for held, expected in (({0}, reason), ((), Reason.NONE)):
        code = np.array([kind], dtype=np.int8)
        state = noted(OutcomeState.new(1), np.arange(1), code, np.zeros((1, 3)))
        _, [(_, made)] = played([0.5] * 7, deployed={0} - set(held), held=held, state=state)
        assert asked_again(made, YES & back).tolist() == [expected]
