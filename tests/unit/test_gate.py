"""The trial of a candidate and the watch of a former version, batch after batch."""

import numpy as np
import pytest

from mlma.domain.challengers import Role
from mlma.stats.paired import gain_interval, log_ratio, relative_gain
from mlma.steps.gate import (
    closed,
    judged_former,
    judged_trial,
    no_challengers,
    open_trial,
    opened_trial,
    watch_former,
)

NONE = np.empty((1, 0))
ONE = np.array([0])


def on_trial(old=NONE, new=NONE, **settings):
    return open_trial(no_challengers(1), ONE, old, new, **settings)


def judged(state, old, new, batches=1, judge=judged_trial, **settings):
    for _ in range(batches):
        state, yes, no = judge(state, np.array([old]), np.array([new]), **settings)
    return state, bool(yes[0]), bool(no[0])


def test_a_candidate_goes_live_once_it_is_better_and_not_before():
    state, deploy, drop = judged(on_trial(), 1.0, 0.8, batches=2)
    assert (deploy, drop) == (False, False)
    _, deploy, drop = judged(state, 1.0, 0.8, batches=2)
    assert (deploy, drop) == (True, False)


def test_a_candidate_is_dropped_once_the_champion_is_better():
    _, deploy, drop = judged(on_trial(), 0.8, 1.0, batches=4)
    assert (deploy, drop) == (False, True)


def test_held_out_batches_can_decide_a_trial_at_once():
    good, bad = np.full((1, 9), 0.8), np.full((1, 9), 1.25)
    assert [said.tolist() for said in opened_trial(on_trial(np.ones((1, 9)), good), ONE)] == [
        [True],
        [False],
    ]
    assert [said.tolist() for said in opened_trial(on_trial(np.ones((1, 9)), bad), ONE)] == [
        [False],
        [True],
    ]
    assert [said.tolist() for said in opened_trial(on_trial(), ONE)] == [[False], [False]]


def test_losses_from_before_the_champion_was_trained_are_not_its_own():
    old, new = np.array([[9.0, 9.0, 9.0, 1.0, 1.0]]), np.ones((1, 5))
    state = on_trial(old, new, champion_age=np.array([2], dtype=np.int32))
    assert state.evidence.batches.tolist() == [2]
    assert relative_gain(state.evidence).tolist() == [0.0]
    assert on_trial(old, new).evidence.batches.tolist() == [5]


def test_at_the_limit_a_candidate_that_leads_and_leans_goes_live():
    state, deploy, drop = judged(on_trial(), 1.0, 0.98, batches=13)
    assert (deploy, drop) == (False, False)
    _, deploy, drop = judged(state, 1.0, 0.98)
    assert (deploy, drop) == (True, False)


@pytest.mark.parametrize(("old", "new"), [(1.0, 1.0), (1.0, 1.01), (np.nan, 1.0), (0.0, 0.0)])
def test_at_the_limit_a_tie_a_worse_one_and_silence_keep_the_champion(old, new):
    _, deploy, drop = judged(on_trial(), old, new, batches=14)
    assert (deploy, drop) == (False, True)


def test_a_candidate_whose_mean_loss_is_higher_never_goes_live():
    """Better on most days, but what it loses on the others is more."""
    state = on_trial()
    for old, new in [(1.0, 0.85)] * 12 + [(1.0, 9.0)]:
        state, deploy, drop = judged(state, old, new, level=1e-6, batches=13)
    assert (deploy, drop) == (False, True)


def test_a_batch_without_a_loss_ages_the_trial_and_says_nothing():
    state, _, _ = judged(on_trial(), 1.0, 0.9)
    waited, deploy, drop = judged(state, np.nan, 0.9)
    assert waited.age.tolist() == [2]
    assert (deploy, drop) == (False, False)
    for name, column in waited.evidence.flat().items():
        np.testing.assert_array_equal(column, state.evidence.flat()[name])


def test_a_former_version_comes_back_only_on_evidence():
    state = watch_former(no_challengers(1), ONE)
    _, back, over = judged(state, 1.2, 1.0, batches=5, judge=judged_former)
    assert (back, over) == (True, False)
    _, back, over = judged(state, 1.01, 1.0, batches=14, judge=judged_former)
    assert (back, over) == (False, True)
    _, back, over = judged(state, 0.8, 1.0, batches=13, judge=judged_former)
    assert (back, over) == (False, False)


def test_a_watch_starts_without_the_evidence_of_the_trial():
    state, _, _ = judged(on_trial(), 1.0, 0.8, batches=4)
    watched = watch_former(state, ONE)
    assert watched.role.tolist() == [Role.FORMER]
    assert watched.age.tolist() == [0]
    assert watched.evidence.batches.tolist() == [0]
    assert not watched.evidence.better.any()


def test_each_judge_reads_only_the_challengers_of_its_role():
    state = open_trial(no_challengers(3), ONE, NONE, NONE)
    state = watch_former(state, np.array([1]))
    for _ in range(4):
        state, deploy, drop = judged_trial(state, np.ones(3), np.full(3, 0.5))
        state, back, over = judged_former(state, np.ones(3), np.full(3, 0.5))
    assert [deploy.tolist(), back.tolist()] == [[True, False, False], [False, True, False]]
    assert not drop.any()
    assert not over.any()
    assert state.age.tolist() == [4, 4, 0]
    assert state.evidence.batches.tolist() == [4, 4, 0]


def test_a_challenger_that_left_is_forgotten():
    state, _, _ = judged(on_trial(), 1.0, 0.8, batches=4)
    gone = closed(state, ONE)
    for name, column in gone.flat().items():
        np.testing.assert_array_equal(column, no_challengers(1).flat()[name])


def test_judging_leaves_the_old_columns_alone():
    state = on_trial()
    judged_trial(state, np.array([1.0]), np.array([0.5]))
    assert state.age.tolist() == [0]
    assert not state.evidence.better.any()


def test_what_is_remembered_of_a_challenger_does_not_grow():
    state = on_trial()
    longer, _, _ = judged(state, 1.0, 0.99, batches=50)
    assert longer.nbytes() == state.nbytes() <= 96


def test_a_trial_can_be_judged_more_strictly():
    _, deploy, _ = judged(on_trial(), 1.0, 0.8, batches=4, level=0.2)
    _, stricter, _ = judged(on_trial(), 1.0, 0.8, batches=4, level=0.01)
    assert (deploy, stricter) == (True, False)


def test_a_perfect_batch_counts_as_tenfold_and_not_as_infinite():
    ratio = log_ratio(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(ratio, [np.log(10), -np.log(10), 0.0])


@pytest.mark.parametrize("loss", [np.nan, np.inf, -1.0])
def test_losses_that_are_none_say_nothing(loss):
    assert np.isnan(log_ratio(np.array([loss, 1.0]), np.array([1.0, loss]))).all()


def test_nothing_is_known_of_a_gain_before_the_first_batch():
    evidence = no_challengers(1).evidence
    low, high = gain_interval(evidence, 0.05)
    assert (low[0], high[0]) == (-np.inf, 1.0)
    assert np.isnan(relative_gain(evidence)).all()


@pytest.mark.parametrize(("role", "label"), [(Role.NONE, "none"), (Role.FORMER, "former")])
def test_a_role_has_a_label(role, label):
    assert role.label == label
