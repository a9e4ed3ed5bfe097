"""What must hold of a budget whatever asks for it."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from candidates import candidates
from mlma.domain.budgets import Budget, BudgetState
from mlma.steps.budget import granted, seconds_expected, trained

quick = settings(max_examples=60, deadline=None)
fits = st.none() | st.integers(0, 4) | st.sampled_from([0.01, 0.07, 0.25, 0.5])
budgets = st.builds(
    Budget,
    fits=fits,
    seconds=st.none() | st.sampled_from([0, 0.3, 2.0, 7.0]),
    rank=st.sampled_from(["expected_saving", "evidence_and_age"]),
    spend_rest=st.booleans(),
    carry_cycles=st.sampled_from([0, 1, 7]),
)
seeds = st.integers(0, 2**32 - 1)
N, CYCLES = 12, 25


def drawn(rng):
    """Draw a cycle of streams that ask, heal and stand idle; some values are equal or unknown."""
    asks = rng.random(N) < 0.3
    return candidates(
        N,
        age=rng.integers(0, 4, N),
        key=rng.permutation(N),
        asks=asks,
        healed=rng.random(N) < 0.1,
        idle=~asks & (rng.random(N) < 0.7),
        gain=rng.choice([np.nan, -0.1, 0.1, 0.2, 0.4], N),
        level=rng.choice([0.0, 1.0, 100.0, np.nan], N),
        evidence=rng.choice([np.nan, 0.0, 5.0], N),
    )


def trained_streams(rng):
    return trained(BudgetState.new(N), np.arange(N), rng.choice([0.0, 0.5, 1.0, 4.0], N))


@quick
@given(budgets, seeds)
def test_no_horizon_spends_more_than_it_was_given_and_what_was_carried(budget, seed):
    rng = np.random.default_rng(seed)
    state = trained_streams(rng)
    cost = seconds_expected(state)
    counts, spent = [], []
    for _ in range(CYCLES):
        made, state = granted(state, drawn(rng), budget)
        counts.append(made.granted.sum())
        spent.append(cost[made.granted].sum())
    for start in range(CYCLES):
        for end in range(start + 1, CYCLES + 1):
            cycles = end - start + budget.carry_cycles
            assert sum(counts[start:end]) <= budget.fits_per_cycle(N) * cycles + 1 + 1e-6
            most = budget.seconds_per_cycle() * cycles + cost.max()
            assert sum(spent[start:end]) <= most + 1e-6


@quick
@given(budgets, seeds)
def test_permuting_the_streams_permutes_the_answers(budget, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(N)
    state = trained_streams(rng)
    mixed = state.rows(order)
    for _ in range(CYCLES):
        asking = drawn(rng)
        made, state = granted(state, asking, budget)
        other, mixed = granted(mixed, asking.rows(order), budget)
        for name, column in made.flat().items():
            np.testing.assert_array_equal(column[order], other.flat()[name])
        for name, column in state.streams.flat().items():
            np.testing.assert_array_equal(column[order], mixed.streams.flat()[name])
        assert (state.spare_fits, state.spare_seconds) == (mixed.spare_fits, mixed.spare_seconds)


@quick
@given(budgets, seeds)
def test_whoever_asks_is_granted_or_deferred_until_it_stops(budget, seed):
    rng = np.random.default_rng(seed)
    state, open_before = trained_streams(rng), np.zeros(N, dtype=bool)
    for _ in range(CYCLES):
        asking = drawn(rng)
        made, state = granted(state, asking, budget)
        still = asking.asks | (open_before & ~asking.healed)
        assert ((made.granted & ~made.rest) | made.deferred)[still].all()
        assert not (made.granted & made.deferred).any()
        assert (made.stopped == (open_before & ~still)).all()
        assert not made.rest[~asking.idle | still].any()
        open_before = made.deferred
        assert ((state.streams.waiting > 0) == open_before).all()


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_everyone_who_keeps_asking_is_served(seed):
    rng = np.random.default_rng(seed)
    state, budget, served = BudgetState.new(N), Budget(fits=1), np.zeros(N, dtype=bool)
    for _ in range(400):
        asking = replace(drawn(rng), asks=~served | (rng.random(N) < 0.05))
        asking = replace(asking, level=np.ones(N))
        made, state = granted(state, asking, budget)
        served |= made.granted
    assert served.all()
