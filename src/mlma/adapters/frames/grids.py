"""The common grid of slots, found from the rows.

Takes the rows of all streams, gives the grid: the slot length is the most frequent distance of
neighbouring slots, the first slot is a midnight. Next is the placement of rows on it.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.frames.columns import Codes
from mlma.domain.durations import MICROSECONDS, duration, duration_text
from mlma.domain.errors import DataError, SettingsError, first_three
from mlma.domain.streams import Grid

Micros = NDArray[np.int64]

_DAY = MICROSECONDS["d"]
_WEEK = MICROSECONDS["w"]
_CELLS = 10**8
_BATCHES = 10**5  # 270 years of days: somebody's "never" or "unknown"
_DENSITY = 0.001
_CALENDAR_GAPS = ({28, 29, 30, 31}, {90, 91, 92}, {365, 366})  # months, quarters, years, in days


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of all streams that have an id and a time, in the order of the source.

    ids
        distinct ids, sorted.
    code
        ``(n_rows,) int64``, place in ``ids``.
    wall, instant
        ``(n_rows,) int64``, microseconds since 1970 by the wall clock and in UTC.
    """

    ids: tuple[str, ...]
    code: Codes
    wall: Micros
    instant: Micros

    def shown(self, row: int) -> str:
        """Return a row as messages show it."""
        return f"{self.ids[self.code[row]]} {when(self.wall[row])}"


def when(micros: int) -> str:
    """Return a wall-clock time in ISO form.

    >>> when(90_000_000)
    '1970-01-01 00:01:30'
    """
    moment = np.datetime64(int(micros), "us")
    return str(moment.astype("datetime64[s]")).replace("T", " ")


def grid_of(rows: Rows, batch: str, step: str | None, where: str) -> Grid:
    """Return the grid that covers all rows in whole batches.

    It starts at midnight of the first day, where a batch is a number of weeks at midnight of that
    week's Monday. Slots longer than a day start on the day on which most of the data lie.

    Raises
    ------
    DataError
        The slot length cannot be told, or the grid would be absurdly empty.
    SettingsError
        ``batch`` is not a whole multiple of the slot length.
    """
    batch_length = _micros(duration(batch, "batch"))
    slot = _micros(duration(step, "step")) if step is not None else usual_step(rows, where)
    if batch_length % slot:
        origin = "given" if step is not None else "found in the data"
        raise SettingsError(
            f"`batch` must be a whole multiple of the slot length. Got batch={batch!r} and a slot "
            f"length of {_text(slot)} ({origin}). "
            f'Hint: batch="{_text(slot * max(1, round(batch_length / slot)))}", or set `step`.',
        )
    start = _start(rows.wall, batch_length, slot)
    last = int(rows.wall.max())
    n_batches = (last - start) // batch_length + 1
    slots = batch_length // slot
    _refuse_absurd(rows, n_batches, slots, slot, where)
    return Grid(np.datetime64(start, "us"), np.timedelta64(slot, "us"), slots, n_batches)


def usual_step(rows: Rows, where: str) -> int:
    """Return the most frequent distance of neighbouring slots of a stream, in microseconds.

    Of equally frequent distances the shortest is taken.
    """
    code, instant = _by_stream(rows.code, rows.instant)
    gaps = np.diff(instant)[code[1:] == code[:-1]]
    counted = pl.Series("gap", gaps[gaps > 0]).value_counts()
    if counted.is_empty():
        raise DataError(
            f"The slot length cannot be told from {where}: no stream has two different times. "
            f'Hint: set it, for example step="1h".',
        )
    _refuse_calendar(counted["gap"].to_numpy(), where)
    most = counted.filter(pl.col("count") == pl.col("count").max())
    return int(most["gap"].to_numpy().min())


def _by_stream(code: Codes, instant: Micros) -> tuple[Codes, Micros]:
    """Return both, sorted by stream and instant."""
    ordered = (code[1:] == code[:-1]) & (instant[1:] >= instant[:-1])
    if np.all(ordered | (code[1:] > code[:-1])):
        return code, instant
    first = int(instant.min())
    span = int(instant.max()) - first + 1
    if span * (int(code.max()) + 1) < 2**63:
        # One sort of plain integers takes a tenth of the time of a sort by two keys.
        both = np.sort(code * span + (instant - first))
        return both // span, both % span + first
    table = pl.DataFrame({"code": code, "instant": instant}).sort("code", "instant")
    return table["code"].to_numpy(), table["instant"].to_numpy()


def _refuse_calendar(gaps: Micros, where: str) -> None:
    """Raise where all distances are months, quarters or years: their length is not fixed."""
    days = {int(gap) // _DAY for gap in gaps[:8]}
    whole = bool(np.all(gaps % _DAY == 0))
    if whole and 1 < len(gaps) <= 8 and any(days <= kind for kind in _CALENDAR_GAPS):
        raise DataError(
            f"The slots of {where} must have a fixed length. Got distances of "
            f"{', '.join(f'{day} days' for day in sorted(days))}: months, quarters and years are "
            f"not supported. Hint: use daily or weekly values.",
        )


def _start(wall: Micros, batch: int, slot: int) -> int:
    first_day = int(wall.min()) // _DAY * _DAY
    if slot > _DAY:
        phases, counts = np.unique(wall // _DAY * _DAY % slot, return_counts=True)
        phase = int(phases[counts.argmax()])
        return (first_day - phase) // slot * slot + phase
    if batch % _WEEK == 0:
        monday = 4 * _DAY  # 1970-01-05
        return (first_day - monday) // _WEEK * _WEEK + monday
    return first_day


def _refuse_absurd(rows: Rows, n_batches: int, slots: int, slot: int, where: str) -> None:
    """Raise where a date far off would blow the grid up, rather than allocate terabytes."""
    cells = n_batches * slots * len(rows.ids)
    small = cells <= _CELLS and n_batches <= _BATCHES
    if small or len(rows.code) >= cells * _DENSITY:
        return
    early, late = int(rows.wall.min()), int(rows.wall.max())
    raise DataError(
        f"The times of {where} span too long a grid: {n_batches * slots:,} slots of "
        f"{_text(slot)} for {len(rows.ids):,} streams, and only {len(rows.code):,} rows. "
        f"Earliest: {when(early)} ({_holders(rows, early)}); "
        f"latest: {when(late)} ({_holders(rows, late)}). "
        f"Hint: correct or filter these dates, or set `step`.",
    )


def _holders(rows: Rows, wall: int) -> str:
    return first_three(rows.ids[code] for code in np.unique(rows.code[rows.wall == wall]))


def _micros(length: np.timedelta64) -> int:
    return int(length.astype(np.int64))


def _text(micros: int) -> str:
    return duration_text(np.timedelta64(micros, "us"))
