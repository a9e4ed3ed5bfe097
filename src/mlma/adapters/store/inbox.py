"""The inbox: rows that wait until their batch is judged, as sealed columns."""

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, select

from mlma.adapters.store.bulk import insert_all, put
from mlma.adapters.store.codec import named, plain, row_bytes, rows_of
from mlma.adapters.store.numbers import taken
from mlma.adapters.store.part import Part
from mlma.adapters.store.schema import OFFSETS, PARCELS
from mlma.domain.inbox import Kind, Parcel


class InboxPart(Part):
    """Parcels by number."""

    def accept(self, parcels: Sequence[Parcel], *, offsets: Mapping[str, str] | None = None) -> int:
        """Store parcels; return the number of the last parcel of the store."""
        packed = [row_bytes(parcel.rows, _new_name(parcel)) for parcel in parcels]
        with self._database.write() as connection:
            before = taken(connection, "parcels", len(parcels))
            columns = {
                "number": range(before + 1, before + 1 + len(parcels)),
                "kind": [parcel.kind for parcel in parcels],
                "period": [int(parcel.period) for parcel in parcels],
                "n": [len(parcel.rows) for parcel in parcels],
                "data": packed,
            }
            insert_all(connection, PARCELS, columns)
            for name, value in sorted((offsets or {}).items()):
                put(connection, OFFSETS, named(name, "The name of an offset"), plain(value))
            return before + len(parcels)

    def parcels(self, kind: Kind, period: int, *, after: int = 0) -> list[Parcel]:
        """Return the parcels of a kind and period with a number above ``after``, in order."""
        asked = (
            select(PARCELS.c.number, PARCELS.c.data)
            .where(PARCELS.c.period == period, PARCELS.c.kind == kind, PARCELS.c.number > after)
            .order_by(PARCELS.c.number)
        )
        with self._database.read() as connection:
            found = connection.execute(asked).all()
        return [
            Parcel(kind, period, rows_of(row.data, f"Parcel {row.number} of {kind}"), row.number)
            for row in found
        ]

    def periods(self, *, first: int | None = None) -> dict[int, int]:
        """Return the periods that have parcels, from ``first`` on, and their last numbers."""
        asked = select(PARCELS.c.period, func.max(PARCELS.c.number).label("last")).group_by(
            PARCELS.c.period
        )
        if first is not None:
            asked = asked.where(PARCELS.c.period >= first)
        with self._database.read() as connection:
            found = connection.execute(asked.order_by(PARCELS.c.period))
            return {row.period: row.last for row in found}

    def offsets(self) -> dict[str, str]:
        """Return what was last stored with `accept`."""
        with self._database.read() as connection:
            found = connection.execute(select(OFFSETS.c.name, OFFSETS.c.value))
            return {row.name: row.value for row in found}

    def forget(self, before: int) -> int:
        """Drop the parcels of periods before a number; return how many parcels went."""
        with self._database.write() as connection:
            return connection.execute(delete(PARCELS).where(PARCELS.c.period < before)).rowcount


def _new_name(parcel: Parcel) -> str:
    return f"A parcel of {len(parcel.rows)} rows of {parcel.kind} for period {parcel.period}"
