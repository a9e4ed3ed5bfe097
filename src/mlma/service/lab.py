"""`Lab`: tries policies on the fleet's recorded history, one run at a time, beside the server.

Takes what is to be tried, has `mlma.agent.lab` play it in a process of its own that is nice to the
others, and writes how far it is. Pages and routes read the runs from the store.
"""

import json
import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from time import monotonic
from uuid import uuid4

from mlma.domain.errors import DataError, MlmaError
from mlma.domain.lab import LabRun
from mlma.domain.labour import LabourModel
from mlma.domain.live import LiveSettings
from mlma.ports import Store
from mlma.service.loops import Loop

log = logging.getLogger(__name__)

TOLD_EVERY = 0.5
"""Seconds between two words about how far a run is, at least."""
LOST = timedelta(seconds=60)
"""A run of which nothing was heard for so long has died with the machine that played it."""

DIED = "The server that played it died. Hint: start it again."
ENDED = "The process that played it ended with exit code {}. Hint: see the log of the server."

_PULSE = "lab"
"""Setting of the store: who plays which run, and when that was last heard of."""
_PULSE_SECONDS = 5.0
_LOOK_SECONDS = 0.2
_IDLE_SECONDS = 10.0
_NICENESS = 10
_FEW, _MANY = 10, 1_000


class Lab:
    """Runs of the policy lab.

    Parameters
    ----------
    url
        of the store, with its password: the process opens it by itself. A store in memory is
        played on in a thread.
    settings
        of the live agent.
    labour
        how long things take a person.
    active
        whether this instance plays: of all on one store one does. Any of them takes runs.
    wall
        the time.
    """

    def __init__(
        self,
        store: Store,
        url: str,
        settings: LiveSettings,
        labour: LabourModel | None = None,
        *,
        active: Callable[[], bool] = lambda: True,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._url, self._settings = store, url, settings
        self._labour, self._active, self._wall = labour or LabourModel(), active, wall
        self._loop = Loop("lab", self._step)
        self._told = 0.0

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._loop.alive

    def start(
        self,
        policy: str,
        per_cycle: int | None,
        by: str,
        first: int | None = None,
        last: int | None = None,
    ) -> LabRun:
        """Return a new run; it waits until those before it are done.

        Raises
        ------
        SettingsError, DataError
            The policy or the cycles cannot be tried.
        """
        from mlma.agent.lab import Question, span

        span(self._store, self._settings, Question(policy, per_cycle, first, last))
        run = LabRun(uuid4().hex[:12], self._wall(), by, policy, per_cycle, first, last)
        self._store.put_lab_run(run)
        self._loop.poke()
        return run

    def runs(self, limit: int | None = None) -> list[LabRun]:
        """Return runs, newest first."""
        return self._store.lab_runs(limit=limit)

    def run(self, id: str) -> LabRun:
        """Return a run.

        Raises
        ------
        DataError
            There is none of this id.
        """
        found = self._store.lab_runs(ids=[id])
        if not found:
            raise DataError(f"There is no run `{id[:80]}` of the policy lab.")
        return found[0]

    def cancel(self, id: str) -> LabRun:
        """Stop a run and return it; one that has ended stays as it is."""
        run = self.run(id)
        if run.status in ("waiting", "running"):
            run = replace(run, status="cancelled")
            self._store.put_lab_run(run)
            self._loop.poke()
        return run

    def begin(self) -> None:
        """Start the thread that has runs played."""
        self._loop.start()

    def close(self, timeout: float | None = None) -> bool:
        """End; a run that is played waits for the next start. False = it has not ended in time."""
        self._loop.stop()
        return self._loop.join(timeout)

    def _step(self) -> float:
        """Play the run that waits longest; return the seconds until the next look."""
        if not self._active():
            return _IDLE_SECONDS
        runs = self._newest()
        for run in runs:
            if run.status == "running" and self._lost(run):
                self._store.put_lab_run(replace(run, status="failed", error=DIED))
            elif run.status == "running":
                return _IDLE_SECONDS  # another instance is at it still
        waiting = [run for run in runs if run.status == "waiting"]
        if not waiting:
            return _IDLE_SECONDS
        self._play(replace(min(waiting, key=lambda run: (run.at, run.id)), status="running"))
        return 0.0

    def _newest(self) -> list[LabRun]:
        """Return runs among which all are that have not ended: they are played in their order."""
        runs = self._store.lab_runs(limit=_FEW)
        open_ones = all(run.status in ("waiting", "running", "cancelled") for run in runs)
        return self._store.lab_runs(limit=_MANY) if len(runs) == _FEW and open_ones else runs

    def _play(self, run: LabRun) -> None:
        self._pulse(run, at_once=True)
        self._store.put_lab_run(run)
        try:
            if self._url.startswith("memory:"):
                play(self._store, run, self._settings, self._labour, lambda: self._goes_on(run))
            else:
                self._have_played(run)
        finally:
            self._settle(run)

    def _have_played(self, run: LabRun) -> None:
        """Have a process of its own play a run; end it when the run is cancelled."""
        arguments = (self._url, run, self._settings, self._labour)
        process = get_context("spawn").Process(
            target=work, args=arguments, name=f"mlma-lab-{run.id}", daemon=True
        )
        process.start()
        looked = monotonic()
        while process.is_alive():
            process.join(_LOOK_SECONDS)
            self._pulse(run)
            if self._loop.stopping or monotonic() - looked >= 2 * TOLD_EVERY:
                looked = monotonic()
                if not self._goes_on(run):
                    process.terminate()
                    process.join()
        if process.exitcode and self._goes_on(run):
            told = replace(self.run(run.id), status="failed", error=ENDED.format(process.exitcode))
            self._store.put_lab_run(told)

    def _goes_on(self, run: LabRun) -> bool:
        return not self._loop.stopping and self.run(run.id).status == "running"

    def _settle(self, run: LabRun) -> None:
        """Leave no run behind that says it is played."""
        now = self.run(run.id)
        if now.status == "running" and self._loop.stopping:
            self._store.put_lab_run(replace(now, status="waiting", progress=0.0))
        elif now.status == "running":
            self._store.put_lab_run(replace(now, status="failed", error=ENDED.format(0)))

    def _pulse(self, run: LabRun, *, at_once: bool = False) -> None:
        """Tell that a run is still played here."""
        if at_once or monotonic() - self._told >= _PULSE_SECONDS:
            self._told = monotonic()
            told = [run.id, socket.gethostname(), os.getpid(), self._wall().isoformat()]
            self._store.remember(_PULSE, json.dumps(told))

    def _lost(self, run: LabRun) -> bool:
        """Return whether whoever played a run is dead."""
        told = self._store.setting(_PULSE)
        if told is None:
            return True
        id, host, pid, at = json.loads(told)
        if id != run.id or self._wall() - datetime.fromisoformat(at) > LOST:
            return True
        here = host == socket.gethostname()
        return here and (pid == os.getpid() or not _runs(pid))


def _runs(pid: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def work(url: str, run: LabRun, settings: LiveSettings, labour: LabourModel) -> None:
    """Play a run in a process of its own, on the store at an address."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: whoever started it ends it
    with suppress(OSError):
        os.nice(_NICENESS)
    from mlma.adapters.store import open_store

    parent = parent_process()
    store = open_store(url)
    try:
        play(store, run, settings, labour, lambda: _wanted(store, run, parent))
    finally:
        store.close()


def _wanted(store: Store, run: LabRun, parent: BaseProcess | None) -> bool:
    if parent is not None and not parent.is_alive():
        return False
    return store.lab_runs(ids=[run.id])[0].status == "running"


def play(
    store: Store,
    run: LabRun,
    settings: LiveSettings,
    labour: LabourModel,
    goes_on: Callable[[], bool],
) -> None:
    """Play a run and write what comes of it; it ends early where it does not go on."""
    from mlma.agent.lab import Question, played

    steps = played(
        store, settings, Question(run.policy, run.per_cycle, run.first, run.last), labour
    )
    told = monotonic()
    try:
        while True:
            share = next(steps)
            if monotonic() - told >= TOLD_EVERY:
                told = monotonic()
                if not goes_on():
                    return
                store.put_lab_run(replace(run, progress=share))
    except StopIteration as end:
        made = replace(run, status="done", progress=1.0, result=end.value)
    except MlmaError as error:
        made = replace(run, status="failed", error=str(error))
    except Exception as error:
        log.exception("run %s of the policy lab failed", run.id)
        made = replace(run, status="failed", error=f"{type(error).__name__}: {error}")
    if goes_on():
        store.put_lab_run(made)
