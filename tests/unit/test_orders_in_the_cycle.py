"""What engineers order and say, as the cycle of the live agent sees it."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from live_agents import START, fleet, live_agent, on_day, push
from mlma.agent.asking import requests_by_hand
from mlma.agent.formers import former_payload
from mlma.agent.rehearsing import rehearsed
from mlma.agent.verification import verified
from mlma.agent.versions import former_versions, version_spans
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.errors import DataError
from mlma.domain.ledger import Action
from mlma.domain.orders import (
    CancelEvent,
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
    Unfreeze,
)
from mlma.domain.selectors import Selector
from mlma.domain.verdicts import Reason, Verdict

EVERY = Selector()
BROKEN = ("shop 00", "shop 01", "shop 02")


class Town:
    """A small fleet whose first three streams break on day 18."""

    def __init__(self, days=30, **others):
        settings = {name: others.pop(name) for name in ("policy",) if name in others}
        self.frame = fleet(days, **others)
        self.agent, self.store, self.clock = live_agent(**settings)
        self.day = 0

    def play(self, until):
        for day in range(self.day, until):
            push(self.store, on_day(self.frame, day))
            self.clock.day(day + 1)
            self.agent.tick()
        self.day = until
        return self

    def order(self, order, names=(), **more):
        payload = {"order": order.payload(), "unique_ids": list(names), **more}
        return self.store.act([Action(order.kind, payload, self.clock.now(), "user:ann", "why")])

    def said(self, name, cycle=None):
        """Return verdict, decision and reason of a stream in its newest or another cycle."""
        row = self.store.streams().index(name)
        cycles, records = self.store.history(row)
        at = -1 if cycle is None else int(np.flatnonzero(cycles == cycle)[0])
        return int(records["verdict"][at]), int(records["decision"][at]), int(records["reason"][at])

    def decided(self, decision):
        made = self.store.decided(decisions=[decision])
        newest = {info.cycle: info.revision for info in self.store.cycles()}
        names = self.store.streams()
        return {
            (names[one.stream], one.cycle, one.reason)
            for _, one in made
            if one.revision == newest[one.cycle]
        }

    def open_requests(self):
        asked = self.store.requests(status=("open", "claimed"))
        return {one.request.unique_id: one.request for _, one in asked}

    def proven(self):
        return all(one.holds for one in verified(self.store, self.agent.settings))


@pytest.fixture
def town():
    made = Town()
    yield made
    made.store.close()


def days(first, last):
    return {"begins": START + timedelta(days=first), "ends": START + timedelta(days=last)}


def test_a_frozen_stream_is_held_and_says_so(town):
    town.play(17)
    town.order(Freeze(selector=EVERY, everything=True), BROKEN[:2])
    town.play(30)
    held = {name for name, _, reason in town.decided("hold") if reason == Reason.FROZEN.label}
    assert held == set(BROKEN[:2])
    assert set(town.open_requests()) == {BROKEN[2]}
    assert town.proven()


def test_an_unfrozen_stream_may_ask_again(town):
    town.play(17)
    town.order(Freeze(selector=EVERY), BROKEN)
    town.play(25)
    assert not town.open_requests()
    town.order(Unfreeze(selector=EVERY), BROKEN)
    town.play(30)
    assert set(town.open_requests()) == set(BROKEN)
    assert town.proven()


def test_a_freeze_that_is_undone_was_in_force_until_then(town):
    town.play(17)
    number = town.order(Freeze(selector=EVERY), BROKEN)
    town.play(25)
    assert not town.open_requests()
    town.order(Undo(action=number))
    town.play(30)
    assert set(town.open_requests()) == set(BROKEN)
    assert {cycle for _, cycle, _ in town.decided("hold")}
    assert town.proven()


def test_a_freeze_ends_at_its_time(town):
    town.play(17)
    town.order(Freeze(selector=EVERY, until=START + timedelta(days=24)), BROKEN)
    town.play(30)
    assert set(town.open_requests()) == set(BROKEN)


def test_a_pinned_version_is_not_retrained(town):
    town.play(17)
    town.order(Pin(selector=EVERY), BROKEN)
    town.play(30)
    assert not town.open_requests()
    assert {reason for _, _, reason in town.decided("hold")} == {Reason.PINNED.label}


def test_a_budget_makes_requests_wait_worst_first(town):
    town.play(10)
    town.order(SetBudget(per_cycle=1))
    asked = []
    for day in range(11, 31):
        town.play(day)
        asked.append(set(town.open_requests()))
    assert all(len(later - before) <= 1 for before, later in pairwise(asked))
    assert asked[-1] == set(BROKEN)
    assert town.proven()


def test_a_policy_of_some_streams_decides_for_them_only(town):
    town.play(10)
    town.order(SwitchPolicy(selector=Selector(search="shop 00"), policy="never"), [BROKEN[0]])
    scheduled = "periodic(every=3, phase=1)"
    town.order(SwitchPolicy(selector=Selector(search="shop 05"), policy=scheduled), ["shop 05"])
    town.play(30)
    assert set(town.open_requests()) == {*BROKEN[1:], "shop 05"}
    assert town.open_requests()["shop 05"].reason == Reason.SCHEDULE.label
    assert town.proven()


def test_the_policy_of_the_fleet_is_switched_and_written_down(town):
    town.play(10)
    town.order(SwitchPolicy(selector=EVERY, everything=True, policy="never"))
    town.play(30)
    assert not town.open_requests()
    texts = [info.policy for info in town.store.cycles()]
    assert texts[9].startswith("mlma(")
    assert set(texts[10:]) == {"never"}
    assert town.proven()


def test_a_muted_event_holds_and_an_excluded_one_counts_for_nothing(town):
    town.play(12)
    event = CalendarEvent("e1", "Fair", "holiday", **days(18, 25), selector=Selector(search="0"))
    town.order(Declare(event=event))
    town.play(25)
    assert town.said(BROKEN[0])[2] == Reason.EXCLUDED
    assert not town.open_requests()
    town.play(30)
    assert set(town.open_requests()) == set(BROKEN)
    assert town.open_requests()[BROKEN[0]].exclude == ((event.begins, event.ends),)
    assert town.proven()


def test_an_event_that_is_declared_afterwards_judges_what_followed_anew(town):
    town.play(24)
    assert town.open_requests()
    event = CalendarEvent("e1", "Outage", "outage", **days(18, 24))
    number = town.order(Declare(event=event))
    (first, *_) = town.agent.tick()
    assert first.cycle == 19
    assert first.revision == 1
    assert not town.open_requests()
    assert town.proven()
    town.order(Undo(action=number))
    town.agent.tick()
    assert town.open_requests()
    assert town.store.cycles()[-1].revision == 2
    assert town.proven()


def test_an_event_is_shortened_and_cancelled(town):
    town.play(24)
    town.order(Declare(event=CalendarEvent("e1", "Outage", "outage", **days(18, 24))))
    town.agent.tick()
    shorter = CalendarEvent("e1", "Outage", "outage", **days(18, 19))
    town.order(Declare(event=shorter))
    town.agent.tick()
    assert town.said(BROKEN[0], 19)[2] == Reason.EXCLUDED
    assert town.said(BROKEN[0], 21)[2] != Reason.EXCLUDED
    town.order(CancelEvent(event="e1"))
    town.agent.tick()
    assert town.said(BROKEN[0], 19)[2] != Reason.EXCLUDED
    assert town.proven()


def test_a_label_takes_batches_out_and_judges_what_followed_anew(town):
    town.play(24)
    before = {one: town.said("shop 05", one) for one in range(1, 25)}
    town.order(LabelBatches(selector=EVERY, **days(18, 24), label="broken"), BROKEN)
    town.agent.tick()
    assert {town.said(name, 20)[2] for name in BROKEN} == {Reason.EXCLUDED}
    assert not town.open_requests()
    assert {one: town.said("shop 05", one) for one in before} == before
    assert town.proven()


def test_broken_batches_leave_the_loss_of_the_fleet(town):
    town.play(24)
    was = town.store.cycles()[-1].summary["fleet"]
    town.order(LabelBatches(selector=EVERY, **days(18, 24), label="broken"), BROKEN)
    town.agent.tick()
    now = town.store.cycles()[-1].summary["fleet"]
    assert now["streams"] == was["streams"] - 3
    assert now["loss"] < was["loss"]


def test_a_real_shift_starts_the_reference_anew(town):
    town.play(24)
    town.order(LabelBatches(selector=EVERY, **days(18, 24), label="real_shift"), BROKEN)
    town.agent.tick()
    assert not town.open_requests()
    assert town.said(BROKEN[0], 19)[2] == Reason.UNCLEAR
    town.play(30)
    assert not town.open_requests()
    assert town.proven()


def test_a_label_can_be_taken_off_again(town):
    town.play(24)
    calm = {one: town.said(BROKEN[0], one) for one in range(1, 25)}
    town.order(LabelBatches(selector=EVERY, **days(18, 24), label="one_off"), BROKEN)
    town.agent.tick()
    town.order(LabelBatches(selector=EVERY, **days(18, 24), label="none"), BROKEN)
    town.agent.tick()
    assert {one: town.said(BROKEN[0], one) for one in calm} == calm
    assert town.proven()


def test_an_overruled_alarm_is_healthy_and_asks_for_nothing(town):
    town.play(24)
    alarms = {(name, cycle) for name, cycle, _ in town.decided("retrain")}
    name, cycle = min(alarms)
    town.order(Overrule(selector=EVERY, cycle=cycle, verdict="healthy"), [name])
    town.agent.tick()
    assert town.said(name, cycle)[:2] == (2, 0)
    assert (name, cycle) not in {(one, at) for one, at, _ in town.decided("retrain")}
    assert town.proven()


def test_an_overruled_healthy_batch_raises_an_alarm(town):
    town.play(24)
    town.order(Overrule(selector=EVERY, cycle=23, verdict="degraded"), ["shop 07"])
    town.agent.tick()
    assert town.said("shop 07", 23)[:2] == (3, 1)
    assert "shop 07" in town.open_requests()
    assert town.proven()


def test_a_batch_is_judged_again_from_the_rows_that_are_there(town):
    town.play(24)
    town.order(Rejudge(cycle=20))
    (first, *_) = town.agent.tick()
    assert (first.cycle, first.revision) == (20, 1)
    assert not town.agent.tick()
    assert town.proven()


def test_a_retraining_by_hand_is_asked_at_once_and_stands_until_it_is_answered(town):
    town.play(12)
    names = ["shop 06"]
    requests = requests_by_hand(names, town.agent.memory, at=town.clock.now(), by="user:ann")
    order = Retrain(selector=Selector(unique_ids=("shop 06",)))
    payload = {
        "order": order.payload(),
        "unique_ids": names,
        "requests": {one.unique_id: one.id for one in requests},
    }
    action = Action("retrain", payload, town.clock.now(), "user:ann")
    town.store.act([action], requested=requests)
    assert set(town.open_requests()) == {"shop 06"}
    town.play(14)
    assert set(town.open_requests()) == {"shop 06"}
    town.agent.deployed(names)
    town.play(15)
    assert not town.open_requests()
    row = town.agent.memory.row["shop 06"]
    assert town.agent.memory.state.version[row] == 2
    assert town.proven()


def test_a_retraining_by_hand_that_is_undone_is_not_wanted_any_more(town):
    town.play(12)
    requests = requests_by_hand(["shop 06"], town.agent.memory, at=town.clock.now(), by="user:ann")
    asked = {one.unique_id: one.id for one in requests}
    payload = {"order": Retrain(selector=EVERY).payload(), "unique_ids": ["shop 06"]}
    action = Action("retrain", {**payload, "requests": asked}, town.clock.now(), "user:ann")
    number = town.store.act([action], requested=requests)
    town.play(13)
    undo = {"order": Undo(action=number).payload(), "withdrawn": list(asked.values())}
    town.store.act(
        [Action("undo", undo, town.clock.now(), "user:ann")], withdrawn=list(asked.values())
    )
    town.play(14)
    assert not town.open_requests()
    assert town.proven()


def test_a_plan_asks_when_its_time_has_come_and_once(town):
    town.play(10)
    town.order(Freeze(selector=EVERY), ["shop 07"])
    town.order(Plan(selector=EVERY, at=START + timedelta(days=14)), ["shop 06", "shop 07"])
    town.play(13)
    assert not town.open_requests()
    town.play(14)
    assert {name: one.by for name, one in town.open_requests().items()} == {"shop 06": "user:ann"}
    town.agent.deployed(["shop 06"])
    town.play(17)
    assert not town.open_requests()
    assert town.agent.heard.standing().plans
    assert town.proven()


def rolled_back(town, names, version=None):
    """Order a roll-back as the service does, and return the number of the action."""
    found = former_versions(town.store, town.agent.settings, dict.fromkeys(names, version))
    requests = requests_by_hand(names, town.agent.memory, at=town.clock.now(), by="user:ann")
    payload = {
        "order": RollBack(selector=EVERY, version=version).payload(),
        "unique_ids": list(names),
        "requests": {one.unique_id: one.id for one in requests},
        "former": former_payload(found.names, found.former),
    }
    action = Action("roll_back", payload, town.clock.now(), "user:ann")
    number = town.store.act([action], requested=requests)
    return number, found, requests


def test_model_and_reference_go_back_together_when_the_trainer_has_done_it(town):
    town.play(14)
    names = ["shop 05", "shop 06"]
    state = town.agent.memory.state
    level = state.reference.moments.level()[town.agent.memory.at(names)]
    town.agent.deployed(names, artefacts={"shop 05": "second"}, by="trainer")
    town.play(17)
    fresh = town.agent.memory.state.reference.moments.level()[town.agent.memory.at(names)]
    assert not np.allclose(fresh, level)
    _, found, requests = rolled_back(town, names)
    assert found.version.tolist() == [1, 1]
    town.play(18)
    at = town.agent.memory.at(names)
    assert town.agent.memory.state.version[at].tolist() == [2, 2]  # nobody has answered yet
    town.agent.deployed(names, requests=[one.id for one in requests])
    town.play(19)
    state = town.agent.memory.state
    assert state.version[at].tolist() == [3, 3]
    assert np.abs(state.reference.moments.level()[at] - level).max() < 0.05
    assert not state.pending[at].any()
    spans = version_spans(town.store, "shop 05", town.agent.memory.row["shop 05"])
    assert [(one.version, one.restores, one.artefact) for one in spans] == [
        (1, False, ""),
        (2, False, "second"),
        (3, True, ""),
    ]
    assert town.proven()


def test_a_version_that_never_was_cannot_come_back(town):
    town.play(10)
    with pytest.raises(DataError, match="have had one version only: shop 05"):
        former_versions(town.store, town.agent.settings, {"shop 05": None})
    with pytest.raises(DataError, match="never had the version"):
        former_versions(town.store, town.agent.settings, {"shop 05": 7})
    with pytest.raises(DataError, match="is live already"):
        former_versions(town.store, town.agent.settings, {"shop 05": 1})
    with pytest.raises(DataError, match="are not known"):
        former_versions(town.store, town.agent.settings, {"nobody": 1})


def sale(frame, *first_days):
    """Return a fleet whose losses are three times as high for two days from these on."""
    day = (pl.col("ds") - pl.lit(START.replace(tzinfo=None))).dt.total_days()
    on_sale = pl.any_horizontal(day.is_between(one, one + 1) for one in first_days)
    error = pl.when(on_sale).then(3.0).otherwise(1.0) * (pl.col("y") - pl.col("y_hat"))
    return frame.with_columns(y=pl.col("y_hat") + error)


def test_the_next_event_of_a_name_is_compared_with_the_last_one():
    town = Town(40, breaks_at=99)
    town.frame = sale(town.frame, 15, 30)
    first = CalendarEvent("a", "Sale", "promotion", **days(15, 17))
    again = CalendarEvent(
        "b", "sale", "promotion", **days(30, 32), exclude=False, mute=False, matched=True
    )
    town.order(Declare(event=first))
    town.play(20)
    town.order(Declare(event=again))
    town.play(40)
    assert not town.open_requests()  # three times the loss is what a sale brings
    assert town.said("shop 05", 31)[0] == Verdict.HEALTHY
    assert town.proven()
    town.order(CancelEvent(event="b"))
    town.agent.tick()
    assert town.said("shop 05", 31)[0] == Verdict.DEGRADED
    town.store.close()


def test_a_rehearsal_writes_nothing_and_says_what_would_come(town):
    town.play(24)
    order = LabelBatches(selector=EVERY, **days(18, 24), label="broken")
    payload = {"order": order.payload(), "unique_ids": list(BROKEN)}
    action = Action("label", payload, town.clock.now(), "user:ann")
    heads = town.store.cycles(revisions=True)
    told = rehearsed(town.store, town.agent.settings, [action])
    assert town.store.cycles(revisions=True) == heads
    assert (told.cycles, told.first) == (6, 19)
    assert told.counts["re-trainings no longer asked for"] == 3
    assert told.total == len(told.changes) > 0
    town.store.act([action])
    town.agent.tick()
    for change in told.changes:
        if change.what == "verdict":
            now = town.said(change.unique_id, change.cycle)
            assert change.after.endswith(Reason(now[2]).label)


def test_an_order_about_the_future_changes_nothing_that_was_judged(town):
    town.play(12)
    event = CalendarEvent("e1", "Fair", "holiday", **days(18, 25))
    payload = {"order": Declare(event=event).payload()}
    told = rehearsed(town.store, town.agent.settings, [Action("event", payload, town.clock.now())])
    assert told.cycles == 0
