"""Orders that meet: with one another, with late rows, with fits that run, before the next cycle."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from live_agents import FIRST, START, on_day, push
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.errors import ConflictError
from mlma.domain.orders import (
    Declare,
    Freeze,
    LabelBatches,
    Overrule,
    Pin,
    Plan,
    Rejudge,
    Retrain,
    RollBack,
    SetBudget,
    SwitchPolicy,
    Undo,
    Unpin,
)
from mlma.domain.selectors import Selector
from mlma.domain.verdicts import Reason
from order_worlds import HISTORY, NAMES, World, unproven

BROKEN = NAMES[:3]
"""Streams that break; the agent asks for their re-trainings on the tenth day."""
SOUND = NAMES[5]


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


@pytest.fixture
def asking(world):
    """A world in which three re-trainings are asked for."""
    world.next_day()
    assert wanted(world) == set(BROKEN)
    return world


def wanted(world):
    return {one.unique_id for one in world.open_requests()}


def only(*names):
    return Selector(unique_ids=names)


def days(first, last):
    return {"begins": START + timedelta(days=first), "ends": START + timedelta(days=last)}


def give(world, order):
    return world.desk.carry_out(order, "user:ann")


def pending(world, name):
    memory = world.agent.memory
    return bool(memory.state.pending[memory.row[name]])


@pytest.mark.parametrize("hold", [Freeze, Pin])
def test_batches_that_are_judged_anew_ask_for_no_stream_that_is_held_from_the_next_cycle_on(
    asking, hold
):
    give(asking, hold(selector=only(BROKEN[0])))
    give(asking, Overrule(selector=only(SOUND), cycle=9, verdict="healthy"))
    give(asking, LabelBatches(selector=only(SOUND), **days(3, 4), label="one_off"))
    asking.agent.tick()
    assert asking.store.cycles()[-1].revision == 1
    assert wanted(asking) == set(BROKEN[1:])
    asking.next_day()
    assert wanted(asking) == set(BROKEN[1:])
    assert not unproven(asking)


def test_what_waits_for_its_budget_is_not_asked_for_in_a_muted_event(world):
    give(world, SetBudget(per_cycle=1))
    world.next_day()
    assert len(wanted(world)) == 1
    event = CalendarEvent("e", "Fair", "other", **days(10, 12), exclude=False)
    give(world, Declare(event=event))
    world.next_day()
    world.next_day()
    assert len(wanted(world)) == 1
    world.next_day()
    assert len(wanted(world)) == 2  # it is over


def test_a_cycle_that_is_judged_anew_keeps_to_its_budget(world):
    give(world, SetBudget(per_cycle=1))
    world.next_day()
    first = wanted(world)
    give(world, LabelBatches(selector=only(SOUND), **days(3, 4), label="one_off"))
    world.agent.tick()
    assert world.store.cycles()[-1].revision == 1
    assert wanted(world) == first
    world.next_day()
    assert len(wanted(world)) == 2


def test_a_freeze_that_is_undone_at_once_leaves_the_agent_asking(asking):
    number = give(asking, Freeze(selector=only(*BROKEN)))
    assert not wanted(asking)
    give(asking, Undo(action=number))
    asking.next_day()
    assert wanted(asking) == set(BROKEN)
    assert not unproven(asking)


def test_a_planned_retraining_that_is_undone_is_not_asked_for_once_more(world):
    give(world, Plan(selector=only(SOUND), at=world.clock.now() + timedelta(hours=1)))
    world.clock.time += timedelta(hours=2)
    world.agent.tick()
    assert wanted(world) == {SOUND}
    asked = world.desk.actions()[-1]
    assert asked.kind == "retrain"
    give(world, Undo(action=asked.number))
    world.agent.tick()
    world.next_day()
    assert SOUND not in wanted(world)
    assert not pending(world, SOUND)
    assert not unproven(world)


def test_two_agents_ask_once_for_what_is_planned(world):
    give(world, Plan(selector=only(SOUND), at=world.clock.now() + timedelta(hours=1)))
    other = world.another("two")
    other.heard.actions()
    world.clock.time += timedelta(hours=2)
    world.agent.tick()
    # It had looked before the first one asked, and believes still that it leads.
    other.heard._store = Deaf(world.store)
    with pytest.raises(ConflictError, match="Somebody was first"):
        other._planning.ask(world.clock.now(), other.memory, {}, None)
    assert [one.kind for one in world.desk.actions()] == ["plan", "retrain"]


class Deaf:
    """A registry that has nothing new to tell."""

    def __init__(self, store):
        self.store = store

    def actions(self, **asked):
        return []


def test_a_retraining_that_is_wanted_again_leaves_out_what_was_frozen_since(world):
    number = give(world, Retrain(selector=only(SOUND, NAMES[6])))
    back = give(world, Undo(action=number))
    assert not wanted(world)
    give(world, Freeze(selector=only(SOUND)))
    said = world.desk.rehearse(Undo(action=back), "user:ann")
    assert "1 is pinned or frozen" in said.sentence
    give(world, Undo(action=back))
    assert wanted(world) == {NAMES[6]}
    world.next_day()
    assert SOUND not in wanted(world)
    assert not pending(world, SOUND)
    assert not unproven(world)


def test_an_undo_takes_back_only_what_it_withdrew(world):
    one, other = SOUND, NAMES[6]
    number = give(world, Retrain(selector=only(one, other)))
    asked = {r.unique_id: r.id for r in world.open_requests()}
    world.agent.deployed([one], requests=[asked[one]])
    world.next_day()
    give(world, Overrule(selector=only(one), cycle=10, verdict="degraded"))
    world.agent.tick()
    assert pending(world, one)  # asked for by the agent itself, after the one by hand was done
    give(world, Undo(action=number))
    world.next_day()
    assert pending(world, one)
    assert not pending(world, other)
    assert {one, other} & wanted(world) == {one}
    assert not unproven(world)


def test_of_a_way_back_that_is_half_done_the_other_half_is_wanted_no_more(world):
    one, other = SOUND, NAMES[6]
    world.agent.deployed([one, other])
    world.next_day()
    number = give(world, RollBack(selector=only(one, other)))
    asked = {r.unique_id: r.id for r in world.open_requests() if r.kind == "restore"}
    world.agent.deployed([one], requests=[asked[one]])
    world.next_day()
    give(world, Undo(action=number))
    world.next_day()
    assert {r.unique_id: r.kind for r in world.open_requests() if r.unique_id in asked} == {
        one: "restore"
    }
    assert not pending(world, other)
    assert not unproven(world)


def test_a_stream_that_joins_under_another_policy_of_the_fleet_is_proven(world):
    text = "mlma(level=0.01, pool=1, max_age=20, review_age=10, min_reference_batches=5)"
    give(world, SwitchPolicy(selector=Selector(), everything=True, policy=text))
    world.newcomers = 1
    world.next_day()
    assert "a new 0" in world.agent.streams
    assert not unproven(world)
    row = world.agent.memory.row["a new 0"]
    assert 0 < world.agent.memory.state.oldest[row] <= 20
    world.agent.surrender()
    world.agent = world.another("two")
    world.next_day()
    assert not unproven(world)


class Crowded:
    """A store in which a stream joins, and is ordered, after the rows of a cycle were read."""

    def __init__(self, store, then):
        self.store, self.then = store, then

    def __getattr__(self, name):
        return getattr(self.store, name)

    def actions(self, **asked):
        if asked == {"pending": True} and self.then is not None:
            then, self.then = self.then, None
            then()
        return self.store.actions(**asked)


def test_an_order_on_a_stream_that_joined_in_the_middle_of_a_cycle_is_proven(world):
    def joins():
        world.store.register(["a late one"])
        give(world, Retrain(selector=only("a late one")))

    world.agent._store = Crowded(world.store, joins)
    world.next_day()
    assert world.agent._store.then is None
    assert pending(world, "a late one")
    assert wanted(world) == {*BROKEN, "a late one"}
    assert not unproven(world)


def without(frame, name, *gone):
    """Return rows without those of a stream on some days."""
    day = (pl.col("ds") - pl.lit(START.replace(tzinfo=None))).dt.total_days()
    return frame.filter(~((pl.col("unique_id") == name) & day.is_in(gone)))


def counts(world, name):
    """Return how many batches are in the reference of a stream."""
    memory = world.agent.memory
    return float(memory.state.reference.moments.count()[memory.row[name]])


def test_a_real_shift_begins_with_the_first_batch_that_there_is(world):
    name = BROKEN[0]
    for day in (9, 10, 11, 12, 13):
        push(world.store, on_day(without(HISTORY, name, 10, 11), day))
        world.day = day + 1
        world.clock.day(world.day, 7)
        world.agent.tick()
    give(world, LabelBatches(selector=only(name), **days(10, 14), label="real_shift"))
    world.agent.tick()
    assert counts(world, name) == 2  # of the days 12 and 13
    assert not unproven(world)


def test_a_real_shift_whose_first_batch_was_broken_begins_with_the_next(world):
    name = BROKEN[0]
    for _ in range(5):
        world.next_day()
    give(world, LabelBatches(selector=only(name), **days(10, 14), label="real_shift"))
    give(world, LabelBatches(selector=only(name), **days(10, 11), label="broken"))
    world.agent.tick()
    assert counts(world, name) == 3
    row = world.agent.memory.row[name]
    _, records = world.store.history(row, first=11, last=12)
    assert records["reason"].tolist() == [Reason.EXCLUDED, Reason.UNCLEAR]
    (asked,) = [one for one in world.open_requests() if one.unique_id == name]
    assert asked.train_from == START + timedelta(days=11)
    assert asked.exclude == ((START + timedelta(days=10), START + timedelta(days=11)),)
    assert not unproven(world)


def test_a_cycle_whose_rows_are_forgotten_before_it_is_opened_again_stays_as_it_was(world):
    before = world.evidence()
    give(world, Rejudge(cycle=4))
    world.store.forget(FIRST + 9)
    made = world.agent.tick()
    assert [one.cycle for one in made] == [4, 5, 6, 7, 8, 9]
    assert world.evidence() == before
    assert not unproven(world)


def test_a_pin_that_ends_lets_the_agent_ask_again(asking):
    give(asking, Pin(selector=only(*BROKEN)))
    asking.next_day()
    give(asking, Unpin(selector=only(*BROKEN)))
    for _ in range(12):
        asking.next_day()
    assert wanted(asking) & set(BROKEN)
    assert np.isfinite(counts(asking, BROKEN[0]))


def test_a_request_that_nobody_has_claimed_takes_the_labels_that_come_after_it(asking):
    claimed = asking.store.claim(1)[0].request.unique_id
    label = LabelBatches(selector=only(*BROKEN), **days(3, 4), label="broken")
    number = give(asking, label)
    before = {one.unique_id: one.id for one in asking.open_requests()}
    asking.agent.tick()
    span = ((label.begins, label.ends),)
    for one in asking.open_requests():
        assert one.id == before[one.unique_id]
        assert one.exclude == (() if one.unique_id == claimed else span)  # it is being trained on
    give(asking, Undo(action=number))
    asking.agent.tick()
    assert {one.exclude for one in asking.open_requests()} == {()}


def test_an_event_that_is_moved_into_the_past_before_it_began_is_where_it_was_moved_to(world):
    ahead = CalendarEvent("e", "Fair", "other", **days(20, 21))
    give(world, Declare(event=ahead))
    give(world, Declare(event=CalendarEvent("e", "Fair", "other", **days(6, 8))))
    assert {one.revision for one in world.agent.tick()} == {1}
    assert world.agent.tick() == []  # the first word on it is overruled
    row = world.agent.memory.row[SOUND]
    _, records = world.store.history(row, first=6, last=9)
    assert records["excluded"].tolist() == [0, 1, 1, 0]
    world.next_day()
    assert not unproven(world)
