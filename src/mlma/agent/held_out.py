"""Held-out losses, grouped into batches: what new model versions bring along.

Takes rows of losses with their times, gives the start of the new references. Next is `deploy`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import DataError
from mlma.domain.periods import MONDAY
from mlma.domain.rows import LossRows
from mlma.domain.settings import MLMA
from mlma.domain.state import HeldOut
from mlma.stats.calendar import calendar_class
from mlma.steps.ease import difficulty
from mlma.steps.lay import block, slot_block

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def held_out_batches(
    rows: LossRows,
    names: Sequence[str],
    level: Floats,
    batch: np.timedelta64,
    monitor: MLMA,
    *,
    slot: np.timedelta64 | None = None,
) -> HeldOut:
    """Return the last held-out batches of the streams ``names``, the newest at the end.

    ``names`` holds at least one. ``level (len(names),)`` is the usual level of the benchmark's
    loss; NaN = none. ``slot`` is the length of a slot, where losses have places of their own. A
    stream without held-out losses gets an empty reference.

    Raises
    ------
    DataError
        The losses have no times.
    """
    period = np.asarray((times_of(rows) - MONDAY) // batch, dtype=np.int64)
    stream = _places(rows, names)
    last = _last_period(stream, period, len(names))
    back = np.where(stream >= 0, last[stream] - period, monitor.reference_batches)
    kept = back < monitor.reference_batches
    n_batches = int(back[kept].max(initial=0)) + 1
    cell = np.where(kept, stream * n_batches + (n_batches - 1 - back), -1)
    cells = len(names) * n_batches
    losses = (
        block(rows, cell, cells) if slot is None else slot_block(rows, cell, cells, slot, batch)
    )
    starts = MONDAY + (last[:, None] - np.arange(n_batches)[::-1]) * batch
    nothing_new = np.full(len(names), np.nan)
    ease, _ = difficulty(nothing_new, level, monitor.adjustment)
    return HeldOut(
        losses=losses.reshape(len(names), n_batches, -1),
        calendar=calendar_class(starts, batch, monitor.calendar),
        difficulty=np.repeat(ease[:, None], n_batches, axis=1),
    )


def times_of(rows: LossRows) -> NDArray[np.datetime64]:
    """Return the times of held-out losses.

    Raises
    ------
    DataError
        They have none.
    """
    if rows.ds is None:
        raise DataError(
            "Held-out losses need the column `ds`, so that they can be grouped into batches. "
            "Got none.",
        )
    return rows.ds


def _places(rows: LossRows, names: Sequence[str]) -> Ints:
    """Return each row's place in ``names``, ``(n_rows,)``; -1 = not among them."""
    place = {name: at for at, name in enumerate(names)}
    of_stream = np.array([place.get(name, -1) for name in rows.ids], dtype=np.int64)
    return of_stream[rows.code]


def _last_period(stream: Ints, period: Ints, n: int) -> Ints:
    """Return the newest period of each stream, ``(n,)``; 0 where it has no row."""
    found = stream >= 0
    last = np.full(n, np.iinfo(np.int64).min)
    np.maximum.at(last, stream[found], period[found])
    return np.where(last == np.iinfo(np.int64).min, 0, last)
