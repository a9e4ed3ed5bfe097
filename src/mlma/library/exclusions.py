"""Exclusions: what is labelled as broken becomes missing, before anything is trained or judged.

Takes a panel and spans of time, gives the panel without the values in them and an account of what
was taken out. Next is the replay.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.frames.exclusions import Exclusions, read_exclusions
from mlma.domain.errors import DataError
from mlma.domain.leftovers import LeftOut
from mlma.domain.streams import Grid, Panel

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

LABELLED = "excluded: labelled as broken"
UNKNOWN = "exclusion of an unknown stream"
OUTSIDE = "exclusion outside the history"


def without_excluded(
    panel: Panel, source: Any, id_column: str = "unique_id"
) -> tuple[Panel, tuple[LeftOut, ...]]:
    """Return the panel whose excluded slots are missing, and what was taken out.

    A slot is excluded if any part of it lies in a span. Lags, references and training treat it as
    they treat any gap. Counted are the observed values that were taken out, and the rows of the
    source that concern no stream, or no slot, of this panel.

    Parameters
    ----------
    source
        see `mlma.adapters.frames.exclusions.read_exclusions`.

    Raises
    ------
    DataError
        The source is not what was asked for, or no row of it concerns this history.

    >>> import polars as pl
    >>> grid = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(86_400_000_000, "us"), 1, 3)
    >>> panel = Panel(("a",), grid, np.ones((1, 3, 1)), np.empty((1, 3, 1, 0)))
    >>> spans = pl.DataFrame({"start": ["2024-01-02"], "end": ["2024-01-03"]})
    >>> less, left_out = without_excluded(panel, spans)
    >>> less.y.ravel().tolist(), left_out[0].count
    ([1.0, nan, 1.0], 1)
    """
    spans = read_exclusions(source, id_column)
    first, last = _slots(panel.grid, spans)
    known = {name: row for row, name in enumerate(panel.ids)}
    strange = np.array([name is not None and name not in known for name in spans.ids])
    outside = (first >= last) & ~strange
    if (strange | outside).all():
        raise _nothing_matched(panel, spans, int(strange.sum()))
    excluded = np.zeros((len(panel), panel.grid.n_batches * panel.grid.slots), dtype=np.bool_)
    for at in np.flatnonzero(~strange & ~outside).tolist():
        name = spans.ids[at]
        excluded[slice(None) if name is None else known[name], first[at] : last[at]] = True
    away = excluded.reshape(panel.y.shape)
    taken = away & np.isfinite(panel.y)
    left_out = [
        *_taken(panel, taken),
        *_rows(UNKNOWN, spans, strange),
        *_rows(OUTSIDE, spans, outside),
    ]
    return replace(panel, y=np.where(away, np.nan, panel.y)), tuple(left_out)


def _slots(grid: Grid, spans: Exclusions) -> tuple[Ints, Ints]:
    """Return the first slot of each span and the one after its last, within the grid."""
    n_slots = grid.n_batches * grid.slots
    first = (spans.start - grid.start) // grid.step
    last = -((grid.start - spans.end) // grid.step)  # rounded up
    return np.clip(first, 0, n_slots), np.clip(last, 0, n_slots)


def _taken(panel: Panel, taken: Bools) -> Iterator[LeftOut]:
    count = int(taken.sum())
    if not count:
        return
    times = panel.grid.slot_times().reshape(panel.y.shape[1:])
    where = np.argwhere(taken)[:3].tolist()
    shown = tuple(f"{panel.ids[row]} {_when(times[batch, slot])}" for row, batch, slot in where)
    yield LeftOut(LABELLED, "rows", count, shown)


def _rows(reason: str, spans: Exclusions, which: Bools) -> Iterator[LeftOut]:
    rows = np.flatnonzero(which)
    if len(rows):
        shown = tuple(f"{spans.ids[row] or 'all'} {_when(spans.start[row])}" for row in rows[:3])
        yield LeftOut(reason, "rows", len(rows), shown)


def _nothing_matched(panel: Panel, spans: Exclusions, strange: int) -> DataError:
    times = panel.grid.batch_starts()
    return DataError(
        f"`exclude` of `replay` takes nothing out. Expected streams and times of the history: "
        f"{len(panel)} streams, {_when(times[0])} to {_when(times[-1] + panel.grid.batch)}. "
        f"Got {len(spans)} rows, {strange} of them for unknown streams, "
        f"first: {spans.ids[0] or 'all'} {_when(spans.start[0])}. "
        f"Hint: times are those of the clock on the wall, names are compared as text."
    )


def _when(time: np.datetime64) -> str:
    return str(time.astype("datetime64[s]")).replace("T", " ")
