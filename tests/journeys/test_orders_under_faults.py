"""Orders while things go wrong: writes that fail, processes that are killed, leases that move."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from live_agents import START
from mlma.adapters.store import actions as acting
from mlma.adapters.store import commits
from mlma.agent.live import LiveAgent  # noqa: F401  # processes that are killed read it
from mlma.domain.errors import ConflictError, DataError
from mlma.domain.orders import Freeze, LabelBatches, Retrain, RollBack, Undo
from mlma.domain.selectors import Selector
from order_worlds import (
    NAMES,
    World,
    asked_twice,
    predicted,
    restarted_apart,
    unproven,
)
from stores import SHARED, place_of

DAY = 11
SOME = Selector(unique_ids=tuple(NAMES[:3]))
OTHER = Selector(unique_ids=(NAMES[6],))
BROKEN = LabelBatches(
    selector=SOME,
    begins=START + timedelta(days=7),
    ends=START + timedelta(days=12),
    label="broken",
)


@pytest.fixture(params=SHARED)
def place(request, tmp_path):
    with place_of(request.param, tmp_path) as made:
        yield made


def told(world):
    """Return all that a store says, but for times and numbers of what was tried in vain."""
    asked = world.store.requests()
    return (
        world.evidence(),
        sorted((one.request.id, one.status) for _, one in asked),
        [(one.cycle, one.revision, one.closed) for one in world.store.cycles(revisions=True)],
        [(one.number, one.kind, one.cycle) for one in world.store.actions()],
        sorted((one.id, one.state, one.cause) for one in world.store.incidents()),
        {name: column.tobytes() for name, column in world.store.snapshot().columns.items()},
    )


def ordered(world):
    """Play some days, and give orders that nobody has carried out yet."""
    for _ in range(2):
        world.next_day()
    world.desk.carry_out(BROKEN, "user:ann")
    world.desk.carry_out(Retrain(selector=OTHER), "user:ann")
    return world


@pytest.fixture(scope="module")
def calm():
    """What comes of the orders where nothing goes wrong."""
    world = ordered(World())
    assert world.agent.tick()
    judged = told(world)
    world.next_day()
    yield judged, told(world)
    world.close()


def fails(*_):
    raise OSError("the disk is gone")


@pytest.mark.parametrize("at", ["apply", "write_snapshot", "withdraw", "ask", "post_events"])
def test_a_commit_that_fails_leaves_nothing_and_is_made_again(place, calm, monkeypatch, at):
    world = ordered(World(store=place.open()))
    before = told(world)
    with monkeypatch.context() as broken:
        broken.setattr(commits, at, fails)
        with pytest.raises(OSError, match="disk"):
            world.agent.tick()
    assert told(world) == before
    world.agent.tick()
    assert told(world) == calm[0]
    world.next_day()
    assert told(world) == calm[1]
    assert not restarted_apart(world)
    assert not unproven(world)


@pytest.mark.parametrize("at", ["withdraw", "ask", "post_events"])
def test_an_order_is_recorded_with_all_that_comes_of_it_or_not_at_all(place, monkeypatch, at):
    world = World(store=place.open())
    world.next_day()
    before = told(world)
    with monkeypatch.context() as broken:
        broken.setattr(acting, at, fails)
        for order in (Retrain(selector=OTHER), Freeze(selector=SOME)):
            with pytest.raises(OSError, match="disk"):
                world.desk.carry_out(order, "user:ann")
    assert told(world) == before
    world.desk.carry_out(Freeze(selector=SOME), "user:ann")
    assert not world.open_requests()


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from order_worlds import World
from stores import open_store
from test_orders_under_faults import *

def stops(*_):
    print("here", flush=True)
    time.sleep(600)

world = World(store=open_store({url!r}), day={day})
setattr({where}, {at!r}, stops)
{work}
"""
"""A process that stops in the middle of something."""
JUDGES = "world.agent.tick()"
ORDERS = 'world.desk.carry_out(Retrain(selector=OTHER), "user:ann")'


def killed(place, work, where, at, day=DAY):
    """Kill a process as it calls a function; return whether it did."""
    here = Path(__file__).resolve().parent
    text = KILLED.format(
        tests=str(here.parent), url=place.url, day=day, where=where, at=at, work=work
    )
    made = subprocess.Popen(
        [sys.executable, "-c", text], cwd=here, stdout=subprocess.PIPE, text=True
    )
    with made:
        reached = made.stdout.readline()
        made.kill()
    return reached == "here\n"


@pytest.mark.parametrize("at", ["_write_entry", "post_events"])
def test_an_agent_that_is_killed_while_it_judges_anew_does_it_again(place, calm, at):
    ordered(World(store=place.open()))
    assert killed(place, JUDGES, "commits", at)
    world = World(store=place.open(), day=DAY)
    assert world.agent.tick()
    assert told(world) == calm[0]
    world.next_day()
    assert told(world) == calm[1]


def test_an_agent_that_is_killed_right_after_its_commit_does_it_once(place, calm):
    ordered(World(store=place.open()))
    assert killed(place, JUDGES, "LiveAgent", "_took")
    world = World(store=place.open(), day=DAY)
    assert world.agent.tick() == []
    assert told(world) == calm[0]


def test_an_order_that_is_killed_in_the_middle_was_never_given(place):
    world = World(store=place.open())
    world.next_day()
    before = told(world)
    assert killed(place, ORDERS, "acting", "post_events", day=world.day)
    assert told(world) == before
    world.desk.carry_out(Retrain(selector=OTHER), "user:ann")
    assert NAMES[6] in {one.unique_id for one in world.open_requests()}


def test_orders_at_one_instance_are_carried_out_by_the_other(place, calm):
    leads = World(store=place.open())
    waits = World(store=place.open(), day=leads.day, holder="two")
    assert waits.agent.tick() == []
    for _ in range(2):
        leads.next_day()
    waits.clock.time = leads.clock.time
    waits.desk.carry_out(BROKEN, "user:ann")
    leads.agent.surrender()  # before it has looked
    waits.desk.carry_out(Retrain(selector=OTHER), "user:ann")
    assert waits.agent.tick()
    assert told(waits) == calm[0]
    assert leads.agent.tick() == []
    number = waits.desk.actions()[0].number
    leads.desk.carry_out(Undo(action=number), "user:bob")
    waits.agent.surrender()
    (first, *_) = leads.agent.tick()  # it has to know what the other one did
    assert (first.cycle, first.revision) == (8, 2)
    assert not restarted_apart(leads)
    assert not unproven(leads)
    waits.agent.surrender()
    assert waits.agent.tick() == []


def test_who_lost_the_lease_while_it_judged_anew_writes_nothing(place, calm):
    slow = ordered(World(store=place.open()))
    quick = World(store=place.open(), day=slow.day, holder="two")
    commit = slow.store.commit

    class Slow:
        def __getattr__(self, name):
            return getattr(slow.store, name)

        def commit(self, *args, **more):
            slow.store.surrender(args[1])
            assert quick.agent.tick()
            commit(*args, **more)

    slow.agent._store = Slow()
    with pytest.raises(ConflictError):
        slow.agent.tick()
    assert told(quick) == calm[0]
    slow.agent._store = slow.store
    assert slow.agent.tick() == []
    quick.agent.surrender()
    slow.next_day()
    assert told(slow) == calm[1]
    assert not restarted_apart(slow)


def test_two_engineers_ask_for_one_retraining_at_two_instances_once(place):
    one = World(store=place.open())
    other = World(store=place.open(), day=one.day, holder="two")
    for world in (one, other):
        world.desk.rehearse(Retrain(selector=OTHER), "user:ann")
    one.desk.carry_out(Retrain(selector=OTHER), "user:ann")
    with pytest.raises(DataError, match="asked for already"):
        other.desk.carry_out(Retrain(selector=OTHER), "user:bob")
    assert not asked_twice(one)


# What is left of a store that was pruned.


def aged(store, *, prunes):
    world = World(store=store)
    for at in range(10):
        world.next_day()
        if at % 3 == 0:
            label = LabelBatches(
                selector=SOME,
                begins=START + timedelta(days=at),
                ends=START + timedelta(days=at + 2),
                label=("one_off", "broken")[at % 2],
            )
            world.desk.carry_out(label, "user:ann")
            world.agent.tick()
        if at == 5:
            asked = [one.unique_id for one in world.open_requests()]
            world.agent.deployed([*asked, NAMES[6]])
    if prunes:
        newest = world.store.cycles()[-1].cycle
        world.store.prune(snapshots_before=newest, superseded_before=newest + 1)
        world.store.forget(10**9)
    return world


def test_orders_on_batches_of_before_the_oldest_snapshot_come_out_as_if_all_were_there(tmp_path):
    with place_of("sqlite", tmp_path) as place:
        whole = aged(None, prunes=False)
        pruned = aged(place.open(), prunes=True)
        assert len(pruned.store.cycles(revisions=True)) == len(pruned.store.cycles())
        assert not unproven(pruned)
        early = LabelBatches(
            selector=OTHER,
            begins=START + timedelta(days=1),
            ends=START + timedelta(days=2),
            label="broken",
        )
        for order in (early, RollBack(selector=OTHER), Undo(action=whole.desk.actions()[2].number)):
            if isinstance(order, LabelBatches):
                assert predicted(whole, order) == predicted(pruned, order)
            assert whole.desk.carry_out(order, "user:ann") == pruned.desk.carry_out(
                order, "user:ann"
            )
            for world in (whole, pruned):
                world.agent.tick()
            assert whole.evidence() == pruned.evidence()
        for world in (whole, pruned):
            world.agent.deployed([NAMES[6]])
            world.next_day()
        assert whole.evidence() == pruned.evidence()
        assert not unproven(pruned)
        assert not restarted_apart(pruned)
        whole.close()
