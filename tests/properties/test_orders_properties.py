"""Orders at random, late rows, fits and restarts: what holds of them whatever happens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from order_worlds import (
    ON_BATCHES,
    REFUSED,
    World,
    asked_twice,
    changed,
    held,
    judged,
    odd_incidents,
    predicted,
    restarted_apart,
    steps,
    unproven,
)

FEW = settings(max_examples=2, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def world_of():
    """Lend worlds that are closed afterwards."""
    made = []

    def new(**settings):
        made.append(World(**settings))
        return made[-1]

    yield new
    for one in made:
        one.close()


@FEW
@given(st.lists(steps(), min_size=10, max_size=16))
def test_whatever_is_ordered_the_agent_keeps_its_promises(world_of, history):
    world = world_of()
    for step in history:
        before = {one.id for one in world.open_requests()}
        world.take(step)
        asked = [one for one in world.open_requests() if one.id not in before and not one.by]
        assert {one.unique_id for one in asked}.isdisjoint(held(world))
        assert not asked_twice(world)
        assert not odd_incidents(world)
        assert not restarted_apart(world)
    assert not unproven(world)


@FEW
@given(st.lists(steps(("day", "order", "late"), (*ON_BATCHES, "undo")), min_size=6, max_size=10))
def test_a_dry_run_tells_to_the_letter_what_an_order_does(world_of, history):
    world = world_of()
    for what, kind, one, other in history:
        if what != "order":
            world.take((what, kind, one, other))
            continue
        world.agent.tick()
        order = world.order(kind, one, other)
        said = None if order is None else predicted(world, order)
        if said is None:
            with pytest.raises((*REFUSED, AttributeError)):
                world.desk.carry_out(order, "user:ann")
            continue
        was, heads = judged(world), {one.cycle: one.revision for one in world.store.cycles()}
        world.desk.carry_out(order, "user:ann")
        world.agent.tick()
        told = changed(was, judged(world))
        assert {(one.unique_id, one.cycle, one.what) for one in said.changes} == told
        assert said.total == len(told)
        anew = [one.cycle for one in world.store.cycles() if one.revision != heads[one.cycle]]
        assert (len(anew), min(anew, default=None)) == (said.cycles, said.first)


@FEW
@given(st.lists(steps(("order",), ("event", "label", "overrule")), min_size=3, max_size=5))
def test_what_is_undone_leaves_the_very_same_evidence(world_of, orders):
    world = world_of()
    before, asked = world.evidence(), {one.id for one in world.open_requests()}
    given_ones = [world.give(kind, one, other) for _, kind, one, other in orders]
    world.agent.tick()
    for number in reversed([one for one in given_ones if one is not None]):
        world.desk.carry_out(world.undo(number), "user:bob")
        world.agent.tick()
    assert world.evidence() == before
    assert {one.id for one in world.open_requests()} == asked
    assert not unproven(world)


AT_ONCE = ("freeze", "pin", "policy", "fleet_policy", "budget", "plan", "retrain", "event", "label")


@FEW
@given(st.lists(steps(("day", "order", "fail"), AT_ONCE), min_size=5, max_size=8))
def test_what_is_undone_before_the_next_cycle_never_was(world_of, history):
    moved, calm = world_of(), world_of()
    for step in history:
        what, kind, one, other = step
        if what != "order":
            moved.take(step)
            calm.take(step)
            continue
        number = moved.give(kind, one, other)
        if number is not None:
            moved.desk.carry_out(moved.undo(number), "user:bob")
    for _ in range(2):
        moved.next_day()
        calm.next_day()
    assert moved.evidence() == calm.evidence()
    asked = [sorted(one.unique_id for one in world.open_requests()) for world in (moved, calm)]
    assert asked[0] == asked[1]
    assert not unproven(moved)
