"""`Trainer`: open requests for re-training are carried out by a function of the user.

Takes requests from the store, runs the function on an executor, tells the live agent what became of
them. Next is the cycle, before which the new versions go live.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from time import perf_counter
from typing import Protocol

from mlma.domain.errors import ConflictError, DataError, TimeLimitError
from mlma.domain.rows import LossRows
from mlma.ports import Executor, RetrainingRequest, Store
from mlma.service.fits import ApartExecutor, FitAnswer, carry_out, executors, function_from
from mlma.service.loops import Loop, stopped

log = logging.getLogger(__name__)

BY = "trainer"
_CHUNK_SECONDS = 2.0
_LARGEST_CHUNK = 256
_RECORD_SECONDS = 0.2
_STRIKES = 3


class Deployments(Protocol):
    """What the trainer tells the live agent."""

    def deployed(
        self,
        names: Sequence[str],
        held_out: LossRows | None,
        *,
        requests: Sequence[str] = (),
        artefacts: Mapping[str, str] | None = None,
        by: str = "",
        why: str = "",
    ) -> object:
        """Record that new versions of streams are live."""
        ...

    def failed(
        self, names: Sequence[str], error: str, *, requests: Sequence[str] = (), by: str = ""
    ) -> object:
        """Record that re-trainings failed."""
        ...


@dataclass(frozen=True, slots=True)
class TrainerFacts:
    """What became of requests since the start; ``dropped``: nobody wanted the outcome any more."""

    claimed: int = 0
    deployed: int = 0
    failed: int = 0
    dropped: int = 0
    seconds: float = 0.0
    last_error: str = ""


Done = tuple[RetrainingRequest, FitAnswer]


class Trainer:
    """Carries out open requests, in a thread per worker process.

    Parameters
    ----------
    function
        ``package.module:function``, called with one `RetrainingRequest`. It returns None, or a
        frame ``unique_id, ds, loss`` of losses on slots that were not trained on, or what it calls
        the model (text), or both as a pair; when it raises, the re-training has failed and the old
        version stays.
    restore
        the same for requests of the kind ``restore``: it makes the model ``request.artefact`` live
        again. Empty = such requests fail.
    executor
        ``local``, ``threads`` or what `mlma.adapters.executors.registry.executor_from` knows.
    time_limit
        seconds that a fit may take; None = no limit.
    jobs
        fits at a time; None = one per core.
    every
        seconds between two looks for requests; `poke` asks for one at once.
    active
        returns a token while this instance trains, None while another one does; a new token means
        that another one did in between.
    finished
        called when outcomes were recorded.

    A fit may run twice, where an instance ends before its outcome is recorded; a version is
    deployed once.

    Raises
    ------
    SettingsError
        There is no such function or executor.
    """

    def __init__(
        self,
        store: Store,
        live: Deployments,
        function: str,
        executor: str = "local",
        time_limit: float | None = 600.0,
        *,
        restore: str = "",
        jobs: int | None = None,
        every: float = 5.0,
        active: Callable[[], int | None] = lambda: 0,
        finished: Callable[[], None] = lambda: None,
    ) -> None:
        function_from(function)
        if restore:
            function_from(restore)
        self.functions = {"retrain": function, "restore": restore}
        self.time_limit = time_limit
        self._store, self._live, self._every = store, live, every
        self._active, self.finished = active, finished
        self.closed = False
        self._token: int | None = None
        self._facts = TrainerFacts()
        self._lock = Lock()
        made = executors(executor, jobs, time_limit)
        self._lanes = [
            _Lane(self, one, at, _least_chunk(one, len(made))) for at, one in enumerate(made)
        ]

    @property
    def facts(self) -> TrainerFacts:
        """What became of requests."""
        return self._facts

    @property
    def alive(self) -> bool:
        """Whether its threads run."""
        return all(lane.loop.alive for lane in self._lanes)

    def poke(self) -> None:
        """Have it look soon: there may be new requests."""
        for lane in self._lanes:
            lane.loop.poke()

    def start(self) -> None:
        """Start the threads."""
        for lane in self._lanes:
            lane.loop.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Claim nothing more and wait for the fits that run; False = they take longer.

        Fits that take longer are ended with this process, and run again at the next start.
        """
        ended = stopped([lane.loop for lane in self._lanes], timeout)
        self.closed = True
        return ended

    @property
    def every(self) -> float:
        """Seconds between two looks."""
        return self._every

    def claim(self, limit: int) -> list[RetrainingRequest]:
        """Take open requests; when this instance begins to train, those of dead fits first."""
        with self._lock:
            token = self._active()
            if token is None:
                return []
            if token != self._token:
                opened = self._store.release()
                if opened:
                    log.info("%d requests are carried out again: their fits had died", opened)
                self._token = token
            claimed = [one.request for one in self._store.claim(limit)]
        self._note(claimed=len(claimed))
        return claimed

    def record(self, done: list[Done]) -> None:
        """Record outcomes, and take from the list what is recorded or no longer wanted.

        Raises
        ------
        StoreError
            What is left in the list could not be recorded.
        """
        plain = [one for one in done if not one[1].error and one[1].held_out is None]
        if plain:
            self._deployed(plain)
            done[:] = [one for one in done if one[1].error or one[1].held_out is not None]
        while done:
            request, answer = done[0]
            if answer.error:
                self._failed(request, answer)
            else:
                self._deployed(done[:1])
            del done[0]
        self.finished()

    def _deployed(self, done: Sequence[Done]) -> None:
        """Record new versions; where there are losses held out, of one request."""
        requests, answer = [one for one, _ in done], done[0][1]
        names, ids = [one.unique_id for one in requests], [one.id for one in requests]
        why = requests[0].reason if len({one.reason for one in requests}) == 1 else ""
        called = {one.unique_id: told.artefact for one, told in done if told.artefact}
        try:
            self._live.deployed(
                names, answer.held_out, requests=ids, artefacts=called, by=BY, why=why
            )
        except ConflictError:
            if len(requests) == 1:
                self._drop(requests[0])
            else:  # one of them is no longer open
                for one in done:
                    self._deployed([one])
        except DataError as error:
            for request in requests:
                self._failed(request, FitAnswer(error=str(error)))
        else:
            self._note(deployed=len(requests))

    def _failed(self, request: RetrainingRequest, answer: FitAnswer) -> None:
        log.warning("re-training of %s failed: %s", request.unique_id, answer.trace or answer.error)
        try:
            self._live.failed([request.unique_id], answer.error, requests=[request.id], by=BY)
        except ConflictError:
            self._drop(request)
        else:
            self._note(failed=1, last_error=f"{request.unique_id}: {answer.error}")

    def _drop(self, request: RetrainingRequest) -> None:
        log.info("the request for %s is no longer open: its fit is dropped", request.unique_id)
        self._note(dropped=1)

    def note_seconds(self, seconds: float) -> None:
        """Take note of the time that fits took."""
        self._note(seconds=seconds)

    def _note(self, *, last_error: str = "", **more: float) -> None:
        with self._lock:
            facts = self._facts
            changes = {name: getattr(facts, name) + value for name, value in more.items()}
            self._facts = replace(facts, **changes, last_error=last_error or facts.last_error)


class _Lane:
    """Fits of one executor: some requests are claimed, carried out, recorded; then the next.

    ``_claimed`` are those without an answer, ``_done`` those whose outcome is not recorded yet.
    """

    def __init__(self, trainer: Trainer, executor: Executor, at: int, least: int) -> None:
        self._trainer, self._executor = trainer, executor
        self._least = self._chunk = least
        self._claimed: list[RetrainingRequest] = []
        self._done: list[Done] = []
        self._strikes = 0
        self.loop = Loop(f"trainer-{at}", self._step)

    def _step(self) -> float:
        self._record()
        self._claimed = self._claimed or self._trainer.claim(self._chunk)
        if not self._claimed:
            return self._trainer.every
        begun, count = perf_counter(), len(self._claimed)
        try:
            self._carry_out()
        except Exception as error:
            self._struck(error)
            raise
        seconds = perf_counter() - begun
        self._trainer.note_seconds(seconds)
        self._chunk = self._next_chunk(seconds / count)
        self._record()
        return 0.0

    def _carry_out(self) -> None:
        recorded = perf_counter()
        functions = self._trainer.functions
        tasks = [(functions[request.kind], request) for request in self._claimed]
        for answer in self._executor.map(carry_out, tasks, lost=self._lost):
            self._done.append((self._claimed.pop(0), answer))
            self._strikes = 0
            if self.loop.stopping:
                break  # what has no answer is carried out again by the next start
            if perf_counter() - recorded > _RECORD_SECONDS:
                self._record()
                recorded = perf_counter()

    def _struck(self, error: Exception) -> None:
        """See to an executor that failed: after some times the request at hand is to blame."""
        self._strikes += 1
        if self._strikes >= _STRIKES and self._claimed:
            told = f"the executor failed {self._strikes} times: {error}"
            self._done.append((self._claimed.pop(0), FitAnswer(error=told)))
            self._strikes = 0

    def _lost(self, error: Exception) -> FitAnswer:
        if isinstance(error, TimeLimitError):
            return FitAnswer(error=f"it took longer than {self._trainer.time_limit:g} s")
        return FitAnswer(error=f"its worker process died: {error}")

    def _next_chunk(self, seconds: float) -> int:
        """Return how many requests to claim: quick ones travel together, slow ones do not."""
        wanted = int(_CHUNK_SECONDS / max(seconds, 1e-3))
        return min(max(wanted, self._least), _LARGEST_CHUNK)

    def _record(self) -> None:
        """Record what is done; what could not be recorded stays and is recorded later."""
        if self._trainer.closed:
            self._done = []
        elif self._done:
            self._trainer.record(self._done)


def _least_chunk(executor: Executor, lanes: int) -> int:
    """Return how many requests keep an executor busy: it has a lane per process, or one in all."""
    if lanes > 1 or isinstance(executor, ApartExecutor):
        return 1
    return 4 * (getattr(executor, "n_jobs", None) or os.cpu_count() or 1)
