"""Snapshots: the state of the agent after a cycle, exact to the bit."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, func, insert, select

from mlma.adapters.store.arrays import joined_parts, parts_of
from mlma.adapters.store.bulk import insert_all
from mlma.adapters.store.codec import (
    array_bytes,
    damaged,
    dtype_of,
    dtype_text,
    named,
    read,
    written,
)
from mlma.adapters.store.part import Part
from mlma.adapters.store.schema import SNAPSHOT_PARTS, SNAPSHOTS
from mlma.domain.ledger import Snapshot

Shapes = dict[str, tuple[str, list[int]]]


class SnapshotsPart(Part):
    """Snapshots by cycle."""

    def snapshot(self, *, before: int | None = None) -> Snapshot | None:
        """Return the newest snapshot, or the newest of a cycle before a number."""
        asked = select(SNAPSHOTS).order_by(SNAPSHOTS.c.cycle.desc()).limit(1)
        if before is not None:
            asked = asked.where(SNAPSHOTS.c.cycle < before)
        with self._database.read() as connection:
            row = connection.execute(asked).first()
            if row is None:
                return None
            parts = _parts(connection, row.cycle)
        shapes: Shapes = json.loads(row.columns)
        columns = {
            name: _column(
                parts.get(name, []), dtype, size, f"Column {name} of snapshot {row.cycle}"
            )
            for name, (dtype, size) in shapes.items()
        }
        return Snapshot(row.cycle, read(row.head), columns)


@dataclass(frozen=True, slots=True)
class PackedSnapshot:
    """A snapshot as texts and bytes; ``parts`` by name of the column."""

    cycle: int
    head: str
    columns: str
    parts: dict[str, list[bytes]]


def packed_snapshot(snapshot: Snapshot) -> PackedSnapshot:
    """Return a snapshot as it is written."""
    shapes: Shapes = {}
    parts: dict[str, list[bytes]] = {}
    for name, values in snapshot.columns.items():
        what = f"Column {name!r} of snapshot {snapshot.cycle}"
        shapes[named(name, what)] = (dtype_text(values.dtype, what), list(values.shape))
        parts[name] = list(parts_of(array_bytes(values), what))
    head = written(snapshot.head)
    return PackedSnapshot(int(snapshot.cycle), head, json.dumps(shapes), parts)


def write_snapshot(connection: Connection, snapshot: PackedSnapshot) -> None:
    """Write a snapshot; one of the same cycle is replaced."""
    drop(connection, [snapshot.cycle])
    for name, parts in snapshot.parts.items():
        keys: dict[str, Sequence[object]] = {
            "cycle": [snapshot.cycle] * len(parts),
            "name": [name] * len(parts),
        }
        insert_all(connection, SNAPSHOT_PARTS, {**keys, "part": range(len(parts)), "data": parts})
    row = {"cycle": snapshot.cycle, "head": snapshot.head, "columns": snapshot.columns}
    connection.execute(insert(SNAPSHOTS), row)


def thin_out(connection: Connection, newest: int, keep: int, outdated_from: int) -> None:
    """Drop old snapshots: each ``keep``-th stays, and none that a revision has outdated."""
    numbers = connection.execute(select(SNAPSHOTS.c.cycle)).scalars()
    drop(
        connection,
        [
            cycle
            for cycle in numbers
            if cycle != newest and (cycle >= outdated_from or cycle % max(keep, 1))
        ],
    )


def drop_before(connection: Connection, cycle: int) -> None:
    """Drop the snapshots of cycles before a number; the newest one stays in any case."""
    newest = connection.execute(select(func.max(SNAPSHOTS.c.cycle))).scalar() or 0
    old = select(SNAPSHOTS.c.cycle).where(SNAPSHOTS.c.cycle < min(cycle, newest))
    drop(connection, list(connection.execute(old).scalars()))


def drop(connection: Connection, cycles: list[int]) -> None:
    """Drop the snapshots of some cycles."""
    for cycle in cycles:
        connection.execute(delete(SNAPSHOT_PARTS).where(SNAPSHOT_PARTS.c.cycle == cycle))
        connection.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.cycle == cycle))


def _parts(connection: Connection, cycle: int) -> dict[str, list[bytes]]:
    asked = (
        select(SNAPSHOT_PARTS.c.name, SNAPSHOT_PARTS.c.data)
        .where(SNAPSHOT_PARTS.c.cycle == cycle)
        .order_by(SNAPSHOT_PARTS.c.name, SNAPSHOT_PARTS.c.part)
    )
    parts: dict[str, list[bytes]] = defaultdict(list)
    for name, data in connection.execute(asked):
        parts[name].append(data)
    return parts


def _column(parts: list[bytes], dtype: str, size: list[int], what: str) -> NDArray[Any]:
    whole = joined_parts(parts, what)
    kind = dtype_of(dtype)
    if len(whole) != kind.itemsize * int(np.prod(size, dtype=np.int64)):
        raise damaged(what)
    # A copy that may be written: the state of an agent goes on from it.
    return np.frombuffer(bytearray(whole), dtype=kind).reshape(size)
