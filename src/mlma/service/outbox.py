"""`OutboxWorker`: events of the agent reach those who asked for them, at least once.

Takes deliveries that are due from the store, posts each to its target, writes what became of it.
Each target has a lane of its own, so that a slow one holds up nobody else.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Protocol, runtime_checkable

from mlma.adapters.notify.sender import Trouble, pause_seconds
from mlma.domain.errors import StoreError
from mlma.domain.ledger import Delivery, Event
from mlma.ports import Clock, Store
from mlma.service.loops import Loop, stopped

log = logging.getLogger(__name__)

_A_LOOK = 256
_LONGEST_LOOK = 4_096
_A_LANE = 32
_LOST_PAUSE_SECONDS = 3600.0
_QUIET = "waits until the quiet hours are over"


class Target(Protocol):
    """Where events go."""

    def wants(self, kind: str) -> bool:
        """Return whether events of a kind are sent there."""
        ...

    def deliver(self, event: Event, attempt: int) -> Trouble | None:
        """Post an event once; None = it has arrived."""
        ...


@runtime_checkable
class Choosy(Target, Protocol):
    """A target that looks at each event before it is sent."""

    def leaves_out(self, event: Event) -> str:
        """Return why an event is not sent there; empty = it is."""
        ...

    def not_before(self, event: Event, now: datetime) -> datetime | None:
        """Return until when an event waits; None = it can be sent."""
        ...


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and when a delivery is tried again.

    first, longest
        seconds of the pause after one failure and after many: they double, less a share of up to a
        half. ``Retry-After`` lengthens a pause, to an hour at most.
    attempts
        after so many a delivery is given up, whatever the reason: four days at an hour's pause.
        So are those that wait behind it once they are older than ``patience``.
    refusals
        after so many where the receiver was reached and refuses the message.
    """

    first: float = 1.0
    longest: float = 3600.0
    attempts: int = 100
    refusals: int = 5
    patience: timedelta = timedelta(days=4)


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """How deliveries to one target stand; counts are since the start."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    failures: int = 0
    last_error: str = ""


class _Lane:
    """Deliveries to one target, one after the other."""

    def __init__(
        self,
        name: str,
        target: Target,
        store: Store,
        *,
        clock: Clock,
        retries: Retries,
        free: Callable[[], None],
    ) -> None:
        self.name, self.facts = name, LaneFacts()
        self._target, self._store, self._clock, self._retries = target, store, clock, retries
        self._free = free
        self._load: list[Delivery] = []
        self._until = 0.0
        self.loop = Loop(f"outbox-{name}", self._step)

    @property
    def ready(self) -> bool:
        """Whether it takes deliveries: it has none, and its target is not to be left alone."""
        return not self._load and self.pause_seconds <= 0

    @property
    def pause_seconds(self) -> float:
        """Seconds for which the target is left alone."""
        return self._until - monotonic()

    def give(self, load: list[Delivery]) -> None:
        """Have some deliveries sent."""
        self._load = load
        self.loop.poke()

    def _step(self) -> None:
        try:
            for delivery in self._load:
                if self.loop.stopping or self.pause_seconds > 0:
                    break
                self._send(delivery)
        finally:
            self._load = []  # what was not written down is due still
            self._free()

    def _send(self, delivery: Delivery) -> None:
        held = self._held(delivery)
        if held is not None:
            self._store.told(held)
            return
        trouble = self._tried(delivery)
        delivery = replace(delivery, attempts=delivery.attempts + 1)
        if trouble is None:
            self._note(delivered=1, failures=-self.facts.failures)
            self._store.told(replace(delivery, status="delivered", next_at=None, error=""))
            return
        self._store.told(self._failed(delivery, trouble))

    def _held(self, delivery: Delivery) -> Delivery | None:
        """Return the delivery if it is left out, or waits; None = it is to be sent now."""
        event, target = delivery.event, self._target
        if not target.wants(event.kind):
            setting = (
                "when` of the alert" if isinstance(target, Choosy) else "events` of the webhook"
            )
            why = f"`{setting} has no `{event.kind}`"
            return replace(delivery, status="delivered", next_at=None, error=f"left out: {why}")
        if not isinstance(target, Choosy):
            return None
        try:
            why, later = target.leaves_out(event), target.not_before(event, self._clock.now())
        except StoreError:
            raise  # of all events: the lane tries again
        except Exception as error:
            log.exception("event %s for %s", event.id, self.name)
            why = f"it cannot be read: {type(error).__name__}"
            return replace(delivery, status="given_up", next_at=None, error=why)
        if why:
            return replace(delivery, status="delivered", next_at=None, error=f"left out: {why}")
        return None if later is None else replace(delivery, next_at=later, error=_QUIET)

    def _tried(self, delivery: Delivery) -> Trouble | None:
        try:
            return self._target.deliver(delivery.event, delivery.attempts)
        except Exception as error:  # of this event: it must not hold up those behind it
            log.exception("event %s for %s", delivery.event.id, self.name)
            return Trouble(f"it cannot be sent: {type(error).__name__} {error}")

    def _failed(self, delivery: Delivery, trouble: Trouble) -> Delivery:
        """Return the delivery with what became of it; leave the target alone where it is down."""
        key = delivery.event.id
        self._note(failed=1, failures=int(trouble.again), last_error=trouble.why)
        log.warning(
            "event %s for %s: %s (attempt %d)", key, self.name, trouble.why, delivery.attempts
        )
        if self._hopeless(delivery, trouble):
            self._note(given_up=1)
            return replace(delivery, status="given_up", next_at=None, error=trouble.why)
        pause = self._pause(delivery, trouble)
        if trouble.again:
            self._until = monotonic() + pause
        at = self._clock.now() + timedelta(seconds=pause)
        return replace(delivery, next_at=at, error=trouble.why)

    def _hopeless(self, delivery: Delivery, trouble: Trouble) -> bool:
        retries = self._retries
        if not trouble.again:
            return delivery.attempts >= retries.refusals
        if delivery.attempts >= retries.attempts:
            return True
        age = self._clock.now() - delivery.event.at
        return self.facts.failures > retries.attempts and age > retries.patience

    def _pause(self, delivery: Delivery, trouble: Trouble) -> float:
        """Return the seconds before the next attempt: by the target's record, or the event's."""
        retries = self._retries
        failures = self.facts.failures if trouble.again else delivery.attempts
        pause = pause_seconds(delivery.event.id, failures - 1, retries.first, retries.longest)
        return max(pause, trouble.wait_seconds)

    def _note(self, *, last_error: str = "", **more: int) -> None:
        facts = self.facts
        changes = {name: getattr(facts, name) + value for name, value in more.items()}
        self.facts = replace(facts, **changes, last_error=last_error or facts.last_error)


class OutboxWorker:
    """Delivers events of the store to targets, in threads.

    Parameters
    ----------
    targets
        by the names that stand in the outbox. A delivery to a name that is not there waits, an
        hour at a time.
    clock
        of the world, also where the agent's is simulated: receivers have their own time.
    every
        seconds between two looks; `poke` asks for one at once.
    active
        returns a token while this instance delivers, None while another one does.

    Events reach a target in their order unless an attempt fails: then later ones may overtake. An
    event arrives twice where this process ends between its arrival and its being written down; it
    has the same id then.
    """

    def __init__(
        self,
        store: Store,
        targets: Mapping[str, Target],
        clock: Clock,
        *,
        retries: Retries | None = None,
        every: float = 5.0,
        active: Callable[[], int | None] = lambda: 0,
    ) -> None:
        self._store, self._clock, self._every, self._active = store, clock, every, active
        retries = retries or Retries()
        self._loop = Loop("outbox", self._step)
        self._lanes = {
            name: _Lane(name, target, store, clock=clock, retries=retries, free=self._loop.poke)
            for name, target in targets.items()
        }

    @property
    def facts(self) -> dict[str, LaneFacts]:
        """How deliveries stand, by target."""
        return {name: lane.facts for name, lane in self._lanes.items()}

    @property
    def alive(self) -> bool:
        """Whether its threads run."""
        return self._loop.alive and all(lane.loop.alive for lane in self._lanes.values())

    def poke(self) -> None:
        """Have it look soon: there are new events."""
        self._loop.poke()

    def start(self) -> None:
        """Start the threads."""
        for lane in self._lanes.values():
            lane.loop.start()
        self._loop.start()

    def stop(self, timeout: float | None = None) -> bool:
        """End the threads after the attempts that run; False = that takes longer."""
        return stopped([self._loop, *(lane.loop for lane in self._lanes.values())], timeout)

    def _step(self) -> float:
        if self._active() is None:
            return self._every
        for name, due in self._due().items():
            if name in self._lanes:
                self._lanes[name].give(due[:_A_LANE])
            else:
                self._postpone(name, due)
        pauses = [lane.pause_seconds for lane in self._lanes.values()]
        return min([self._every, *(pause for pause in pauses if pause > 0)])

    def _due(self) -> dict[str, list[Delivery]]:
        """Return what is due, by target, without targets that have enough to do.

        Where these fill a look, it looks further: a target that is down does not hide the others.
        """
        limit = _A_LOOK
        busy = {name for name, lane in self._lanes.items() if not lane.ready}
        while True:
            due = self._store.due(self._clock.now(), limit)
            wanted = [one for one in due if one.target not in busy]
            if wanted or len(due) < limit or limit >= _LONGEST_LOOK:
                return _by_target(wanted)
            limit *= 4

    def _postpone(self, name: str, due: Sequence[Delivery]) -> None:
        log.warning(
            "%d events are for %s, which is no webhook or alert of the settings", len(due), name
        )
        at = self._clock.now() + timedelta(seconds=_LOST_PAUSE_SECONDS)
        for one in due:
            self._store.told(replace(one, next_at=at, error="no webhook or alert has this name"))


def _by_target(deliveries: Sequence[Delivery]) -> dict[str, list[Delivery]]:
    found: dict[str, list[Delivery]] = defaultdict(list)
    for one in deliveries:
        found[one.target].append(one)
    return found
