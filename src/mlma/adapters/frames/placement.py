"""Rows on the grid: which row fills which slot, and which are left out.

Takes rows and grid, gives dense arrays. Next is the panel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.frames.columns import Floats
from mlma.adapters.frames.grids import Rows
from mlma.domain.leftovers import LeftOut
from mlma.domain.streams import Grid

Bools = NDArray[np.bool_]
Places = NDArray[np.int64]

OFF_GRID = "off the slot grid"
DUPLICATE = "duplicate (stream, slot)"
REPEATED_HOUR = "repeated wall-clock slot (daylight saving)"


@dataclass(frozen=True, slots=True)
class Placement:
    """Which rows are used, and the slot that each fills.

    row
        ``(n_used,) int64``, place among the rows.
    cell
        ``(n_used,) int64``, place in the dense array ``(n_streams * n_slots,)``.
    shared
        ``(n_used,) bool``, slots that two rows fill: the repeated hour of a 25-hour day.
    """

    row: Places
    cell: Places
    shared: Bools
    n_cells: int

    def dense(self, values: Floats) -> Floats:
        """Return the values of the rows on the grid, ``(n_cells,) float64``; NaN = no value.

        Rows that share a slot give the mean of their values.
        """
        used = values[self.row]
        flat = np.full(self.n_cells, np.nan)
        flat[self.cell] = used
        if self.shared.any():
            cells, group = np.unique(self.cell[self.shared], return_inverse=True)
            few = used[self.shared]
            seen = np.isfinite(few)
            total = np.bincount(group, np.where(seen, few, 0.0))
            count = np.bincount(group, seen)
            empty = np.full(len(cells), np.nan)
            flat[cells] = np.divide(total, count, out=empty, where=count > 0)
        return flat


def place(rows: Rows, grid: Grid) -> tuple[Placement, tuple[LeftOut, ...]]:
    """Return where each row goes, and the rows that are left out.

    Left out are rows off the slot grid, and of rows with the same stream and instant all but the
    last one. The two rows of a repeated wall-clock hour are both used.
    """
    offset = rows.wall - grid.start.astype(np.int64)
    slot = grid.step.astype(np.int64)
    n_slots = grid.slots * grid.n_batches
    number = offset // slot
    on_grid = number * slot == offset
    cell = rows.code * n_slots + number
    duplicate, shared = _rivals(cell, rows.instant, np.flatnonzero(on_grid))
    used = np.flatnonzero(on_grid & ~duplicate)
    left_out = (
        *rows_left_out(OFF_GRID, rows, ~on_grid),
        *rows_left_out(DUPLICATE, rows, duplicate),
        *_repeated_hours(rows, cell, used[shared[used]]),
    )
    n_cells = n_slots * len(rows.ids)
    return Placement(used, cell[used], shared[used], n_cells), left_out


def rows_left_out(reason: str, rows: Rows, mask: Bools) -> tuple[LeftOut, ...]:
    """Return one entry for the rows of a mask, or none where the mask is empty."""
    places = np.flatnonzero(mask)
    if not len(places):
        return ()
    examples = tuple(rows.shown(row) for row in places[:3])
    return (LeftOut(reason, "rows", len(places), examples),)


def _rivals(cell: Places, instant: Places, candidates: Places) -> tuple[Bools, Bools]:
    """Return which rows are duplicates, and which share their slot with another instant."""
    duplicate = np.zeros(len(cell), dtype=np.bool_)
    shared = np.zeros(len(cell), dtype=np.bool_)
    claims = cell[candidates]
    if np.all(claims[1:] > claims[:-1]):  # the usual file: sorted, every slot once
        return duplicate, shared
    few = candidates[np.bincount(claims)[claims] > 1]
    few = few[np.lexsort((few, instant[few], cell[few]))]
    again = (cell[few[1:]] == cell[few[:-1]]) & (instant[few[1:]] == instant[few[:-1]])
    duplicate[few[:-1][again]] = True
    rest = few[~duplicate[few]]
    pair = cell[rest[1:]] == cell[rest[:-1]]
    shared[rest[:-1][pair]] = True
    shared[rest[1:][pair]] = True
    return duplicate, shared


def _repeated_hours(rows: Rows, cell: Places, shared: Places) -> tuple[LeftOut, ...]:
    """Return the entry for rows whose value went into a mean with another row's."""
    beyond_first = np.zeros(len(cell), dtype=np.bool_)
    _, first = np.unique(cell[shared], return_index=True)
    beyond_first[np.delete(shared, first)] = True
    return rows_left_out(REPEATED_HOUR, rows, beyond_first)
