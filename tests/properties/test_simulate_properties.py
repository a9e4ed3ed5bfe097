"""A simulated value depends on its stream and its slot, never on who else was asked for."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlma.library.simulate import simulate

BUSY = {
    "breaks": 1.0,
    "break_every": 20,
    "quiet_days": 2,
    "group_breaks": 0.5,
    "zero_inflated": 0.3,
}
WHOLE = simulate(600, 120, seed=5, **BUSY)
LOSSES = WHOLE.losses_batches(phi=(0.2, 0.7), tail=4.0, together=0.3, rises=0.8)

days = st.integers(0, 119)
parts = st.tuples(st.integers(0, 599), st.integers(1, 600)).map(lambda p: (p[0], min(600, sum(p))))


def same(one, two):
    return np.array_equal(one, two, equal_nan=True)


@settings(max_examples=15, deadline=None)
@given(day=days, part=parts)
def test_a_part_of_a_day_is_the_same_part_of_the_whole_day(day, part):
    whole, asked = WHOLE.batch(day), WHOLE.batch(day, *part)
    assert same(asked.y, whole.y[slice(*part)])
    assert same(asked.delay_seconds, whole.delay_seconds[slice(*part)])
    assert asked.ids == whole.ids[slice(*part)]
    assert same(LOSSES.batch(day, *part).losses, LOSSES.batch(day).losses[slice(*part)])


@settings(max_examples=15, deadline=None)
@given(day=days, streams=st.integers(1, 700), further=st.integers(1, 400))
def test_the_number_of_streams_and_days_changes_no_bit(day, streams, further):
    other = simulate(streams, day + further, seed=5, **BUSY)
    shared = min(streams, 600)
    assert same(other.batch(day, 0, shared).y, WHOLE.batch(day, 0, shared).y)
    again = other.losses_batches(LOSSES.settings).batch(day, 0, shared).losses
    assert same(again, LOSSES.batch(day, 0, shared).losses)


@settings(max_examples=10, deadline=None)
@given(size=st.integers(60, 700), first=st.integers(0, 118))
def test_parts_put_together_are_the_day_whatever_their_size(size, first):
    days = list(WHOLE.batches(first, first + 2, streams_per_batch=size))
    for day in (first, first + 1):
        pieces = [piece for piece in days if piece.day == day]
        assert same(np.concatenate([piece.y for piece in pieces]), WHOLE.batch(day).y)
        assert same(np.concatenate([piece.codes for piece in pieces]), np.arange(600))


@settings(max_examples=10, deadline=None)
@given(order=st.permutations([3, 41, 119]))
def test_the_order_in_which_days_are_asked_for_changes_nothing(order):
    fresh = simulate(600, 120, seed=5, **BUSY)
    for day in order:
        assert same(fresh.batch(day).y, WHOLE.batch(day).y)


@settings(max_examples=10, deadline=None)
@given(day=days, seed=st.integers(0, 2**63 - 1).filter(lambda seed: seed != 5))
def test_another_seed_gives_other_values(day, seed):
    assert not same(simulate(600, 120, seed=seed, **BUSY).batch(day).y, WHOLE.batch(day).y)


def test_streams_far_away_are_made_without_those_before_them():
    far = simulate(10_000_000, 400, seed=5, **BUSY)
    near = far.batch(399, 9_999_990)
    assert near.y.shape == (10, 24)
    assert near.ids[-1].startswith("area3333333-")


def test_the_truth_of_a_longer_horizon_begins_with_that_of_a_shorter_one():
    short, long = simulate(500, 60, seed=5, **BUSY).truth, simulate(500, 300, seed=5, **BUSY).truth
    early = long.filter(long["start"] < np.datetime64("2024-03-01", "us").item())
    assert early.equals(short)
