"""The registry: which stream has which row."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from mlma.adapters.store.bulk import insert_all, slices
from mlma.adapters.store.codec import named
from mlma.adapters.store.numbers import taken
from mlma.adapters.store.part import Part
from mlma.adapters.store.schema import STREAMS


class StreamsPart(Part):
    """Streams by row, from 0."""

    def streams(self, start: int = 0) -> list[str]:
        """Return the names of the streams from row ``start`` on, in the order of their rows."""
        asked = select(STREAMS.c.unique_id).where(STREAMS.c.row >= start).order_by(STREAMS.c.row)
        with self._database.read() as connection:
            return list(connection.execute(asked).scalars())

    def register(self, names: Sequence[str]) -> int:
        """Give new streams the next rows; return how many streams there are now."""
        wanted = list(dict.fromkeys(named(name, "The name of a stream") for name in names))
        with self._database.write() as connection:
            first = taken(connection, "streams", 0)  # locked: nobody else adds rows meanwhile
            known = _known(connection, wanted, first)
            new = [name for name in wanted if name not in known]
            rows = range(first, first + len(new))
            insert_all(connection, STREAMS, {"row": rows, "unique_id": new})
            taken(connection, "streams", len(new))
        return first + len(new)


def _known(connection: Connection, names: Sequence[str], count: int) -> set[str]:
    """Return which names are there; ``count`` streams are."""
    asked = select(STREAMS.c.unique_id)
    if count <= len(names):  # to read all is cheaper than to ask for each
        return set(connection.execute(asked).scalars())
    known: set[str] = set()
    for some in slices(names):
        known.update(connection.execute(asked.where(STREAMS.c.unique_id.in_(some))).scalars())
    return known
