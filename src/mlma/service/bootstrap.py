"""Settings become a service: store, clock, agent and threads, wired.

Takes `mlma.service.settings.Settings`, gives a `Service` that is started and stopped. This is the
one place that knows both the agent and the adapters.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlma.domain.inbox import Kind, NamedRows
from mlma.domain.live import LiveSettings
from mlma.domain.periods import Periods, instant_of
from mlma.ports import Clock, Feed, Store
from mlma.ports.sources import RowSource
from mlma.service.alerts import alert_targets
from mlma.service.engineering import EngineersDesk
from mlma.service.entries import SourceTable, WebhookTable
from mlma.service.feeds import FeedWorker
from mlma.service.ground import check_ground, lay_ground
from mlma.service.ingest import Ingestor
from mlma.service.keys import KeyRing
from mlma.service.lab import Lab
from mlma.service.outbox import OutboxWorker, Target
from mlma.service.pruning import Pruner, Retention
from mlma.service.pulled import PulledSource
from mlma.service.scheduler import Scheduler
from mlma.service.settings import Settings
from mlma.service.streams import StreamRows
from mlma.service.tagging import record_tags
from mlma.service.trainer import Trainer

if TYPE_CHECKING:
    from mlma.adapters.frames.rows import Door
    from mlma.adapters.notify.events import EventTarget
    from mlma.agent.live import LiveAgent

log = logging.getLogger(__name__)

STOP_SECONDS = 30.0


@dataclass(slots=True)
class Service:
    """A live agent and its threads.

    registry
        the streams by name, shared by all that write rows.
    trainer
        None where others train.
    """

    settings: Settings
    store: Store
    clock: Clock
    live: "LiveAgent"
    registry: StreamRows
    ingestor: Ingestor
    feeds: list[FeedWorker]
    outbox: OutboxWorker
    trainer: Trainer | None
    scheduler: Scheduler
    retention: Retention
    keys: KeyRing
    engineering: EngineersDesk
    lab: Lab
    _stopped: bool = field(default=False, repr=False)

    @property
    def periods(self) -> Periods:
        """The grid of batches and slots."""
        return self.live.settings.periods

    @property
    def alive(self) -> bool:
        """Whether all threads run that were started."""
        trainer = self.trainer is None or self.trainer.alive
        feeds = all(feed.alive for feed in self.feeds)
        return self.scheduler.alive and self.outbox.alive and trainer and feeds

    def oldest(self) -> int:
        """Return the number of the oldest period whose rows are still taken."""
        return self.retention.oldest(self.periods, self.clock.now())

    def door(self) -> "Door":
        """Return what may come in now, and what its columns are called."""
        return _door(self.periods, self.clock, self.oldest())

    def poke(self) -> None:
        """Have the agent look soon: something came in, or the clock was set."""
        self.scheduler.poke()

    def start(self) -> None:
        """Start the threads."""
        lay_ground(self.settings, self.store)
        record_tags(self.settings.streams.tags, self.store, self.live)
        self.outbox.start()
        if self.trainer is not None:
            self.trainer.start()
        self.scheduler.start()
        self.lab.begin()
        for feed in self.feeds:
            feed.start()

    def stop(self, timeout: float = STOP_SECONDS) -> bool:
        """Take nothing more, store what came, finish what runs, give lease and store back.

        False = something did not end within ``timeout`` seconds and was left behind; it has
        changed nothing, and is done again after the next start.
        """
        if self._stopped:
            return True
        self._stopped = True
        until = monotonic() + timeout

        def left() -> float:
            return max(until - monotonic(), 0.1)

        for feed in self.feeds:
            feed.end()
        ended = [_ended(name, part) for name, part in self._parts(left, timeout)]
        return all(ended)

    def _parts(
        self, left: Callable[[], float], timeout: float
    ) -> Iterator[tuple[str, Callable[[], bool | None]]]:
        """Yield what ends, in this order; ``left`` tells the seconds that are left."""
        for feed in self.feeds:
            yield feed.feed.name, lambda feed=feed: feed.stop(left())  # type: ignore[misc]
        yield "ingestor", lambda: self.ingestor.close(left())
        yield "scheduler", lambda: self.scheduler.stop(left())
        trainer = self.trainer
        if trainer is not None:
            # Fits may take long, and are carried out again: they get a third of the time.
            yield "trainer", lambda: trainer.stop(min(left(), timeout / 3))
        yield "lab", lambda: self.lab.close(left())
        yield "outbox", lambda: self.outbox.stop(left())
        yield "lease", self.live.surrender
        yield "store", self.store.close

    def __enter__(self) -> "Service":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def build(settings: Settings, *, holder: str | None = None) -> Service:
    """Return the service that settings describe; nothing runs before it is started.

    Parameters
    ----------
    holder
        name of this instance; None = host, process and a random part.

    Raises
    ------
    SettingsError
        Something in the settings cannot be, or does not fit what the store holds.
    StoreError, SchemaError
        The store cannot be opened.
    MissingExtraError
        A library that the settings call for is not installed.
    """
    from mlma.adapters.store import open_store

    settings.live()  # before anything is opened
    store = open_store(settings.store.url.get_secret_value())
    try:
        check_ground(settings, store)
        return _wired(settings, store, holder or instance_name())
    except BaseException:
        store.close()
        raise


def instance_name() -> str:
    """Return a name that no other instance has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:6]}"


def _wired(settings: Settings, store: Store, holder: str) -> Service:
    from mlma.agent.live import LiveAgent

    live_settings, clock, kept = settings.live(), _clock(settings, store), settings.retention
    periods = live_settings.periods
    retention = Retention.of(live_settings, kept.superseded, kept.snapshots)
    registry = StreamRows(store, unknown=settings.streams.unknown, max_streams=settings.streams.max)
    pulled, fed = _sources(settings, registry, periods, clock, store)
    live = LiveAgent(
        live_settings,
        store,
        clock,
        sources=pulled,
        holder=holder,
        start=settings.start(),
        lease=settings.scheduler.lease,
    )
    right = Right(store, holder)
    outbox = _outbox(settings, store, right)
    trainer = _trainer(settings, store, live, right)
    scheduler = Scheduler(
        live,
        clock,
        settings.scheduler.every,
        pruner=Pruner(store, periods, retention),
        judged=[one.poke for one in (outbox, trainer) if one is not None],
    )
    if trainer is not None:
        trainer.finished = scheduler.poke
    ingestor = Ingestor(
        store,
        periods,
        registry=registry,
        queue_rows=2 * settings.server.max_rows,
        stored=scheduler.nudge,
    )
    return Service(
        settings=settings,
        store=store,
        clock=clock,
        live=live,
        registry=registry,
        ingestor=ingestor,
        feeds=[
            FeedWorker(
                feed,
                store,
                registry,
                periods,
                read=_reader(feed.kind, periods, clock),
                oldest=lambda: retention.oldest(periods, clock.now()),
                stored=scheduler.nudge,
            )
            for feed in fed
        ],
        outbox=outbox,
        trainer=trainer,
        scheduler=scheduler,
        retention=retention,
        keys=KeyRing(settings.keys),
        engineering=EngineersDesk(
            store,
            live,
            clock,
            trains=trainer is not None,
            reads=bool(pulled),
            poke=scheduler.poke,
        ),
        lab=_lab(settings, store, live_settings, right),
    )


def _outbox(settings: Settings, store: Store, right: "Right") -> OutboxWorker:
    from mlma.adapters.sources.clocks import WallClock

    targets: dict[str, Target] = {hook.name: target_of(hook) for hook in settings.webhooks}
    targets |= alert_targets(settings, store)
    return OutboxWorker(store, targets, WallClock(), active=right.token)


def _lab(settings: Settings, store: Store, live: LiveSettings, right: "Right") -> Lab:
    return Lab(
        store,
        settings.store.url.get_secret_value(),
        live,
        settings.labour.model(),
        active=lambda: right.token() is not None,
    )


@dataclass(frozen=True, slots=True)
class Right:
    """The right to decide, as far as it is this instance's."""

    store: Store
    holder: str

    def token(self) -> int | None:
        """Return the token of the lease; None = it is not this instance's.

        As long as nobody else took it, it may have expired: a cycle may last longer than a lease.
        """
        lease = self.store.lease()
        return lease.token if lease is not None and lease.holder == self.holder else None


def _clock(settings: Settings, store: Store) -> Clock:
    from mlma.adapters.sources.clocks import SimulatedClock, WallClock

    return SimulatedClock(store) if settings.clock.kind == "simulated" else WallClock()


def target_of(webhook: WebhookTable) -> "EventTarget":
    """Return the target that an entry of [[webhooks]] describes."""
    from mlma.adapters.notify.events import EventTarget

    return EventTarget(
        webhook.name,
        webhook.url.get_secret_value(),
        events=webhook.events,
        secret=None if webhook.secret is None else webhook.secret.get_secret_value(),
        allow_private=webhook.allow_private,
    )


def _trainer(settings: Settings, store: Store, live: "LiveAgent", right: Right) -> Trainer | None:
    table = settings.retraining
    if not table.function:
        return None
    limit = None if table.time_limit is None else table.time_limit.total_seconds()
    return Trainer(
        store,
        live,
        table.function,
        table.executor,
        limit,
        restore=table.restore,
        active=right.token,
    )


def _sources(
    settings: Settings, registry: StreamRows, periods: Periods, clock: Clock, store: Store
) -> tuple[list[RowSource], list[Feed]]:
    """Return the sources that are asked and the feeds that are consumed."""
    from mlma.adapters.sources.registry import source_from
    from mlma.adapters.sources.topic import TopicFeed

    pulled: list[RowSource] = []
    fed: list[Feed] = []
    for number, table in enumerate(settings.sources, start=1):
        made = source_from(_keys_of(table, number), zone=periods.zone, offsets=store.offsets)
        if isinstance(made, TopicFeed):
            fed.append(made)
            continue
        read = _reader(made.kind, periods, clock)
        pulled.append(PulledSource(made, registry, periods, read=read))
    return pulled, fed


def _keys_of(table: SourceTable, number: int) -> dict[str, Any]:
    """Return the keys of a table in plain values, with a name of its own if it has none."""
    return {"name": f"source {number} ({table.kind}, {table.rows})", **table.mapping()}


def _reader(kind: Kind, periods: Periods, clock: Clock) -> Callable[[Any], NamedRows]:
    """Return what reads the frames of a source: bad rows are counted and left out."""
    from mlma.adapters.frames.rows import named_rows

    def read(frame: Any) -> NamedRows:
        return named_rows(frame, kind, _door(periods, clock), strict=False)

    return read


def _door(periods: Periods, clock: Clock, oldest: int | None = None) -> "Door":
    """Return what may come in; a simulated clock that is behind the world refuses nothing."""
    from mlma.adapters.frames.rows import Door

    now = max(clock.now(), datetime.now(UTC) - timedelta(seconds=1))
    since = None if oldest is None else periods.start(oldest)
    return Door(periods, instant_of(now), oldest=since)


def _ended(name: str, step: Callable[[], bool | None]) -> bool:
    """Return whether a part ended in time; an error of one does not keep the others."""
    try:
        ended = step() is not False
    except Exception:
        log.exception("the %s did not stop as it should", name)
        return False
    if not ended:
        log.warning("the %s did not stop in time and was left behind", name)
    return ended
