"""Plain facts about a store, and settings that it remembers."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select, text

from mlma.adapters.store import versions
from mlma.adapters.store.bulk import put
from mlma.adapters.store.codec import named, plain
from mlma.adapters.store.part import Part
from mlma.adapters.store.schema import CYCLES, JUDGED, METADATA, PREFIX, SETTINGS

_SERVER_BYTES = text(
    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind = 'r' AND n.nspname = current_schema() AND c.relname = ANY(:names)"
)


class FactsPart(Part):
    """What `status` and `doctor` tell."""

    def facts(self) -> Mapping[str, Any]:
        """Return plain facts.

        ``url``, ``schema``, ``bytes``, ``rows`` per table, ``oldest_cycle``, ``newest_cycle``
        (None = no cycle), ``bytes_per_stream_batch`` of evidence (None = no cycle).
        """
        with self._database.read() as connection:
            oldest, newest = connection.execute(
                select(func.min(JUDGED.c.cycle), func.max(JUDGED.c.cycle))
            ).one()
            size, batches = connection.execute(
                select(func.sum(CYCLES.c.evidence_bytes), func.sum(CYCLES.c.streams))
            ).one()
            return {
                "url": self._database.address.shown,
                "schema": versions.current(connection),
                "bytes": self._bytes(connection),
                "rows": _rows(connection),
                "oldest_cycle": oldest,
                "newest_cycle": newest,
                "bytes_per_stream_batch": round(float(size / batches), 1) if batches else None,
            }

    def setting(self, name: str) -> str | None:
        """Return a remembered setting; None = it was never set."""
        asked = select(SETTINGS.c.value).where(SETTINGS.c.name == name)
        with self._database.read() as connection:
            return connection.execute(asked).scalar()

    def remember(self, name: str, value: str) -> None:
        """Remember a setting."""
        named(name, "The name of a setting")
        with self._database.write() as connection:
            put(connection, SETTINGS, name, plain(value))

    def _bytes(self, connection: Connection) -> int:
        if self._database.kind == "postgresql":
            names = {"names": list(METADATA.tables)}
            return int(connection.execute(_SERVER_BYTES, names).scalar_one())
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        size = pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        path = self._database.address.path
        log = path.with_name(path.name + "-wal") if path else None
        return int(size) + (log.stat().st_size if log and log.exists() else 0)


def _rows(connection: Connection) -> dict[str, int]:
    return {
        name.removeprefix(PREFIX): connection.execute(
            select(func.count()).select_from(table)
        ).scalar_one()
        for name, table in METADATA.tables.items()
    }
