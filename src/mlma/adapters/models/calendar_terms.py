"""Calendar columns of a grid: what is known of a slot from its time alone.

Takes the grid, gives the columns for a range of slots. They repeat every week, so one week is
computed, kept, and indexed. Next are the features.
"""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.rhythm import DAY, WEEK
from mlma.domain.streams import Grid

Floats = NDArray[np.float64]

PAIRS = 4  # sine and cosine pairs of the time of day
_MONDAY = np.datetime64("1970-01-05", "us")
_LONGEST_CYCLE = 100_000  # slots; slots of 6 seconds or more, of which one week is kept
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _microseconds(span: np.timedelta64) -> int:
    return int(span.astype("timedelta64[us]").astype(np.int64))


_DAY, _WEEK = _microseconds(DAY), _microseconds(WEEK)


@lru_cache(maxsize=64)
def calendar_names(grid: Grid) -> tuple[str, ...]:
    """Return the names of the calendar columns of this grid.

    Slots within the day: Fourier terms, and the same on weekends. Slots of a day or less: the
    seven weekdays and the weekend. Slots of whole weeks have no calendar column.
    """
    waves = tuple(f"{f}{k}" for k in range(1, PAIRS + 1) for f in ("sin", "cos"))
    within_day = grid.step < DAY
    names: tuple[str, ...] = waves if within_day else ()
    if grid.step % WEEK != np.timedelta64(0):
        names += (*WEEKDAYS, "weekend")
    return names + (tuple(f"weekend*{name}" for name in waves) if within_day else ())


def calendar_columns(grid: Grid, first: int, last: int) -> Floats:
    """Return the calendar columns of slots ``first`` to ``last - 1``.

    ``(last - first, len(calendar_names(grid))) float64``, never NaN.

    >>> day = Grid(np.datetime64("2024-01-01"), np.timedelta64(1, "D"), 1, 14)
    >>> calendar_columns(day, 5, 6)  # a Saturday: six of seven, and weekend
    array([[0., 0., 0., 0., 0., 1., 0., 1.]])
    """
    step = _microseconds(grid.step)
    offset = _microseconds(grid.start - _MONDAY) % _WEEK
    slots = np.arange(first, last)
    cycle = _WEEK // gcd(step, _WEEK)
    if cycle > _LONGEST_CYCLE:
        return _columns((offset + step * slots) % _WEEK, step)
    return np.take(_one_cycle(offset, step, cycle), slots % cycle, axis=0)


@lru_cache(maxsize=8)
def _one_cycle(offset: int, step: int, cycle: int) -> Floats:
    table = _columns((offset + step * np.arange(cycle)) % _WEEK, step)
    table.flags.writeable = False
    return table


def _columns(time_of_week: NDArray[np.int64], step: int) -> Floats:
    weekday = time_of_week // _DAY
    weekend = (weekday >= 5).astype(np.float64)[:, None]
    parts: list[Floats] = []
    waves = np.empty((len(weekday), 0))
    if step < _DAY:
        turn = 2 * np.pi * (time_of_week % _DAY) / _DAY
        waves = np.stack([f(k * turn) for k in range(1, PAIRS + 1) for f in (np.sin, np.cos)], 1)
        parts.append(waves)
    if step % _WEEK != 0:
        parts += [(weekday[:, None] == np.arange(7)).astype(np.float64), weekend]
    parts.append(waves * weekend)
    return np.hstack(parts)
