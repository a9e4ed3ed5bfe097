"""Loss rows as dense blocks, one row per stream.

Takes the rows of a call in any order, gives what the cycle reads. Next is the assessment.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.frames.losses import LossRows
from mlma.domain.state import AgentState

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def loss_block(rows: LossRows) -> Floats:
    """Return the losses of each stream, ``(n_streams, width)``; NaN behind the last one.

    By time; where times are equal or not known, by size: the same losses in another order have
    the same mean to the last bit.
    """
    return block(rows, rows.code, len(rows.ids))


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
    kept = state.reference.losses
    if kept is None:
        return state, losses
    width = max(kept.shape[2], losses.shape[-1])
    return widened(state, width), _padded(losses, width)


def widened(state: AgentState, slots: int) -> AgentState:
    """Return the state with room for ``slots`` losses in each batch of its references."""
    kept, anchor = state.reference.losses, state.reference.anchor_losses
    if kept is None or anchor is None or kept.shape[2] >= slots:
        return state
    wide = replace(
        state.reference, losses=_padded(kept, slots), anchor_losses=_padded(anchor, slots)
    )
    return replace(state, reference=wide)


def _padded(losses: Floats, slots: int) -> Floats:
    missing = np.full((*losses.shape[:-1], slots - losses.shape[-1]), np.nan)
    return np.concatenate([losses, missing], axis=-1)
