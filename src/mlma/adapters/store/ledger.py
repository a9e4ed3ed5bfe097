"""The ledger to read: cycles, evidence, single losses and decisions."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, func, select

from mlma.adapters.store.arrays import joined_parts
from mlma.adapters.store.chunks import place_of, records_of
from mlma.adapters.store.codec import damaged, moment, read
from mlma.adapters.store.part import Part
from mlma.adapters.store.schema import CYCLES, DECIDED, JUDGED, LOSSES
from mlma.adapters.store.schema import EVIDENCE as CHUNKS
from mlma.domain.ledger import ABSENT, EVIDENCE, CycleInfo, Decided

Ints = NDArray[np.int64]
Rows = Row[tuple[Any, ...]]

_STREAMS_A_QUERY = 5_000


class LedgerPart(Part):
    """What the agent wrote."""

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
        keys = (CYCLES.c.cycle, CYCLES.c.revision)
        asked = select(CYCLES).order_by(*(key.desc() if newest_first else key for key in keys))
        if not revisions:
            newest = (JUDGED.c.cycle == CYCLES.c.cycle) & (JUDGED.c.revision == CYCLES.c.revision)
            asked = asked.join(JUDGED, newest)
        asked = _between(asked, CYCLES.c.cycle, first, last).limit(limit)
        with self._database.read() as connection:
            return [_info(row) for row in connection.execute(asked)]

    def evidence(self, cycle: int, revision: int | None = None) -> tuple[Ints, NDArray[np.void]]:
        """Return the streams of a cycle, ascending, and their records; None = newest revision.

        Both are empty where there is no such cycle.
        """
        with self._database.read() as connection:
            number = _revision(connection, cycle, revision)
            asked = (
                select(CHUNKS.c.chunk, CHUNKS.c.data)
                .where(CHUNKS.c.cycle == cycle, CHUNKS.c.revision == number)
                .order_by(CHUNKS.c.chunk)
            )
            found = connection.execute(asked).all()
        return records_of((row.chunk, row.data) for row in found)

    def losses(self, cycle: int, revision: int | None = None) -> NDArray[np.float64] | None:
        """Return the single losses of a cycle, rows as in `evidence`; None = not kept."""
        with self._database.read() as connection:
            number = _revision(connection, cycle, revision)
            asked = (
                select(LOSSES.c.data)
                .where(LOSSES.c.cycle == cycle, LOSSES.c.revision == number)
                .order_by(LOSSES.c.part)
            )
            parts = list(connection.execute(asked).scalars())
        if not parts:
            return None
        what = f"The losses of cycle {cycle}"
        shape, whole = np.frombuffer(parts[0], dtype="<i8"), joined_parts(parts[1:], what)
        if len(whole) != 8 * shape.prod():
            raise damaged(what)
        return np.frombuffer(whole, dtype="<f8").reshape(tuple(shape))

    def history(
        self, stream: int, *, first: int | None = None, last: int | None = None
    ) -> tuple[Ints, NDArray[np.void]]:
        """Return the cycles in which a stream was, ascending, and its newest records of them."""
        chunk, start = place_of(stream)
        newest = (JUDGED.c.cycle == CHUNKS.c.cycle) & (JUDGED.c.revision == CHUNKS.c.revision)
        record = func.substr(CHUNKS.c.data, start + 1, EVIDENCE.itemsize, type_=CHUNKS.c.data.type)
        asked = (
            select(CHUNKS.c.cycle, record)
            .join(JUDGED, newest)
            .where(CHUNKS.c.chunk == chunk)
            .order_by(CHUNKS.c.cycle)
        )
        with self._database.read() as connection:
            found = connection.execute(_between(asked, CHUNKS.c.cycle, first, last)).all()
        found = [row for row in found if row[1]]  # nothing = beyond the last stream of the chunk
        if any(len(row[1]) != EVIDENCE.itemsize for row in found):
            raise damaged(f"Chunk {chunk} of the evidence")
        cycles = np.fromiter((row[0] for row in found), dtype=np.int64, count=len(found))
        records = np.frombuffer(b"".join(row[1] for row in found), dtype=EVIDENCE)
        present = records["n"] != ABSENT
        return cycles[present], records[present]

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
        asked = select(DECIDED).where(DECIDED.c.number > start).order_by(DECIDED.c.number)
        asked = _between(asked, DECIDED.c.cycle, first, last)
        if decisions is not None:
            asked = asked.where(DECIDED.c.decision.in_(list(decisions)))
        wanted = None if streams is None else {int(stream) for stream in streams}
        if wanted is not None and len(wanted) <= _STREAMS_A_QUERY:
            asked = asked.where(DECIDED.c.stream.in_(sorted(wanted)))
            wanted = None
        with self._database.read() as connection:
            if wanted is None:
                found: Iterable[Rows] = connection.execute(asked.limit(limit))
            else:
                found = _some(connection, asked, wanted, limit)
            return [(row.number, _decided(row)) for row in found]


def _between(asked: Select[Any], column: Any, first: int | None, last: int | None) -> Select[Any]:
    asked = asked if first is None else asked.where(column >= first)
    return asked if last is None else asked.where(column <= last)


def _revision(connection: Connection, cycle: int, revision: int | None) -> int:
    if revision is not None:
        return revision
    asked = select(JUDGED.c.revision).where(JUDGED.c.cycle == cycle)
    newest = connection.execute(asked).scalar()
    return -1 if newest is None else newest


def _some(
    connection: Connection, asked: Select[Any], streams: set[int], limit: int | None
) -> Iterator[Rows]:
    """Yield the rows of very many streams: too many to name them in a question."""
    with connection.execution_options(yield_per=10_000).execute(asked) as found:
        yield from islice((row for row in found if row.stream in streams), limit)


def _info(row: Rows) -> CycleInfo:
    return CycleInfo(
        cycle=row.cycle,
        revision=row.revision,
        period=row.period,
        judged_at=moment(row.judged_at),
        through=row.through,
        closed=row.closed,
        streams=row.streams,
        policy=row.policy,
        seed=row.seed,
        summary=read(row.summary),
    )


def _decided(row: Rows) -> Decided:
    return Decided(
        cycle=row.cycle,
        revision=row.revision,
        stream=row.stream,
        verdict=row.verdict,
        decision=row.decision,
        reason=row.reason,
        loss=row.loss,
        effect=row.effect,
        p_value=row.p_value,
        before=row.before,
    )
