"""A small memory of whole design matrices, so that overlapping windows share their features.

Takes a key, a series and a way to build; gives the matrix of the whole series once it is
asked for often. One memory per process, bounded by bytes; no model carries it when it is pickled.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.streams import Series

Floats = NDArray[np.float64]

MAX_BYTES = 256 * 2**20
MAX_ENTRIES = 8
WORTHWHILE_REQUESTS = 20


@dataclass(slots=True)
class _Entry:
    series: Series  # held, so that its id stays its own
    stamp: tuple[int, int]
    requests: int = 1
    matrix: Floats | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self.matrix is None else self.matrix.nbytes


class Memo:
    """Remembers matrices of the last few series, by identity and content."""

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        max_entries: int = MAX_ENTRIES,
        worthwhile: int = WORTHWHILE_REQUESTS,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._worthwhile = worthwhile
        self._entries: OrderedDict[tuple[Hashable, int], _Entry] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices that are kept."""
        return sum(entry.nbytes for entry in self._entries.values())

    def matrix(
        self, key: Hashable, series: Series, nbytes: int, build: Callable[[], Floats]
    ) -> Floats | None:
        """Return the matrix of the whole series, or None where it is not worth building.

        The first requests of a series return None: a live agent, or a replay in lockstep, goes
        from series to series and wants a few rows of each; who stays with one is likely to ask a
        thousand times. ``nbytes`` is the size that the
        matrix will have; above the bound it is never built. Arrays that were changed in place are
        noticed (their bits are folded into one word) and asked for anew.
        """
        if nbytes > self._max_bytes:
            return None
        place = (key, id(series))
        entry = self._entries.get(place)
        stamp = (_fold(series.y), _fold(series.exogenous))
        if entry is None or entry.series is not series or entry.stamp != stamp:
            self._entries[place] = _Entry(series, stamp)
            self._entries.move_to_end(place)
            self._shrink()
            return None
        entry.requests += 1
        if entry.matrix is None and entry.requests > self._worthwhile:
            entry.matrix = build()
            entry.matrix.flags.writeable = False
        self._entries.move_to_end(place)
        self._shrink()
        return entry.matrix

    def _shrink(self) -> None:
        while len(self._entries) > self._max_entries or self.nbytes > self._max_bytes:
            self._entries.popitem(last=False)


def _fold(values: Floats) -> int:
    """Return the exclusive or of all bits: ten times faster than a checksum, enough here."""
    if values.size == 0:
        return 0
    words = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    return int(np.bitwise_xor.reduce(words.reshape(-1)))


class PastMemo:
    """Remembers what is derived from the past of each series, by identity and content."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[int, tuple[Series, int, tuple[Floats, ...]]] = OrderedDict()
        self._nbytes = 0

    def arrays(
        self, series: Series, build: Callable[[Series], tuple[Floats, ...]]
    ) -> tuple[Floats, ...]:
        """Return ``build(series)``, read-only; built anew only where the values have changed."""
        stamp = _fold(series.y)
        held = self._entries.get(id(series))
        if held is not None and held[0] is series and held[1] == stamp:
            self._entries.move_to_end(id(series))
            return held[2]
        made = build(series)
        for array in made:
            array.flags.writeable = False
        self._drop(id(series))
        self._entries[id(series)] = (series, stamp, made)
        self._nbytes += sum(array.nbytes for array in made)
        while self._nbytes > self._max_bytes and len(self._entries) > 1:
            self._drop(next(iter(self._entries)))
        return made

    def _drop(self, key: int) -> None:
        held = self._entries.pop(key, None)
        if held is not None:
            self._nbytes -= sum(array.nbytes for array in held[2])
