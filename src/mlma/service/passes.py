"""One pass: everything that can be done now is done once, for cron and for schedulers of jobs.

Takes a service that was built and not started: rows that wait in topics come in, batches are
judged, requested fits run, messages are sent. Gives what was done and what the next batch waits
for.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic, sleep

from mlma.domain.ledger import CycleInfo
from mlma.domain.live import LiveStatus
from mlma.service.bootstrap import Service
from mlma.service.ground import lay_ground
from mlma.service.pruning import Pruner
from mlma.service.tagging import record_tags

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.05
_MOST_DUE = 16_384


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a pass waits, in seconds.

    join
        a topic of which no partition was assigned for so long has other readers, or none.
    quiet
        a topic from which nothing came for so long is empty.
    idle
        fits or deliveries that make no progress for so long, beyond the time limit of a fit, are
        left to the next pass.
    """

    join: float = 20.0
    quiet: float = 5.0
    idle: float = 60.0


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass did.

    status
        how the agent stood at its end; ``leads`` False = another instance judges, and this one did
        nothing.
    open_requests, waiting
        what is left for later: requests for re-training, messages.
    """

    cycles: tuple[CycleInfo, ...]
    status: LiveStatus
    delivered: int = 0
    open_requests: int = 0
    waiting: int = 0


@dataclass(slots=True)
class OnePass:
    """Does all that can be done now, once."""

    service: Service
    patience: Patience = field(default_factory=Patience)
    _done: list[CycleInfo] = field(default_factory=list)

    def made(self) -> Pass:
        """Make the pass.

        Raises
        ------
        StoreError, SourceError
            Cycles that were judged before stay; the next pass goes on.
        """
        service = self.service
        lay_ground(service.settings, service.store)
        record_tags(service.settings.streams.tags, service.store, service.live)
        self._consume()
        self._judge()
        status = service.live.status()
        if status.leads:
            self._prune(status)
            self._deliver()
        return Pass(
            cycles=tuple(self._done),
            status=status,
            delivered=sum(lane.delivered for lane in service.outbox.facts.values()),
            open_requests=len(service.store.requests(status=("open", "claimed"))),
            waiting=len(service.store.deliveries(status=("waiting",))),
        )

    def _consume(self) -> None:
        """Take what waits in topics."""
        for feed in self.service.feeds:
            feed.start()
        if self.service.feeds:
            self._until(self._joined, lambda: None, self.patience.join)
            self._until(
                lambda: False,
                lambda: [feed.facts.polls for feed in self.service.feeds],
                self.patience.quiet,
            )

    def _joined(self) -> bool:
        """Return whether each topic has given partitions to its reader."""
        return all(getattr(one.feed, "partitions", True) for one in self.service.feeds)

    def _judge(self) -> None:
        """Judge all batches that can be judged; where fits are asked for, wait for them."""
        trainer = self.service.trainer
        while self._tick() and trainer is not None and self._fits_open():
            trainer.start()  # harmless if it runs
            trainer.poke()
            if not self._until(
                lambda: not self._fits_open(), lambda: trainer.facts, self._fit_seconds()
            ):
                log.warning("fits made no progress and are left to the next pass")
                break

    def _tick(self) -> bool:
        """Judge; return whether this instance leads."""
        self._done += self.service.scheduler.tick()
        return self.service.scheduler.leads

    def _fits_open(self) -> bool:
        return bool(self.service.store.requests(status=("open", "claimed"), limit=1))

    def _fit_seconds(self) -> float:
        limit = self.service.settings.retraining.time_limit
        return float("inf") if limit is None else limit.total_seconds() + self.patience.idle

    def _prune(self, status: LiveStatus) -> None:
        service = self.service
        pruner = Pruner(service.store, service.periods, service.retention)
        pruner.prune(status, service.clock.now())

    def _deliver(self) -> None:
        """Send what is due, once; a target that does not answer is left to the next pass."""
        outbox = self.service.outbox
        outbox.start()
        outbox.poke()
        self._until(lambda: not self._due(), lambda: outbox.facts, self.patience.idle)

    def _due(self) -> bool:
        """Return whether messages are due whose targets have answered so far."""
        lanes = self.service.outbox.facts
        there = self.service.store.due(datetime.now(UTC), _MOST_DUE)
        return any(one.target in lanes and not lanes[one.target].failures for one in there)

    def _until(
        self, done: Callable[[], bool], progress: Callable[[], object], seconds: float
    ) -> bool:
        """Wait, and keep the lease; return whether it was done before progress ended."""
        seen, at, renewed = progress(), monotonic(), monotonic()
        every = self.service.settings.scheduler.every.total_seconds()
        while not done():
            sleep(_LOOK_SECONDS)
            now, state = monotonic(), progress()
            if state != seen:
                seen, at = state, now
            if now - at > seconds:
                return False
            if now - renewed > every and self.service.scheduler.leads:
                renewed = now
                if not self._tick():
                    return False  # another instance judges now
        return True
