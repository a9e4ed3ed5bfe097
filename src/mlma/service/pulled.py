"""`PulledSource`: rows that lie elsewhere, as the live agent reads them.

Takes a source of frames, gives its rows by period; their streams are registered. Next is the join.
"""

from collections.abc import Callable, Iterator
from typing import Any

from mlma.domain.inbox import Kind, NamedRows, Rows
from mlma.domain.leftovers import LeftOut, merge_left_out
from mlma.domain.periods import Periods
from mlma.ports import Source
from mlma.service.ingest import named, unnamed
from mlma.service.streams import UNKNOWN, Rows32, StreamRows, UnknownStreamsError

_KEPT = 64


class PulledSource:
    """A source, sorted into periods.

    Parameters
    ----------
    read
        returns the usable rows of a frame of the source, with an account of the others.
    """

    def __init__(
        self,
        source: Source,
        registry: StreamRows,
        periods: Periods,
        *,
        read: Callable[[Any], NamedRows],
    ) -> None:
        self._source, self._registry, self._periods = source, registry, periods
        self._read = read
        self._left_out: dict[int, tuple[LeftOut, ...]] = {}

    @property
    def name(self) -> str:
        """Name for messages."""
        return self._source.name

    @property
    def kind(self) -> Kind:
        """What its rows are."""
        return self._source.kind

    def stamp(self, period: int) -> str:
        """Return a text that changes whenever the rows of a period may have changed."""
        return self._source.stamp(self._periods.start(period), self._periods.end(period))

    def left_out(self, period: int) -> tuple[LeftOut, ...]:
        """Return what was not used when the period was last read."""
        return self._left_out.get(period, ())

    def rows(self, period: int) -> Iterator[Rows]:
        """Yield the rows of a period in pieces; later ones overrule earlier ones.

        Raises
        ------
        SourceError
            The source cannot be read.
        DataError
            What it holds is none of our rows.
        """
        account: tuple[LeftOut, ...] = ()
        for frame in self._source.frames(self._periods.start(period), self._periods.end(period)):
            rows = self._read(frame)
            codes, unknown = self._codes(rows)
            account = merge_left_out(account, rows.left_out, unknown)
            for parcel in named(unnamed(rows, self._periods), codes):
                known = parcel.rows.stream != UNKNOWN
                if parcel.period == period:
                    yield parcel.rows if known.all() else parcel.rows.take(known)
        self._keep(period, account)

    def _codes(self, rows: NamedRows) -> tuple[Rows32, tuple[LeftOut, ...]]:
        """Return rows of the registry, and the streams that may not be registered."""
        (answer,) = self._registry.admit([rows.ids])
        if not isinstance(answer, UnknownStreamsError):
            return answer.rows, ()
        names = answer.names
        lost = LeftOut("unknown stream", "streams", len(names), names[:3])
        return self._registry.find(rows.ids), (lost,)

    def _keep(self, period: int, account: tuple[LeftOut, ...]) -> None:
        self._left_out[period] = account
        while len(self._left_out) > _KEPT:
            del self._left_out[min(self._left_out)]
