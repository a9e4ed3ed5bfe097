"""Requests are carried out by a function of the user; a version is deployed once."""

import logging
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from threading import Event

import pytest

from mlma.adapters.store import open_store
from mlma.domain.errors import ConflictError, DataError, SettingsError, StoreError
from mlma.domain.ledger import Action
from mlma.service.fits import FitAnswer
from mlma.service.trainer import Trainer
from stores import NOW, asked, commit, entry, place_of
from threads import until


@dataclass
class Agent:
    """Records what the live agent records, in a real store."""

    store: object
    errors: list = field(default_factory=list)
    told: list = field(default_factory=list)

    def deployed(self, names, held_out, *, requests=(), artefacts=None, by="", why=""):
        if self.errors:
            raise self.errors.pop(0)
        payload = {"unique_ids": list(names), "artefacts": dict(artefacts or {})}
        action = Action("deployed", payload, NOW, by, why)
        self.store.act([action], finished=dict.fromkeys(requests, "done"))
        self.told += [(name, held_out) for name in names]

    def failed(self, names, error, *, requests=(), by=""):
        action = Action("failed", {"unique_ids": list(names), "error": error}, NOW, by)
        self.store.act([action], finished=dict.fromkeys(requests, "failed"))
        self.told += [(name, error) for name in names]


@pytest.fixture
def store():
    with closing(open_store("memory://")) as made:
        yield made


def ask(store, *names, cycle=1):
    store.commit(commit(entry(cycle), requests=tuple(asked(name, cycle) for name in names)))


@contextmanager
def training(store, function, executor="threads", **settings):
    agent = settings.pop("agent", None) or Agent(store)
    settings = {"jobs": 2, "every": 0.05, "time_limit": 30.0, **settings}
    trainer = Trainer(store, agent, f"fits_of_users:{function}", executor, **settings)
    trainer.start()
    try:
        yield trainer, agent
    finally:
        assert trainer.stop(10.0)


def statuses(store):
    return {one.request.id: one.status for _, one in store.requests()}


def closed(store):
    return until(lambda: set(statuses(store).values()) <= {"done", "failed"}, 20.0)


def test_requests_are_carried_out_and_recorded(store):
    ask(store, "a", "b", "c")
    finished = Event()
    with training(store, "fine", finished=finished.set) as (trainer, agent):
        assert closed(store)
        assert finished.wait(5.0)
        until(lambda: trainer.facts.deployed == 3)
    assert statuses(store) == {"a": "done", "b": "done", "c": "done"}
    assert sorted(agent.told) == [(f"stream {name}", None) for name in "abc"]
    assert {one.by for one in store.actions()} == {"trainer"}
    assert {one.why for one in store.actions()} == {"loss above the reference"}
    assert trainer.facts.claimed == 3


def test_what_a_function_calls_its_model_is_written_down(store):
    ask(store, "a", "b")
    with training(store, "named"):
        assert closed(store)
    called = {}
    for action in store.actions():
        called |= action.payload["artefacts"]
    assert called == {"stream a": "model of stream a", "stream b": "model of stream b"}


def restoring(store):
    request = replace(asked("back", 1), kind="restore", restores=1, artefact="first model")
    store.commit(commit(entry(1), requests=(request, asked("a", 1))))


def test_a_former_model_is_brought_back_by_a_function_of_its_own(store):
    restoring(store)
    with training(store, "fine", restore="fits_of_users:back") as (_, agent):
        assert closed(store)
    assert statuses(store) == {"a": "done", "back": "done"}
    assert {name for name, _ in agent.told} == {"stream a", "stream back"}


def test_a_former_model_that_is_gone_stays_gone_with_a_reason(store):
    restoring(store)
    with training(store, "fine", restore="fits_of_users:gone"):
        assert closed(store)
    assert statuses(store) == {"a": "done", "back": "failed"}
    (told,) = [one.error for _, one in store.requests() if one.request.id == "back"]
    assert "first model" in told


def test_without_a_function_for_it_no_model_is_brought_back(store):
    restoring(store)
    with training(store, "fine"):
        assert closed(store)
    (told,) = [one.error for _, one in store.requests() if one.request.id == "back"]
    assert told == "`restore` of [retraining] names no function that brings a version back"


def test_held_out_losses_reach_the_agent(store):
    ask(store, "a")
    with training(store, "held_out") as (_, agent):
        assert closed(store)
    ((name, rows),) = agent.told
    assert rows.ids == (name,) == ("stream a",)
    assert (len(rows.loss), float(rows.loss.mean())) == (48, 0.5)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("failing", "RuntimeError: no data for stream b"),
        ("exiting", "SystemExit: 3"),
        ("rubbish", "int"),
        ("of_another", "must be of stream b. Got another"),
        ("without_times", "no column `ds`"),
    ],
)
def test_a_function_that_fails_is_a_failure_with_its_last_line(store, function, error, caplog):
    ask(store, "b")
    with caplog.at_level(logging.WARNING), training(store, function) as (trainer, agent):
        assert closed(store)
        until(lambda: trainer.facts.failed == 1)
    assert statuses(store) == {"b": "failed"}
    ((_, told),) = agent.told
    assert error in told
    assert "\n" not in told
    assert "re-training of stream b failed: Traceback" in caplog.text


def test_one_failure_does_not_touch_the_others(store):
    ask(store, "a", "b", "c")
    with training(store, "failing"):
        assert closed(store)
    assert statuses(store) == {"a": "done", "b": "failed", "c": "done"}


@pytest.mark.parametrize(
    ("function", "limit", "error"),
    [("hanging", 2.0, "it took longer than 2 s"), ("dying", 20.0, "its worker process died")],
)
def test_a_fit_that_hangs_or_dies_in_its_process_is_a_failure(store, function, limit, error):
    ask(store, "b", "a", "c")
    with training(store, function, "local", time_limit=limit) as (_, agent):
        assert closed(store)
    assert statuses(store) == {"a": "done", "b": "failed", "c": "done"}
    assert error in dict(agent.told)["stream b"]


def test_a_single_fit_that_hangs_is_ended_too(store):
    ask(store, "b")
    with training(store, "hanging", "local", time_limit=0.3):
        assert closed(store)
    assert statuses(store) == {"b": "failed"}


def test_processes_are_all_busy(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MARKS", str(tmp_path))
    ask(store, "a", "b")
    with training(store, "slow_and_marked", "threads"):
        assert closed(store)
    first, second = sorted(int(mark.name.split("-")[1]) for mark in tmp_path.iterdir())
    assert second - first < 0.25e9


def test_requests_of_dead_fits_are_carried_out_again(store):
    ask(store, "a", "b")
    assert len(store.claim(10)) == 2  # by an instance that died
    with training(store, "fine"):
        assert closed(store)
    assert statuses(store) == {"a": "done", "b": "done"}


def test_what_was_fitted_twice_is_deployed_once(store):
    ask(store, "a", "b")
    agent = Agent(store)
    trainer = Trainer(store, agent, "fits_of_users:fine", "threads", jobs=1)
    claimed = trainer.claim(10)
    other = Agent(store)
    other.deployed(["stream a"], None, requests=["a"])  # another instance was first
    trainer.record([(one, FitAnswer()) for one in claimed])
    assert agent.told == [("stream b", None)]
    assert (trainer.facts.deployed, trainer.facts.dropped) == (1, 1)
    assert len(store.actions()) == 2
    trainer.record([(claimed[0], FitAnswer(error="late"))])
    assert trainer.facts.dropped == 2


def test_an_outcome_that_could_not_be_recorded_is_recorded_later(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MARKS", str(tmp_path))
    ask(store, "a")
    agent = Agent(store, errors=[StoreError("The disk is full."), StoreError("Still full.")])
    with training(store, "marked", agent=agent):
        assert closed(store)
    assert statuses(store) == {"a": "done"}
    assert len(list(tmp_path.iterdir())) == 1  # it was not fitted again


def test_held_out_losses_that_the_agent_refuses_are_a_failure(store):
    ask(store, "a")
    agent = Agent(store, errors=[DataError("Losses of no batch.")])
    with training(store, "held_out", agent=agent):
        assert closed(store)
    assert agent.told == [("stream a", "Losses of no batch.")]


class Broken:
    """An executor that cannot begin."""

    def __init__(self, times):
        self.times = times

    def map(self, function, tasks, label="", *, lost=None):
        if self.times:
            self.times -= 1
            raise OSError("no processes left")
        return (function(*task) for task in tasks)


@pytest.mark.parametrize(("times", "outcome"), [(1, "done"), (3, "failed")])
def test_an_executor_that_fails_is_tried_again_and_blames_the_request_in_the_end(
    store, times, outcome, monkeypatch
):
    monkeypatch.setattr("mlma.service.trainer.executors", lambda *_: [Broken(times)])
    ask(store, "a")
    with training(store, "fine"):
        assert closed(store)
    assert statuses(store) == {"a": outcome}


def test_only_the_instance_that_leads_trains_and_frees_dead_fits_when_it_begins_to(store):
    ask(store, "a")
    store.claim(1)
    leads = []
    with training(store, "fine", active=lambda: leads[-1] if leads else None) as (trainer, _):
        until(lambda: trainer._lanes[0].loop.facts.steps >= 2)
        assert statuses(store) == {"a": "claimed"}
        leads.append(1)
        assert closed(store)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("no_such_module:f", "`no_such_module` cannot be imported: ModuleNotFoundError"),
        ("fits_of_users:no_such", "`fits_of_users` has no function `no_such`"),
        ("fits_of_users:NO_FUNCTION", "has no function `NO_FUNCTION`"),
        ("fits_of_users", "Expected package.module:function"),
    ],
)
def test_a_function_that_is_not_there_is_refused_at_the_start(store, function, words):
    with pytest.raises(SettingsError, match=words):
        Trainer(store, Agent(store), function)


def test_an_unknown_executor_is_refused_at_the_start(store):
    with pytest.raises(SettingsError, match="Unknown executor"):
        Trainer(store, Agent(store), "fits_of_users:fine", "lokal")


def test_many_quick_fits_travel_together(tmp_path):
    with place_of("sqlite", tmp_path) as place:
        store = place.open()
        ask(store, *[f"r{k}" for k in range(300)])
        with training(store, "fine", "local") as (trainer, _):
            assert closed(store)
            until(lambda: trainer.facts.deployed == 300)
        assert len(store.actions()) < 150
        with closing(sqlite3.connect(tmp_path / "store.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_conflict_of_one_does_not_drop_the_others(store):
    ask(store, "a", "b", "c")
    agent = Agent(store, errors=[ConflictError("One is closed.")])
    with training(store, "fine", agent=agent, jobs=1):
        assert closed(store)
    assert set(statuses(store).values()) == {"done"}


def test_fits_that_run_are_not_freed_unless_another_instance_led_in_between(store):
    ask(store, "a", "b")
    tokens = [7]
    trainer = Trainer(
        store, Agent(store), "fits_of_users:fine", "threads", active=lambda: tokens[-1]
    )
    assert [one.id for one in trainer.claim(1)] == ["a"]
    tokens.append(None)
    assert trainer.claim(5) == []
    tokens.append(7)
    assert [one.id for one in trainer.claim(5)] == ["b"]
    assert trainer.claim(5) == []
    tokens.append(9)
    assert [one.id for one in trainer.claim(5)] == ["a", "b"]
