"""A small memory of whole design matrices, so that overlapping windows share their features.

Takes a key, a series and a way to build; gives the matrix of the whole series from the second
request on. One memory per process, bounded by bytes; no model carries it when it is pickled.
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


@dataclass(slots=True)
class _Entry:
    series: Series  # held, so that its id stays its own
    stamp: tuple[int, int]
    matrix: Floats | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self.matrix is None else self.matrix.nbytes


class Memo:
    """Remembers matrices of the last few series, by identity and content."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_entries: int = MAX_ENTRIES) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._entries: OrderedDict[tuple[Hashable, int], _Entry] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices that are kept."""
        return sum(entry.nbytes for entry in self._entries.values())

    def matrix(
        self, key: Hashable, series: Series, nbytes: int, build: Callable[[], Floats]
    ) -> Floats | None:
        """Return the matrix of the whole series, or None where it is not worth building.

        The first request of a series returns None: a live agent asks once per series and wants a
        few rows; who asks twice is likely to ask a thousand times. ``nbytes`` is the size that the
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
        if entry.matrix is None:
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
