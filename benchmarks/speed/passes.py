"""One pass over the losses: the least that any monitoring of them can cost.

Takes nothing, gives the candidates that are there, by name; the fastest is the unit of the
benchmark.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Pass = Callable[[Singles], Any]

ROWS_PER_PART = 4096


def passes(*, with_numba: bool) -> Mapping[str, Pass]:
    """Return functions that read every loss once."""
    found: dict[str, Pass] = {
        "losses.sum()": lambda losses: losses.sum(),
        "losses @ ones": _row_sums,
    }
    if with_numba:
        found["numba, parallel sum"] = numba_sum()
    return found


def _row_sums(losses: Singles) -> Singles:
    ones = np.ones(losses.shape[1], dtype=losses.dtype)
    return np.asarray(losses @ ones)


def numba_sum() -> Pass:
    """Return a sum that is compiled for vector instructions and divided among all cores."""
    import numba

    @numba.njit(parallel=True, fastmath=True)
    def total(losses: Singles) -> float:
        n, slots = losses.shape
        parts = (n + ROWS_PER_PART - 1) // ROWS_PER_PART
        found = 0.0
        for part in numba.prange(parts):
            some = np.float32(0)
            for row in range(part * ROWS_PER_PART, min((part + 1) * ROWS_PER_PART, n)):
                for slot in range(slots):
                    some += losses[row, slot]
            found += some
        return found

    return total
