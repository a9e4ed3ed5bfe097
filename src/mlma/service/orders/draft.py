"""Drafts: an order, looked at: whom it concerns, what it changes, what would be written.

Takes what is known when it is looked at, gives what a dry run shows and what carrying it out
writes. Next is `mlma.service.engineering`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from mlma.agent.standing import Hold, Standing
from mlma.domain.incidents import Incident
from mlma.domain.ledger import Action, CycleInfo, OpenRequest
from mlma.domain.live import LiveSettings
from mlma.domain.orders import Order
from mlma.domain.periods import Periods, moment_of
from mlma.domain.requests import RetrainingRequest
from mlma.ports.store import Store
from mlma.service.orders.roster import Fleet

MOST_CHANGES = 200
"""Changes that a dry run tells one by one."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that an order changes; ``cycle`` is None where it is no matter of a batch."""

    unique_id: str
    cycle: int | None
    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What an order would do.

    streams
        whom it concerns.
    changes, total
        the first `MOST_CHANGES` of all changes, and how many there are.
    counts
        of what, in words.
    warnings
        what needs a second look.
    after
        number of the last order that was known: hand it to `EngineersDesk.carry_out`.
    """

    order: Order
    streams: tuple[str, ...]
    changes: tuple[Change, ...]
    total: int
    counts: Mapping[str, int]
    warnings: tuple[str, ...]
    sentence: str
    after: int

    def plain(self) -> dict[str, Any]:
        """Return it in plain values, for JSON; of the streams the first ones."""
        return {
            "kind": self.order.kind,
            "sentence": self.sentence,
            "streams": len(self.streams),
            "unique_ids": list(self.streams[:MOST_CHANGES]),
            "changes": [asdict(one) for one in self.changes],
            "total": self.total,
            "counts": dict(self.counts),
            "warnings": list(self.warnings),
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class Draft:
    """An order as it would be written.

    named
        whether the streams are written down with the action.
    payload
        what stands with the action beside the order and its streams.
    requested, withdrawn, incidents
        what is written with the action.
    cycle
        of an action that needs no carrying out: the newest cycle.
    """

    sentence: str
    streams: tuple[str, ...] = ()
    named: bool = True
    changes: Sequence[Change] = ()
    total: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    payload: Mapping[str, Any] = field(default_factory=dict)
    requested: tuple[RetrainingRequest, ...] = ()
    withdrawn: tuple[str, ...] = ()
    incidents: tuple[Incident, ...] = ()
    cycle: int | None = None

    def rehearsal(self, order: Order, after: int) -> Rehearsal:
        """Return what a dry run shows of it."""
        return Rehearsal(
            order=order,
            streams=self.streams,
            changes=tuple(self.changes[:MOST_CHANGES]),
            total=len(self.changes) if self.total is None else self.total,
            counts=self.counts,
            warnings=self.warnings,
            sentence=self.sentence,
            after=after,
        )


@dataclass(frozen=True)
class Known:
    """What is known when an order is looked at; read once, and only what is asked for.

    actions
        orders that are recorded, by number; those of trainers and tags are not among them.
    by
        who gives the order.
    trains
        whether the agent has a trainer of its own.
    reads
        whether rows can be read where they lie.
    dry
        whether what would change is told; else only what is written.
    """

    store: Store
    settings: LiveSettings
    fleet: Fleet
    actions: Sequence[Action]
    standing: Standing
    now: datetime
    by: str
    trains: bool
    reads: bool
    dry: bool

    @property
    def periods(self) -> Periods:
        """The grid of batches."""
        return self.settings.periods

    @property
    def newest(self) -> int:
        """Number of the last order; 0 = there is none."""
        return self.actions[-1].number if self.actions else 0

    @cached_property
    def heads(self) -> tuple[CycleInfo, ...]:
        """The newest heads of all cycles, by number."""
        return tuple(self.store.cycles())

    @property
    def cycle(self) -> int:
        """Number of the newest cycle; 0 = there is none."""
        return self.heads[-1].cycle if self.heads else 0

    @cached_property
    def open_requests(self) -> dict[str, OpenRequest]:
        """Requests that have no answer yet, by stream."""
        outstanding = self.store.requests(status=("open", "claimed"))
        return {one.request.unique_id: one for _, one in outstanding}

    def span(self, head: CycleInfo) -> tuple[datetime, datetime]:
        """Return the first moment of a cycle's batch, and the first one after it."""
        begins, ends = self.periods.start(head.period), self.periods.end(head.period)
        return moment_of(begins), moment_of(ends)

    def judged(self, begins: datetime, ends: datetime) -> tuple[CycleInfo, ...]:
        """Return the cycles whose batches a span touches."""
        spans = [(head, *self.span(head)) for head in self.heads]
        return tuple(head for head, first, last in spans if first < ends and begins < last)

    def held(self, holds: Mapping[str, Hold], names: Sequence[str]) -> tuple[str, ...]:
        """Return which streams are held now."""
        found = [(name, holds[name].until) for name in names if name in holds]
        return tuple(name for name, until in found if until is None or until > self.now)

    def action(self, number: int) -> Action | None:
        """Return a recorded order; None = there is none of this number."""
        return next((one for one in self.actions if one.number == number), None)


def streams_text(n: int) -> str:
    """Return a number of streams in words.

    >>> streams_text(1), streams_text(12000)
    ('1 stream', '12,000 streams')
    """
    return "1 stream" if n == 1 else f"{n:,} streams"


def also(n: int, what: str) -> str:
    """Return a further clause of a sentence; empty where it concerns nobody.

    >>> also(4, "frozen already")
    '; 4 are frozen already'
    """
    return f"; {n:,} {'is' if n == 1 else 'are'} {what}" if n else ""


def when(moment: datetime) -> str:
    """Return a moment as sentences tell it."""
    return moment.strftime("%Y-%m-%d %H:%M %Z").strip()


def told(action: Action) -> str:
    """Return an action in words: its number, kind and author.

    >>> from datetime import UTC
    >>> told(Action("freeze", {}, datetime(2025, 3, 1, tzinfo=UTC), "user:ann", number=7))
    'action 7 (freeze by user:ann, 2025-03-01 00:00 UTC)'
    """
    who = f" by {action.by}" if action.by else ""
    return f"action {action.number} ({action.kind}{who}, {when(action.at)})"
