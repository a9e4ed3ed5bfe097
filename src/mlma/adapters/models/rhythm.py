"""The day and the week of a grid, and values carried over gaps along them.

Takes the grid and the observed values of a stream, gives season lengths in slots and a copy of the
values without gaps that is causal: a slot is filled from slots before it only. Next are the
features.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mlma.domain.streams import Grid

Floats = NDArray[np.float64]

DAY = np.timedelta64(1, "D")
WEEK = np.timedelta64(7, "D")


@lru_cache(maxsize=64)
def day_slots(grid: Grid) -> int:
    """Return the slots of a day; 1 for slots of a day or longer.

    Where the slots do not divide a day (7 hours, say), the batch is taken for the season.

    >>> day_slots(Grid(np.datetime64("2024-01-01"), np.timedelta64(900, "s"), 96, 7))
    96
    """
    if grid.step >= DAY:
        return 1
    return _whole(DAY, grid.step) or grid.slots


@lru_cache(maxsize=64)
def week_slots(grid: Grid) -> int:
    """Return the slots of a week; 0 where the slots do not divide a week.

    >>> week_slots(Grid(np.datetime64("2024-01-01"), np.timedelta64(1, "h"), 24, 7))
    168
    """
    return _whole(WEEK, grid.step)


def _whole(span: np.timedelta64, step: np.timedelta64) -> int:
    return int(span // step) if span % step == np.timedelta64(0) else 0


def carried(y: Floats, grid: Grid) -> Floats:
    """Return ``y`` with its gaps filled from the past, ``(n,) float64`` without NaN.

    A missing slot takes the last value seen at the same slot of the week; where none was seen, at
    the same slot of the day; then the last value at all; then 0. The value of slot ``t`` depends on
    ``y[: t + 1]`` only. Without a gap, ``y`` itself is returned.

    Parameters
    ----------
    y
        ``(n,) float64``, from the first slot of the grid on; NaN = missing.
    grid
        the grid whose day and week are followed.

    >>> day = Grid(np.datetime64("2024-01-01"), np.timedelta64(1, "D"), 1, 9)
    >>> carried(np.array([5.0, 1, 2, 3, 4, 5, 6, np.nan, np.nan]), day)[-2:]
    array([5., 1.])
    """
    missing = ~np.isfinite(y)
    if not missing.any():
        return y
    out = np.where(missing, np.nan, y)
    for period in sorted({week_slots(grid), day_slots(grid), 1} - {0}, reverse=True):
        gaps = np.isnan(out)
        if not gaps.any():
            break
        out[gaps] = _last_seen(np.where(missing, np.nan, y), period)[gaps]
    return np.nan_to_num(out, copy=False, nan=0.0)


def _last_seen(y: Floats, period: int) -> Floats:
    """Return the last finite value at or before each slot in steps of ``period``; NaN = none."""
    rows = -(-len(y) // period)
    table = np.full((rows, period), np.nan)
    table.reshape(-1)[: len(y)] = y
    seen = np.where(np.isnan(table), -1, np.arange(rows)[:, None])
    np.maximum.accumulate(seen, axis=0, out=seen)
    taken: Floats = table[np.maximum(seen, 0), np.arange(period)]
    return taken.ravel()[: len(y)]  # row 0 is NaN wherever nothing was seen yet
