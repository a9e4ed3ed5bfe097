"""A commit: all that a cycle writes, in one transaction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, insert, select, update

from mlma.adapters.store.actions import apply
from mlma.adapters.store.arrays import parts_of
from mlma.adapters.store.bulk import insert_all
from mlma.adapters.store.chunks import chunks_of
from mlma.adapters.store.codec import array_bytes, micros, plain, written
from mlma.adapters.store.incidents import write_seen
from mlma.adapters.store.leases import check_lease
from mlma.adapters.store.numbers import locked, taken
from mlma.adapters.store.outbox import drop_events, post_events
from mlma.adapters.store.part import Part
from mlma.adapters.store.requests import ask, withdraw
from mlma.adapters.store.schema import CYCLES, DECIDED, JUDGED, LOSSES
from mlma.adapters.store.schema import EVIDENCE as CHUNKS
from mlma.adapters.store.snapshots import (
    drop_before,
    packed_snapshot,
    thin_out,
    write_snapshot,
)
from mlma.domain.errors import ConflictError, StoreError
from mlma.domain.ledger import Commit, CycleEntry, CycleInfo, Decided, Lease


class CommitsPart(Part):
    """Writing cycles, and pruning what they left."""

    def commit(self, commit: Commit, lease: Lease | None = None, *, keep: int = 7) -> None:
        """Write a cycle, all or nothing.

        Snapshots of cycles that this commit revises are outdated and go. What a person did to an
        incident stays: it is resolved for good if a person resolved it, and stays acknowledged or
        snoozed (a snooze until it is over) unless the commit resolves it.
        """
        newest = commit.snapshot.cycle
        first = min((entry.info.cycle for entry in commit.entries), default=newest)
        # Packed before the transaction: other writers of a file wait for as short as can be.
        entries = [_packed(entry) for entry in commit.entries]
        judged_at = commit.entries[-1].info.judged_at if commit.entries else None
        snapshot = packed_snapshot(commit.snapshot)
        with self._database.write() as connection:
            locked(connection)
            if lease is not None:
                check_lease(connection, lease)
            apply(connection, commit.applied)
            for entry in entries:
                _write_entry(connection, entry)
            write_snapshot(connection, snapshot)
            thin_out(connection, newest, keep, first)
            withdraw(connection, commit.withdrawn)
            ask(connection, commit.requests)
            write_seen(connection, commit.incidents, judged_at)
            post_events(connection, commit.events, commit.targets)

    def prune(
        self,
        *,
        snapshots_before: int,
        superseded_before: int,
        events_before: datetime | None = None,
    ) -> None:
        """Drop snapshots and superseded revisions of cycles before these numbers.

        And events of before a time that wait for no target. Incidents stay.
        """
        with self._database.write() as connection:
            locked(connection)
            drop_before(connection, snapshots_before)
            for table in (CHUNKS, LOSSES, DECIDED, CYCLES):
                newest = (
                    select(JUDGED.c.revision)
                    .where(JUDGED.c.cycle == table.c.cycle)
                    .scalar_subquery()
                )
                old = (table.c.cycle < superseded_before) & (table.c.revision < newest)
                connection.execute(delete(table).where(old))
            if events_before is not None:
                drop_events(connection, events_before)


@dataclass(frozen=True, slots=True)
class _Packed:
    """An entry as bytes: ``chunks`` by number, ``losses`` in parts (none = not kept)."""

    info: CycleInfo
    chunks: dict[int, bytes]
    losses: list[bytes]
    decided: tuple[Decided, ...]


def _packed(entry: CycleEntry) -> _Packed:
    info = entry.info
    if len(entry.streams) != info.streams:
        raise StoreError(
            f"Cycle {info.cycle} must hold the {info.streams} streams of its head. "
            f"Got {len(entry.streams)}."
        )
    chunks = dict(chunks_of(entry.streams, entry.evidence))
    losses = [] if entry.losses is None else _loss_parts(info, entry.losses)
    return _Packed(info, chunks, losses, entry.decided)


def _loss_parts(info: CycleInfo, losses: NDArray[np.float64]) -> list[bytes]:
    """Return the shape, then the rows in parts."""
    if losses.ndim != 2 or len(losses) != info.streams:
        raise StoreError(
            f"`losses` of cycle {info.cycle} must be ({info.streams}, width). Got {losses.shape}."
        )
    shape = np.array(losses.shape, dtype="<i8").tobytes()
    whole = array_bytes(losses.astype("<f8", copy=False))
    return [shape, *parts_of(whole, f"The losses of cycle {info.cycle}")]


def _write_entry(connection: Connection, entry: _Packed) -> None:
    info = entry.info
    _claim_period(connection, info)
    head = _head(info, sum(len(data) for data in entry.chunks.values()))
    connection.execute(insert(CYCLES), head)
    chunks, parts = entry.chunks, entry.losses
    columns = {"chunk": list(chunks), **_keys(info, len(chunks)), "data": list(chunks.values())}
    insert_all(connection, CHUNKS, columns)
    losses = {**_keys(info, len(parts)), "part": list(range(len(parts))), "data": parts}
    insert_all(connection, LOSSES, losses)
    _write_decided(connection, entry.decided)


def _keys(info: CycleInfo, n: int) -> dict[str, Sequence[object]]:
    return {"cycle": [int(info.cycle)] * n, "revision": [int(info.revision)] * n}


def _claim_period(connection: Connection, info: CycleInfo) -> None:
    """Write which period a cycle has and its newest revision.

    Raises
    ------
    ConflictError
        The period has another cycle, the cycle another period, or the revision is there.
    """
    same = (JUDGED.c.cycle == info.cycle) | (JUDGED.c.period == info.period)
    there = connection.execute(select(JUDGED).where(same)).all()
    row = {"cycle": info.cycle, "period": info.period, "revision": info.revision}
    if not there:
        connection.execute(insert(JUDGED), row)
        return
    known = there[0]
    if (known.cycle, known.period) != (info.cycle, info.period) or len(there) > 1:
        raise ConflictError(
            f"Cycle {info.cycle} of period {info.period} cannot be written: cycle {known.cycle} "
            f"has period {known.period}. Another instance was first."
        )
    if info.revision <= known.revision:
        raise ConflictError(
            f"Revision {info.revision} of cycle {info.cycle} cannot be written: revision "
            f"{known.revision} is there. Another instance was first."
        )
    newer = update(JUDGED).where(JUDGED.c.cycle == info.cycle).values(revision=info.revision)
    connection.execute(newer)


def _head(info: CycleInfo, evidence_bytes: int) -> dict[str, object]:
    return {
        "cycle": info.cycle,
        "revision": info.revision,
        "period": info.period,
        "judged_at": micros(info.judged_at),
        "through": info.through,
        "closed": plain(info.closed),
        "streams": info.streams,
        "policy": plain(info.policy),
        "seed": info.seed,
        "summary": written(info.summary),
        "evidence_bytes": evidence_bytes,
    }


def _write_decided(connection: Connection, decided: tuple[Decided, ...]) -> None:
    before = taken(connection, "decided", len(decided))
    columns: dict[str, list[object]] = {
        "number": list(range(before + 1, before + 1 + len(decided)))
    }
    for name in ("cycle", "revision", "stream"):
        columns[name] = [int(getattr(one, name)) for one in decided]
    for name in ("verdict", "decision", "reason", "before"):
        columns[name] = [plain(getattr(one, name)) for one in decided]
    for name in ("loss", "effect", "p_value"):
        columns[name] = [_number(getattr(one, name)) for one in decided]
    insert_all(connection, DECIDED, columns)


def _number(value: float | None) -> float | None:
    """Return a plain number; None where there is none: SQLite knows no NaN."""
    return None if value is None or math.isnan(value) else float(value)
