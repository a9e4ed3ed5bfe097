"""Runs of the policy lab: written while they go on, read by the pages."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, text

from mlma.adapters.store.codec import micros, moment, named, plain, read, written
from mlma.adapters.store.part import Part
from mlma.adapters.store.schema import LAB
from mlma.domain.errors import StoreError, unknown_name
from mlma.domain.lab import LAB_STATUSES, LabRun

_KEPT = ("policy", "per_cycle", "first", "last", "progress", "result", "error")
_PUT = text(
    'INSERT INTO mlma_lab (id, "at", "by", status, document) '
    "VALUES (:id, :at, :by, :status, :document) "
    'ON CONFLICT (id) DO UPDATE SET "at" = excluded."at", "by" = excluded."by", '
    "status = excluded.status, document = excluded.document "
    "WHERE mlma_lab.status IN ('waiting', 'running') "
    "OR excluded.status NOT IN ('waiting', 'running')"
)


class LabPart(Part):
    """Runs by id."""

    def lab_runs(
        self, *, ids: Sequence[str] | None = None, limit: int | None = None
    ) -> list[LabRun]:
        """Return runs, newest first; those of one moment by id."""
        asked = select(LAB).order_by(LAB.c.at.desc(), self._bytewise(LAB.c.id)).limit(limit)
        if ids is not None:
            asked = asked.where(LAB.c.id.in_(list(ids)))
        with self._database.read() as connection:
            return [_run(row) for row in connection.execute(asked)]

    def put_lab_run(self, run: LabRun) -> None:
        """Write a run, new or changed.

        One that has ended (done, failed, cancelled) is not begun again: that it is waiting or
        running then changes nothing, so that a worker cannot write over its cancellation.
        """
        if run.status not in LAB_STATUSES:
            raise StoreError(str(unknown_name("status", str(run.status), LAB_STATUSES)))
        row = {
            "id": named(run.id, "The id of a run of the lab"),
            "at": micros(run.at),
            "by": plain(run.by),
            "status": run.status,
            "document": written({name: getattr(run, name) for name in _KEPT}),
        }
        with self._database.write() as connection:
            connection.execute(_PUT, row)


def _run(row: Row[tuple[Any, ...]]) -> LabRun:
    return LabRun(id=row.id, at=moment(row.at), by=row.by, status=row.status, **read(row.document))
