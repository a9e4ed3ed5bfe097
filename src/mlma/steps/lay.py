"""Loss rows as dense blocks, one row per stream.

Takes the rows of a call in any order, gives what the cycle reads. Next is the assessment.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.periods import MONDAY
from mlma.domain.rows import LossRows
from mlma.domain.state import AgentState

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def loss_block(
    rows: LossRows, batch: np.timedelta64 | None = None, slot: np.timedelta64 | None = None
) -> Floats:
    """Return the losses of each stream, ``(n_streams, width)``; NaN behind the last one.

    With a ``slot`` each stands in the place of its slot, see `slot_block`. Otherwise by time; where
    times are equal or not known, by size: the same losses in another order have the same mean to
    the last bit.
    """
    if slot is not None and batch is not None:
        return slot_block(rows, rows.code, len(rows.ids), slot, batch)
    return block(rows, rows.code, len(rows.ids))


def slot_block(
    rows: LossRows, cell: Ints, n: int, slot: np.timedelta64, batch: np.timedelta64
) -> Floats:
    """Return the losses of each of ``n`` cells in the places of their slots, ``(n, slots)``.

    ``cell`` as in `block`; the losses have times. Of several losses of one slot the largest stays:
    the same whatever their order.
    """
    width = int(batch // slot)
    dense = np.full((n, width), np.nan)
    if rows.ds is None:
        return dense
    kept = (cell >= 0) & (cell < n)
    place = np.asarray(((rows.ds - MONDAY) % batch) // slot, dtype=np.int64)
    np.fmax.at(dense, (cell[kept], place[kept]), rows.loss[kept])
    return dense


def block(rows: LossRows, cell: Ints, n: int) -> Floats:
    """Return the losses of each of ``n`` cells, ``(n, width)``, ordered as in `loss_block`.

    ``cell (n_rows,)`` is the cell of each row; rows outside of 0 to ``n - 1`` are left out.
    """
    keys = [rows.loss, cell] if rows.ds is None else [rows.loss, rows.ds, cell]
    order = np.lexsort(keys)
    order = order[(cell[order] >= 0) & (cell[order] < n)]
    sorted_cell = cell[order]
    counts = np.bincount(sorted_cell, minlength=n)
    starts = np.cumsum(counts) - counts
    width = max(int(counts.max(initial=0)), 1)
    dense = np.full((n, width), np.nan)
    dense[sorted_cell, np.arange(len(order)) - starts[sorted_cell]] = rows.loss[order]
    return dense


def same_width(state: AgentState, losses: Floats) -> tuple[AgentState, Floats]:
    """Return state and losses with as many slots, where the state keeps single losses."""
    window = state.reference.window
    if window is None:
        return state, losses
    width = max(window.losses.shape[2], losses.shape[-1])
    return widened(state, width), _padded(losses, width)


def same_windows(one: AgentState, other: AgentState) -> tuple[AgentState, AgentState]:
    """Return both states with room for as many single losses, where they keep any."""
    widths = [
        made.reference.window.losses.shape[2]
        for made in (one, other)
        if made.reference.window is not None
    ]
    width = max(widths, default=0)
    return widened(one, width), widened(other, width)


def widened(state: AgentState, slots: int) -> AgentState:
    """Return the state with room for ``slots`` losses in each batch of its references."""
    window = state.reference.window
    if window is None or window.losses.shape[2] >= slots:
        return state
    wide = replace(window, losses=_padded(window.losses, slots))
    return replace(state, reference=replace(state.reference, window=wide))


def _padded(losses: Floats, slots: int) -> Floats:
    missing = np.full((*losses.shape[:-1], slots - losses.shape[-1]), np.nan)
    return np.concatenate([losses, missing], axis=-1)
