"""Bins: a long history in as many points as a chart has room for.

Takes columns over time, gives means, sums or extremes of equal runs of them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Bins:
    """Equal runs of ``n`` entries.

    starts
        ``(n_bins,) int64``, first entry of each run.
    """

    n: int
    starts: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Entries of a run; the last one may have fewer."""
        return int(self.starts[1] - self.starts[0]) if len(self.starts) > 1 else max(self.n, 1)

    def mean(self, values: Any) -> Floats:
        """Return the mean of what is finite in each run; NaN = nothing is."""
        given = np.asarray(values, dtype=np.float64)
        told = np.isfinite(given)
        count = self._each(np.add, told.astype(np.float64))
        total = self._each(np.add, np.where(told, given, 0.0))
        return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)

    def sum(self, values: Any) -> Floats:
        """Return the sum of each run, NaN taken for nothing."""
        return self._each(np.add, np.nan_to_num(np.asarray(values, dtype=np.float64)))

    def highest(self, values: Any) -> Floats:
        """Return the largest number of each run; NaN = there is none."""
        return self._each(np.fmax, np.asarray(values, dtype=np.float64))

    def first(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the first entry of each run."""
        return values[self.starts]

    def _each(self, join: Any, values: Floats) -> Floats:
        if not self.n:
            return np.zeros(0)
        return np.asarray(join.reduceat(values, self.starts), dtype=np.float64)


def bins_of(n: int, most: int = 160) -> Bins:
    """Return runs of ``n`` entries, at most ``most`` of them.

    >>> bins_of(5, 2).mean([1.0, 2.0, float("nan"), 4.0, 6.0]).tolist()
    [1.5, 5.0]
    """
    size = max(-(-n // most), 1)
    return Bins(n, np.arange(0, n, size, dtype=np.int64))
