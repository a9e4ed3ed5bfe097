"""A budget grants what saves most, keeps to its limits, and loses nobody."""

from dataclasses import replace

import numpy as np
import pytest

from candidates import candidates
from mlma.domain.budgets import Budget, BudgetState
from mlma.domain.errors import SettingsError
from mlma.domain.verdicts import Reason
from mlma.steps.budget import granted, refunded, seconds_expected, trained


def order(state, asking, budget):
    """Return the streams in the order in which they are granted, each asking once."""
    asking, seen = replace(asking, healed=np.zeros(len(asking), bool)), []
    while True:
        made, state = granted(state, asking, budget)
        if not made.granted.any():
            return seen
        seen += np.flatnonzero(made.granted).tolist()
        asking = replace(asking, asks=np.zeros(len(asking), bool))


def test_without_a_limit_all_are_granted():
    made, state = granted(BudgetState.new(5), candidates(5), Budget())
    assert made.granted.all()
    assert not made.deferred.any()
    assert (made.reason == Reason.ALARM).all()
    assert (state.spare_fits, state.spare_seconds) == (0.0, 0.0)


def test_the_largest_saving_is_granted_first():
    asking = candidates(4, gain=[0.1, 0.3, 0.2, 0.1], level=[1, 1, 1, 9])
    assert order(BudgetState.new(4), asking, Budget(fits=1)) == [3, 1, 2, 0]


def test_a_version_that_serves_longer_is_worth_more():
    asking = candidates(3, usefulness=[1, 56, 7])
    assert order(BudgetState.new(3), asking, Budget(fits=1)) == [1, 2, 0]


def test_a_dear_fit_must_save_more():
    state = trained(BudgetState.new(2), np.array([0, 1]), np.array([10.0, 1.0]))
    state = trained(state, np.array([0, 1]), np.array([10.0, 1.0]))
    assert order(state, candidates(2, gain=[0.11, 0.1]), Budget(fits=1)) == [1, 0]
    assert order(state, candidates(2, gain=[0.6, 0.1]), Budget(fits=1)) == [0, 1]


def test_ties_go_to_the_older_model_and_then_to_the_smaller_key():
    asking = candidates(3, age=[5, 9, 9], key=[1, 7, 3])
    assert order(BudgetState.new(3), asking, Budget(fits=1)) == [2, 1, 0]


def test_evidence_and_age_rank_as_in_the_prototype():
    asking = candidates(3, evidence=[6, 0, np.nan], age=[0, 130, 100])
    budget = Budget(fits=1, rank="evidence_and_age")
    assert order(BudgetState.new(3), asking, budget) == [1, 0, 2]


@pytest.mark.parametrize("gain", [np.nan, -1.0, 0.0])
def test_a_gain_that_is_not_positive_waits_but_not_for_ever(gain):
    state, budget, served = BudgetState.new(2), Budget(fits=1), None
    for cycle in range(500):  # a strong candidate comes anew in every cycle
        asks = [cycle == 0, True]
        made, state = granted(state, candidates(2, asks=asks, gain=[gain, 0.5]), budget)
        if made.granted[0]:
            served = cycle
            break
    assert served is not None
    assert 100 < served < 300


def test_a_share_of_the_streams_adds_up_over_cycles():
    state, asking, counts = BudgetState.new(1000), candidates(1000), []
    for _ in range(8):
        made, state = granted(state, asking, Budget(fits=0.0025))
        counts.append(int(made.granted.sum()))
    assert counts == [2, 3, 2, 3, 2, 3, 2, 3]


def test_tenths_of_a_fit_become_one_fit():
    state, asking, counts = BudgetState.new(10), candidates(10), []
    for _ in range(30):
        made, state = granted(state, asking, Budget(fits=0.01, carry_cycles=0))
        counts.append(int(made.granted.sum()))
    assert np.flatnonzero(counts).tolist() == [9, 19, 29]


def test_unspent_budget_is_carried_over_and_does_not_explode():
    state, quiet = BudgetState.new(100), candidates(100, asks=np.zeros(100))
    for _ in range(50):
        _, state = granted(state, quiet, Budget(fits=2))
    made, state = granted(state, candidates(100), Budget(fits=2))
    assert made.granted.sum() == 2 * 7 + 1 + 2
    made, state = granted(state, candidates(100), Budget(fits=2))
    assert made.granted.sum() == 2


def test_unspent_seconds_are_carried_over_and_do_not_explode():
    state = trained(BudgetState.new(100), np.arange(100), np.full(100, 2.0))
    quiet = candidates(100, asks=np.zeros(100))
    for _ in range(50):
        _, state = granted(state, quiet, Budget(seconds=5))
    assert (
        granted(state, candidates(100), Budget(seconds=5))[0].granted.sum() == (5 * 7 + 2 + 5) / 2
    )


def test_nothing_is_carried_over_where_nothing_may_be():
    state, quiet = BudgetState.new(100), candidates(100, asks=np.zeros(100))
    budget = Budget(fits=5, carry_cycles=0)
    for _ in range(50):
        _, state = granted(state, quiet, budget)
    assert granted(state, candidates(100), budget)[0].granted.sum() <= 5 + 1


def test_a_budget_of_nothing_grants_nothing():
    state = BudgetState.new(3)
    for budget in (Budget(fits=0), Budget(seconds=0)):
        for _ in range(20):
            made, state = granted(state, candidates(3), budget)
            assert not made.granted.any()
    assert (state.streams.waiting == 40).all()


def test_seconds_limit_what_is_granted():
    state = trained(BudgetState.new(6), np.arange(6), np.full(6, 2.0))
    made, state = granted(state, candidates(6), Budget(seconds=5))
    assert made.granted.sum() == 2
    assert state.spare_seconds == pytest.approx(1.0)
    made, state = granted(state, candidates(6), Budget(seconds=5))
    assert made.granted.sum() == 3


def test_both_limits_hold_together():
    state = trained(BudgetState.new(6), np.arange(6), np.full(6, 2.0))
    assert granted(state, candidates(6), Budget(fits=1, seconds=9))[0].granted.sum() == 1
    assert granted(state, candidates(6), Budget(fits=4, seconds=5))[0].granted.sum() == 2


def test_a_fit_dearer_than_a_week_of_budget_is_saved_up_for():
    state = trained(BudgetState.new(2), np.arange(2), np.full(2, 30.0))
    cycles, budget = [], Budget(seconds=1)
    for cycle in range(100):
        made, state = granted(state, candidates(2), budget)
        cycles += [cycle] * int(made.granted.sum())
    assert cycles == [29, 59, 89]


def test_deferred_streams_keep_their_place_and_their_reason():
    state, budget = BudgetState.new(3), Budget(fits=1)
    reason = [Reason.DRIFT, Reason.MAX_AGE, Reason.ALARM]
    made, state = granted(state, candidates(3, gain=[0.3, 0.2, 0.1], reason=reason), budget)
    assert made.reason.tolist() == [Reason.DRIFT, Reason.BUDGET, Reason.BUDGET]
    assert state.streams.waiting.tolist() == [0, 1, 1]
    silent = candidates(3, asks=np.zeros(3), gain=[0.3, 0.2, 0.1])
    made, state = granted(state, silent, budget)
    assert made.reason.tolist() == [Reason.NONE, Reason.MAX_AGE, Reason.BUDGET]
    assert state.streams.waiting.tolist() == [0, 0, 2]


def test_a_deferred_stream_whose_evidence_healed_stops_asking():
    budget = Budget(fits=0)
    _, state = granted(BudgetState.new(2), candidates(2), budget)
    healing = candidates(2, asks=[False, False], healed=[True, False])
    made, state = granted(state, healing, budget)
    assert made.stopped.tolist() == [True, False]
    assert made.deferred.tolist() == [False, True]
    assert state.streams.waiting.tolist() == [0, 2]


def test_an_old_model_does_not_heal():
    old = candidates(1, reason=[Reason.MAX_AGE], healed=[True])
    _, state = granted(BudgetState.new(1), old, Budget(fits=0))
    made, _ = granted(state, replace(old, asks=np.zeros(1, dtype=bool)), Budget(fits=0))
    assert made.deferred.all()


def test_waiting_doubles_what_a_candidate_is_worth_in_four_weeks():
    streams = replace(BudgetState.new(2).streams, waiting=np.array([28, 0], dtype=np.int32))
    state = replace(BudgetState.new(2), streams=streams)
    asking = candidates(2, level=[1.0, 1.9])
    assert order(state, asking, Budget(fits=1)) == [0, 1]
    assert order(state, replace(asking, level=np.array([1.0, 2.1])), Budget(fits=1)) == [1, 0]


def test_what_would_be_lost_goes_to_the_oldest_models():
    idle = candidates(10, asks=np.zeros(10), idle=np.arange(10) != 9, age=np.arange(10))
    state, budget, seen = BudgetState.new(10), Budget(fits=1, spend_rest=True), []
    for _ in range(12):
        made, state = granted(state, idle, budget)
        assert (made.rest == made.granted).all()
        assert (made.reason[made.rest] == Reason.MAX_AGE).all()
        seen.append(np.flatnonzero(made.granted).tolist())
    assert seen == [[]] * 7 + [[8]] * 5
    made, _ = granted(state, candidates(10), budget)
    assert made.granted.sum() == 8
    assert not made.rest.any()


def test_streams_that_ask_come_before_the_oldest():
    asks = np.arange(10) < 2
    asking = candidates(10, asks=asks, idle=np.ones(10), age=np.arange(10))
    made, _ = granted(BudgetState.new(10), asking, Budget(fits=3, spend_rest=True, carry_cycles=0))
    assert np.flatnonzero(made.granted).tolist() == [0, 1, 9]
    assert np.flatnonzero(made.rest).tolist() == [9]


def test_the_rest_is_ranked_by_evidence_and_age_where_all_is():
    idle = candidates(3, asks=np.zeros(3), idle=np.ones(3), age=[60, 30, 0], evidence=[0, 0, 6])
    for rank, first in (("expected_saving", 0), ("evidence_and_age", 2)):
        budget = Budget(fits=1, spend_rest=True, carry_cycles=0, rank=rank)
        made, _ = granted(BudgetState.new(3), idle, budget)
        assert np.flatnonzero(made.granted).tolist() == [first]


def test_without_a_limit_there_is_no_rest():
    idle = candidates(3, asks=np.zeros(3), idle=np.ones(3))
    made, _ = granted(BudgetState.new(3), idle, Budget(spend_rest=True))
    assert not made.granted.any()


def test_the_rest_keeps_to_the_seconds_too():
    state = trained(BudgetState.new(9), np.arange(9), np.full(9, 2.0))
    idle = candidates(9, asks=np.zeros(9), idle=np.ones(9), age=np.arange(9))
    budget = Budget(seconds=5, spend_rest=True, carry_cycles=0)
    made, state = granted(state, idle, budget)
    assert np.flatnonzero(made.granted).tolist() == [7, 8]
    assert state.spare_seconds == pytest.approx(1.0)


def test_seconds_are_shrunk_to_the_fleet_until_a_stream_has_its_own():
    state = BudgetState.new(3)
    assert seconds_expected(state).tolist() == [1.0, 1.0, 1.0]
    for _ in range(40):
        state = trained(state, np.array([0, 1]), np.array([9.0, 1.0]))
    expected = seconds_expected(state)
    assert expected[2] == pytest.approx(5.0)
    assert 8 < expected[0] < 9
    assert 1 < expected[1] < 2
    for _ in range(60):
        state = trained(state, np.array([0]), np.array([1.0]))
    assert seconds_expected(state)[0] < 2.0


def test_what_a_fit_took_beyond_expectation_is_taken_off():
    state = trained(BudgetState.new(2), np.arange(2), np.full(2, 2.0))
    _, state = granted(state, candidates(2), Budget(seconds=4))
    assert state.spare_seconds == pytest.approx(0.0)
    slow = trained(state, np.arange(2), np.full(2, 5.0), paid=True)
    assert slow.spare_seconds == pytest.approx(-6.0)
    made, _ = granted(slow, candidates(2), Budget(seconds=4))
    assert not made.granted.any()
    assert trained(state, np.arange(2), np.full(2, 5.0)).spare_seconds == 0.0
    assert trained(state, np.empty(0, np.int64), np.empty(0)) is state


def test_what_was_withheld_is_given_back():
    made, state = granted(BudgetState.new(4), candidates(4), Budget(fits=2))
    assert made.granted.sum() == 2
    state = refunded(state, np.flatnonzero(made.granted))
    made, _ = granted(state, candidates(4), Budget(fits=2))
    assert made.granted.sum() == 4


def test_streams_come_and_go():
    state = trained(BudgetState.new(3), np.array([1]), np.array([5.0]))
    state = state.joined(BudgetState.new(2))
    assert len(state) == 5
    made, part = granted(state.rows(np.array([1, 4])), candidates(2), Budget(fits=1))
    state = state.with_rows(np.array([1, 4]), part)
    assert state.streams.waiting.tolist() == [0, int(made.deferred[0]), 0, 0, 1]
    assert state.fleet_seconds == 5.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"fits": -1},
        {"fits": 1.5},
        {"fits": 0.0},
        {"fits": True},
        {"seconds": -1.0},
        {"seconds": float("nan")},
        {"rank": "alphabetic"},
        {"carry_cycles": -1},
        {"carry_cycles": None},
        {"carry_cycles": float("inf")},
    ],
)
def test_a_budget_out_of_range_is_a_clear_error(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Budget(**wrong)


def test_a_budget_says_whether_it_limits():
    assert not Budget().limited
    assert Budget(fits=3).limited
    assert Budget(seconds=3).limited
