"""`Scheduler`: looks for batches that can be judged, every few seconds and when something came in.

Takes the live agent and the time, has it judge; keeps what `/ready` and `/metrics` tell.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from time import monotonic, perf_counter
from typing import Protocol

from mlma.domain.errors import MlmaError
from mlma.domain.ledger import CycleInfo
from mlma.domain.live import LiveStatus
from mlma.ports import Clock
from mlma.service.loops import Loop
from mlma.service.pruning import Pruner

log = logging.getLogger(__name__)

_BREATH_SECONDS = 0.5
"""What comes in is collected for so long before it is looked at."""


class Judge(Protocol):
    """What the scheduler asks of the live agent."""

    def tick(self) -> list[CycleInfo]:
        """Judge everything that can be judged now."""
        ...

    def status(self) -> LiveStatus:
        """Return how it stands."""
        ...


@dataclass(frozen=True, slots=True)
class SchedulerFacts:
    """How the scheduler stands.

    last_tick
        when the agent last looked without an error, by its clock; ``last_tick_at`` by a monotonic
        one, in seconds. None = not yet.
    seconds
        that the last look took; ``cycle_seconds`` the last one that judged something.
    cycles, revisions
        judged since the start, and how many of them were batches that were opened again.
    failures
        errors since a look last went well.
    status
        how the agent stood after the last look.
    """

    ticks: int = 0
    last_tick: datetime | None = None
    last_tick_at: float | None = None
    seconds: float = 0.0
    cycle_seconds: float = 0.0
    cycles: int = 0
    revisions: int = 0
    failures: int = 0
    errors: int = 0
    last_error: str = ""
    status: LiveStatus | None = None

    @property
    def leads(self) -> bool:
        """Whether this instance has the right to decide."""
        return self.status is not None and self.status.leads


class Scheduler:
    """Has the agent look for batches, in a thread.

    Parameters
    ----------
    every
        time between two looks; `poke` asks for one at once.
    pruner
        what is forgotten after a look of the leader; None = nothing.
    judged
        called after a look that judged something, or gained the right to decide.
    """

    def __init__(
        self,
        live: Judge,
        clock: Clock,
        every: timedelta,
        *,
        pruner: Pruner | None = None,
        judged: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._live, self._clock, self._pruner = live, clock, pruner
        self._every, self._judged = every.total_seconds(), tuple(judged)
        # The lease is renewed by looking: also while looking fails, it must not run out.
        self._loop = Loop(
            "scheduler", self._step, longest=max(self._every, 1.0), breath=_BREATH_SECONDS
        )
        self._facts = SchedulerFacts()
        self._busy = Lock()

    @property
    def facts(self) -> SchedulerFacts:
        """How it stands."""
        return self._facts

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._loop.alive

    @property
    def leads(self) -> bool:
        """Whether this instance had the right to decide when it last looked."""
        return self._facts.leads

    def tick(self) -> list[CycleInfo]:
        """Look now, in the caller's thread; return the heads of the cycles that were judged.

        Raises
        ------
        StoreError, SourceError
            Nothing changed; the thread looks again anyway.
        """
        with self._busy:
            begun = perf_counter()
            try:
                infos = self._live.tick()
                status = self._live.status()
            except Exception as error:
                self._failed(error)
                raise
            gained = status.leads and not self.leads
            self._went_well(infos, status, perf_counter() - begun)
        for tell in self._judged if infos or gained else ():
            tell()
        return infos

    def poke(self) -> None:
        """Have the thread look now."""
        self._loop.poke()

    def nudge(self) -> None:
        """Have the thread look soon: something came in, and more may come."""
        self._loop.nudge()

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def stop(self, timeout: float | None = None) -> bool:
        """End the thread after the look that runs; False = that takes longer."""
        self._loop.stop()
        return self._loop.join(timeout)

    def _step(self) -> float:
        before = self._facts.status
        for info in self.tick():
            log.info("%s", _told(info))
        status = self._facts.status
        if status is not None and (before is None or before.leads != status.leads):
            log.info("this instance judges" if status.leads else "another instance judges")
        if self._pruner is not None and status is not None and status.leads:
            self._pruner.prune(status, self._clock.now())
        return self._every

    def _went_well(self, infos: list[CycleInfo], status: LiveStatus, seconds: float) -> None:
        facts = self._facts
        self._facts = replace(
            facts,
            ticks=facts.ticks + 1,
            last_tick=self._clock.now(),
            last_tick_at=monotonic(),
            seconds=seconds,
            cycle_seconds=seconds if infos else facts.cycle_seconds,
            cycles=facts.cycles + len(infos),
            revisions=facts.revisions + sum(info.revision > 0 for info in infos),
            failures=0,
            status=status,
        )

    def _failed(self, error: Exception) -> None:
        facts = self._facts
        told = str(error) if isinstance(error, MlmaError) else f"{type(error).__name__}: {error}"
        self._facts = replace(
            facts, failures=facts.failures + 1, errors=facts.errors + 1, last_error=told
        )


def _told(info: CycleInfo) -> str:
    """Return what a cycle did, in words: all but what is as it should be."""
    again = f" again (revision {info.revision})" if info.revision else ""
    quiet = {"healthy", "keep"}
    counts = [
        f"{count} {name}"
        for kind in ("verdicts", "decisions")
        for name, count in info.summary.get(kind, {}).items()
        if count and name not in quiet
    ]
    news = f": {', '.join(counts)}" if counts else ""
    return f"cycle {info.cycle} judged {info.streams} streams{again}, {info.closed}{news}"
