"""Port of the store: streams, inbox, ledger, state, requests, incidents, outbox, lease of an agent.

One contract suite holds every store to what stands here (`tests/contracts`). All calls may come
from any thread. A call that writes is one transaction: when it returns, what it wrote survives the
loss of power; when it raises, nothing of it is there.

Every call raises ``StoreError`` where the store cannot be reached, is full, or refuses.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlma.domain.inbox import Kind, Parcel
from mlma.domain.incidents import Incident
from mlma.domain.lab import LabRun
from mlma.domain.ledger import (
    Action,
    Commit,
    CycleInfo,
    Decided,
    Delivery,
    Event,
    Lease,
    OpenRequest,
    Snapshot,
)
from mlma.domain.requests import RetrainingRequest

Ints = NDArray[np.int64]


class Registry(Protocol):
    """The streams, and the actions and tags that concern them."""

    def streams(self, start: int = 0) -> list[str]:
        """Return the names of the streams from row ``start`` on, in the order of their rows."""
        ...

    def register(self, names: Sequence[str]) -> int:
        """Give new streams the next rows; return how many streams there are now.

        Names that are there already are left alone: another instance may have been first.
        """
        ...

    def act(
        self,
        actions: Sequence[Action],
        *,
        finished: Mapping[str, str] | None = None,
        requested: Sequence[RetrainingRequest] = (),
        withdrawn: Sequence[str] = (),
        incidents: Sequence[Incident] = (),
        after: int | None = None,
        events: Sequence[Event] = (),
        targets: Sequence[str] = (),
    ) -> int:
        """Record actions; return the number of the last one. All in one transaction.

        ``finished`` maps ids of requests to ``done`` or ``failed``. An id that is not open or
        claimed any more raises ``ConflictError``. ``requested`` are new requests, ``withdrawn``
        ids of open ones that are not wanted any more. ``incidents`` replace those of the same id;
        their ``changed`` says what is there now: where it is another number, somebody was first and
        it raises ``ConflictError``; it becomes the number of the last of these actions. ``after``
        is the number of the last action that was known: where there is a later one of an engineer
        (not one about an incident), it raises ``ConflictError``; None = it does not matter.
        """
        ...

    def actions(
        self,
        *,
        pending: bool = False,
        kind: str | Collection[str] | None = None,
        cycles: tuple[int, int] | None = None,
        start: int = 1,
        limit: int | None = None,
    ) -> list[Action]:
        """Return actions from number ``start`` on, by number.

        ``pending``: not carried out yet; ``cycles``: carried out before one of these cycles, first
        and last; ``kind``: of this kind, or one of these.
        """
        ...


class Inbox(Protocol):
    """Rows that wait until their batch is judged."""

    def accept(self, parcels: Sequence[Parcel], *, offsets: Mapping[str, str] | None = None) -> int:
        """Store parcels; return the number of the last parcel of the store.

        Numbers grow in the order of commits, across instances: who has seen number 7 will never
        find a new number 6. ``offsets`` (of a topic, say) are stored in the same transaction.
        """
        ...

    def parcels(self, kind: Kind, period: int, *, after: int = 0) -> list[Parcel]:
        """Return the parcels of a kind and period with a number above ``after``, in order."""
        ...

    def periods(self, *, first: int | None = None) -> dict[int, int]:
        """Return the periods that have parcels, from ``first`` on, and their last numbers."""
        ...

    def offsets(self) -> dict[str, str]:
        """Return what was last stored with `accept`."""
        ...

    def forget(self, before: int) -> int:
        """Drop the parcels of periods before a number; return how many parcels went."""
        ...


class Ledger(Protocol):
    """What the agent wrote, to read."""

    def cycles(
        self,
        *,
        first: int | None = None,
        last: int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        revisions: bool = False,
    ) -> list[CycleInfo]:
        """Return heads of cycles by number; with ``revisions`` the superseded ones too."""
        ...

    def evidence(self, cycle: int, revision: int | None = None) -> tuple[Ints, NDArray[np.void]]:
        """Return the streams of a cycle, ascending, and their records; None = newest revision.

        Of a cycle that is not there: none.
        """
        ...

    def losses(self, cycle: int, revision: int | None = None) -> NDArray[np.float64] | None:
        """Return the single losses of a cycle, rows as in `evidence`; None = not kept."""
        ...

    def history(
        self, stream: int, *, first: int | None = None, last: int | None = None
    ) -> tuple[Ints, NDArray[np.void]]:
        """Return the cycles in which a stream was, ascending, and its newest records of them."""
        ...

    def decided(
        self,
        *,
        streams: Sequence[int] | None = None,
        decisions: Iterable[str] | None = None,
        first: int | None = None,
        last: int | None = None,
        start: int = 0,
        limit: int | None = None,
    ) -> list[tuple[int, Decided]]:
        """Return decisions with a number above ``start``, by number; those of all revisions."""
        ...


class State(Protocol):
    """The state of the agent: written with each cycle, read when an instance starts."""

    def snapshot(self, *, before: int | None = None) -> Snapshot | None:
        """Return the newest snapshot, or the newest of a cycle before a number."""
        ...

    def commit(self, commit: Commit, lease: Lease | None = None, *, keep: int = 7) -> None:
        """Write a cycle.

        Of the snapshots before the newest one, each ``keep``-th cycle stays, unless it is of a
        cycle that is judged anew. Raises
        ``ConflictError`` where the cycle and revision are there already, a period has another
        cycle, or the lease is no longer this holder's.
        """
        ...

    def prune(
        self,
        *,
        snapshots_before: int,
        superseded_before: int,
        events_before: datetime | None = None,
    ) -> None:
        """Drop snapshots and superseded revisions of cycles before these numbers.

        And events of before a time that wait for no target. The newest snapshot stays.
        """
        ...


class Requests(Protocol):
    """Requests for re-training and what became of them."""

    def requests(
        self, *, status: Iterable[str] | None = None, start: int = 0, limit: int | None = None
    ) -> list[tuple[int, OpenRequest]]:
        """Return requests with a number above ``start``, by number."""
        ...

    def claim(self, limit: int) -> list[OpenRequest]:
        """Take up to ``limit`` open requests, oldest first: they are ``claimed`` now."""
        ...

    def release(self) -> int:
        """Open all claimed requests again (at a start: their fits died); return how many."""
        ...


class Incidents(Protocol):
    """Incidents: written with a cycle (`Commit.incidents`) or an action (`Registry.act`)."""

    def incidents(
        self,
        *,
        ids: Sequence[str] | None = None,
        states: Iterable[str] | None = None,
        touched_since: int | None = None,
        limit: int | None = None,
        start: int = 0,
    ) -> list[Incident]:
        """Return incidents, the newest opened first, those of one cycle by stake and id.

        ``touched_since``: those not resolved, and those opened, updated or closed in this cycle or
        a later one. ``start`` leaves so many out.
        """
        ...


class LabRuns(Protocol):
    """Runs of the policy lab."""

    def lab_runs(
        self, *, ids: Sequence[str] | None = None, limit: int | None = None
    ) -> list[LabRun]:
        """Return runs, newest first."""
        ...

    def put_lab_run(self, run: LabRun) -> None:
        """Write a run, new or changed."""
        ...


class Outbox(Protocol):
    """Events on their way out."""

    def post(self, events: Sequence[Event], targets: Sequence[str]) -> None:
        """Write events outside of a cycle (a test message, say); one that is there stays."""
        ...

    def due(self, now: datetime, limit: int) -> list[Delivery]:
        """Return waiting deliveries whose time has come, oldest first."""
        ...

    def told(self, delivery: Delivery) -> None:
        """Write what became of a delivery: its status, attempts, next time and error."""
        ...

    def deliveries(
        self, *, status: Iterable[str] | None = None, limit: int | None = None
    ) -> list[Delivery]:
        """Return deliveries, newest first."""
        ...


class Leases(Protocol):
    """The right to decide."""

    def acquire(self, holder: str, ttl: timedelta, now: datetime) -> Lease | None:
        """Return the lease, taken or renewed; None = another holder has it and lives."""
        ...

    def lease(self) -> Lease | None:
        """Return the lease as it stands, whoever holds it; None = nobody does."""
        ...

    def surrender(self, lease: Lease) -> None:
        """Give the lease back."""
        ...


class Store(Registry, Inbox, Ledger, State, Requests, Incidents, LabRuns, Outbox, Leases, Protocol):
    """Everything that one agent keeps."""

    @property
    def url(self) -> str:
        """Where it is, without a password."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """Return plain facts: schema version, bytes, rows per table, oldest and newest cycle."""
        ...

    def setting(self, name: str) -> str | None:
        """Return a remembered setting (such as the time of a simulated clock)."""
        ...

    def remember(self, name: str, value: str) -> None:
        """Remember a setting."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...
