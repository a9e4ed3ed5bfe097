"""Runs of the policy lab: a process of their own, one at a time, and nothing is left behind."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import active_children

import pytest

from lab_worlds import LabWorld, recorded_history
from mlma.adapters.store import open_store
from mlma.domain.errors import DataError, SettingsError
from mlma.domain.lab import LabRun
from mlma.service.lab import DIED, Lab

REAL = "mlma(pool=1)"
QUICK = LabWorld(streams=6, cycles=12)
LONG = LabWorld(streams=6, cycles=150, breaks=0.0)
NOW = datetime(2025, 3, 1, tzinfo=UTC)


def history(url, world=QUICK):
    store, settings, _, _ = recorded_history(world, REAL, url)
    return store, settings


def lab_of(folder, world=QUICK):
    url = f"sqlite:///{folder}/lab.db"
    store, live = history(url, world)
    return Lab(store, url, live), store


@pytest.fixture(scope="module")
def long_one(tmp_path_factory):
    """A file with a history that takes seconds to play, and its settings."""
    file = tmp_path_factory.mktemp("long") / "lab.db"
    store, live = history(f"sqlite:///{file}", LONG)
    store.close()
    return file, live


def long_lab(folder, long_one):
    file, live = long_one
    shutil.copy(file, folder / "lab.db")
    url = f"sqlite:///{folder}/lab.db"
    store = open_store(url)
    return Lab(store, url, live), store


def until(fits, seconds=600.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not fits():
        assert time.monotonic() < end, "it did not become so"
        time.sleep(0.02)


def status_of(lab, run):
    return lab.run(run.id).status


def test_runs_are_played_in_their_order_by_a_process_and_tell_both_sides(tmp_path):
    lab, store = lab_of(tmp_path)
    first = lab.start("never", None, "user:ann")
    second = lab.start("always", 3, "key:bob", 2, 11)
    assert [run.status for run in lab.runs()] == ["waiting", "waiting"]
    lab.begin()
    until(lambda: status_of(lab, first) == "running")
    assert status_of(lab, second) == "waiting"
    until(lambda: [one for one in active_children() if first.id in one.name])
    until(lambda: status_of(lab, second) == "done")
    one, other = lab.run(first.id), lab.run(second.id)
    assert (one.status, one.progress, one.by, one.error) == ("done", 1.0, "user:ann", "")
    assert one.result["tried"]["retrainings"] == 0
    assert (other.result["first"], other.result["last"], other.result["per_cycle"]) == (2, 11, 3)
    assert max(row["tried_retrainings"] for row in other.result["by_cycle"]) == 3
    assert [run.id for run in lab.runs(1)] == [max(lab.runs(), key=lambda run: run.at).id]
    assert lab.close(120)
    store.close()


def test_a_run_that_is_cancelled_ends_at_once_and_stays_cancelled(tmp_path, long_one):
    lab, store = long_lab(tmp_path, long_one)
    run = lab.start("never", None, "cli:root")
    waiting = lab.start("always", None, "cli:root")
    assert lab.cancel(waiting.id).status == "cancelled"
    lab.begin()
    until(lambda: lab.run(run.id).progress > 0)
    assert 0 < lab.run(run.id).progress < 1
    assert lab.cancel(run.id).status == "cancelled"
    until(lambda: not [one for one in active_children() if run.id in one.name])
    assert lab.close(120)
    assert [one.status for one in lab.runs()] == ["cancelled", "cancelled"]
    assert lab.cancel(run.id).status == "cancelled"
    store.close()


def test_a_process_that_dies_fails_its_run_and_a_server_that_stops_plays_it_again(
    tmp_path, long_one
):
    lab, store = long_lab(tmp_path, long_one)
    doomed, left = (lab.start("never", None, "cli:root") for _ in range(2))
    first, second = sorted((doomed, left), key=lambda run: (run.at, run.id))
    lab.begin()
    until(lambda: lab.run(first.id).progress > 0)
    (process,) = [one for one in active_children() if first.id in one.name]
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: status_of(lab, first) == "failed")
    assert "exit code -9" in lab.run(first.id).error
    until(lambda: status_of(lab, second) == "running")
    assert lab.close(120)
    run = lab.run(second.id)
    assert (run.status, run.progress) == ("waiting", 0.0)
    assert not [one for one in active_children() if second.id in one.name]
    store.close()


def running(lab, store, run_id="r", **pulse):
    """A run that somebody says he plays."""
    store.put_lab_run(LabRun(run_id, NOW, "user:ann", "never", status="running"))
    told = {"id": run_id, "host": os.uname().nodename, "pid": os.getpid(), "at": NOW} | pulse
    if told["host"]:
        at = told["at"].isoformat()
        store.remember("lab", json.dumps([told["id"], told["host"], told["pid"], at]))
    lab._step()
    return lab.run(run_id)


@pytest.fixture(scope="module")
def memory():
    return history("memory://")


@pytest.mark.parametrize(
    "pulse",
    [
        {"pid": 2**22 + 17},  # no process has such a number here
        {"pid": os.getpid()},  # it had this one before
        {"host": "elsewhere", "at": NOW - timedelta(minutes=2)},
        {"id": "another"},
        {"host": ""},
    ],
)
def test_a_run_whose_server_died_is_failed_at_the_next_start(memory, pulse):
    store, live = memory
    lab = Lab(store, "memory://", live, wall=lambda: NOW)
    run = running(lab, store, f"dead {sorted(pulse.items())}"[:40], **pulse)
    assert (run.status, run.error) == ("failed", DIED)


def test_a_run_of_another_machine_that_is_alive_is_waited_for(memory):
    store, live = memory
    lab = Lab(store, "memory://", live, wall=lambda: NOW)
    waiting = lab.start("never", None, "user:ann")
    alive = {"host": "elsewhere", "at": NOW - timedelta(seconds=20)}
    assert running(lab, store, "alive", **alive).status == "running"
    assert status_of(lab, waiting) == "waiting"
    lab.cancel("alive")
    lab._step()
    assert status_of(lab, waiting) == "done"  # a store in memory is played on in this thread


def test_an_instance_that_does_not_lead_plays_nothing(memory):
    store, live = memory
    lab = Lab(store, "memory://", live, active=lambda: False)
    run = lab.start("never", None, "user:ann")
    lab._step()
    assert status_of(lab, run) == "waiting"
    lab.cancel(run.id)


def test_a_run_that_cannot_be_played_fails_with_its_reason(memory, monkeypatch):
    store, live = memory
    lab = Lab(store, "memory://", live)
    run = lab.start("never", None, "user:ann")
    store.put_lab_run(replace(run, last=99))
    lab._step()
    assert "`last` of a lab run" in lab.run(run.id).error

    broken = lab.start("never", None, "user:ann")
    monkeypatch.setattr(type(store), "evidence", lambda *_: 1 / 0)
    lab._step()
    assert lab.run(broken.id).error.startswith("ZeroDivisionError")


def test_what_cannot_be_tried_is_refused_before_it_waits(memory):
    store, live = memory
    lab = Lab(store, "memory://", live)
    before = len(lab.runs())
    with pytest.raises(SettingsError, match="`pool` of `mlma`"):
        lab.start("mlma(pool=4)", None, "user:ann")
    with pytest.raises(DataError, match="`first` of a lab run"):
        lab.start("never", None, "user:ann", first=99)
    with pytest.raises(DataError, match="There is no run"):
        lab.cancel("nothing")
    assert len(lab.runs()) == before


def test_a_run_in_memory_is_cancelled_too():
    store, live = history("memory://", LONG)
    lab = Lab(store, "memory://", live)
    run = lab.start("never", None, "user:ann")
    lab.begin()
    until(lambda: lab.run(run.id).progress > 0)
    lab.cancel(run.id)
    assert lab.close(120)
    assert status_of(lab, run) == "cancelled"
    assert open_store("memory://").lab_runs() == []
