"""The history of all streams, from any frame or file to one panel.

Takes a frame or a path, gives a panel on a common grid and an account of what was left out. Next
is the replay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.frames.columns import (
    Columns,
    Floats,
    coded,
    read_ids,
    read_numbers,
    refuse_empty,
    require,
)
from mlma.adapters.frames.extras import choose, labels, names
from mlma.adapters.frames.grids import Rows, grid_of
from mlma.adapters.frames.opening import Opened, open_frame
from mlma.adapters.frames.placement import Placement, place, rows_left_out
from mlma.adapters.frames.times import Times, read_times
from mlma.domain.durations import duration_text
from mlma.domain.errors import DataError
from mlma.domain.leftovers import LeftOut, merge_left_out
from mlma.domain.streams import Grid, Panel

__all__ = ["Columns", "History", "read_history"]


@dataclass(frozen=True)
class History:
    """A panel, what was left out of it, and what its columns were called."""

    panel: Panel
    left_out: tuple[LeftOut, ...]
    columns: Columns


def read_history(
    source: Any,
    *,
    columns: Columns | None = None,
    batch: str = "1d",
    step: str | None = None,
    tags: Sequence[str] | None = None,
    exogenous: Sequence[str] | None = None,
    forbid_negative: bool = False,
) -> History:
    """Return the history of all streams on one grid of slots.

    Parameters
    ----------
    source
        pandas, polars, Arrow or other frame, or the path of a .parquet or .csv file or of a
        folder of .parquet files. One row is one slot of one stream, in any order.
    columns
        what the columns are called; ``unique_id``, ``ds`` and ``y`` without it.
    batch
        length of a batch, a whole multiple of the slot length.
    step
        length of a slot; the most frequent distance of neighbouring slots without it.
    tags, exogenous
        columns of labels, constant within each stream, and of features known in advance. Without
        them numeric columns are exogenous, others are tags where they are constant.
    forbid_negative
        negative values count as missing.

    Returns
    -------
    History
        Its panel has sorted ids; ``y`` is ``(n_streams, n_batches, slots) float64`` with NaN =
        missing. Times with a zone become the wall clock of that zone; the hour that a 25-hour day
        has twice gives its mean, the hour that a 23-hour day lacks stays missing.

    Raises
    ------
    DataError
        The source is not what was asked for; the message names column, expected, got and a hint.
    SettingsError
        A length of time, or ``batch`` together with the slot length, does not fit.

    >>> frame = {"unique_id": ["A"] * 3, "ds": ["2024-01-01", "2024-01-02", "2024-01-04"]}
    >>> history = read_history(pl.DataFrame(frame | {"y": [1.0, 2.0, 4.0]}))
    >>> history.panel.y.ravel().tolist()
    [1.0, 2.0, nan, 4.0]
    """
    columns = columns or Columns()
    tags, exogenous = names(tags), names(exogenous)
    named = (columns.unique_id, columns.ds, columns.y, *(tags or ()))
    opened = open_frame(source, named)
    require(opened, [(role, getattr(columns, role)) for role in ("unique_id", "ds", "y")])
    refuse_empty(opened)
    extras = choose(opened, columns, tags, exogenous)
    rows, kept, without_key = _keyed_rows(opened, columns)
    found_tags, without_role = labels(opened, extras, kept, rows)
    grid = grid_of(rows, batch, step, opened.where)
    placement, unplaced = place(rows, grid)
    _refuse_all_off_grid(rows, grid, placement, opened.where)
    y, bad_y = _clean_y(read_numbers(opened, columns.y)[kept], rows, placement, forbid_negative)
    features, bad_features = _features(opened, extras.exogenous, kept, rows, placement)
    shape = (len(rows.ids), grid.n_batches, grid.slots)
    panel = Panel(
        ids=rows.ids,
        grid=grid,
        y=placement.dense(y).reshape(shape),
        exogenous=features.reshape(*shape, len(extras.exogenous)),
        exogenous_names=extras.exogenous,
        tags=found_tags,
    )
    left_out = merge_left_out(without_key, unplaced, bad_y, bad_features, without_role)
    return History(panel, left_out, columns)


def _keyed_rows(
    opened: Opened, columns: Columns
) -> tuple[Rows, NDArray[np.bool_], tuple[LeftOut, ...]]:
    """Return the rows with id and time, the mask that selects them, and the rows without."""
    ids = read_ids(opened, columns.unique_id)
    times = read_times(opened, columns.ds)
    no_id = ids.is_null().to_numpy()
    no_time = np.isnat(times.wall) & ~no_id
    kept = ~(no_id | no_time)
    if not kept.any():
        raise DataError(
            f"No row of {opened.where} has both `{columns.unique_id}` and `{columns.ds}`. "
            f"Got {int(no_id.sum())} rows without the first, {int(no_time.sum())} without the "
            f"second.",
        )
    left_out = (
        *_null_rows(f"null {columns.unique_id}", no_id),
        *_null_rows(f"null {columns.ds}", no_time),
    )
    return _rows(ids, times, kept), kept, left_out


def _rows(ids: pl.Series, times: Times, kept: NDArray[np.bool_]) -> Rows:
    ids = ids.filter(pl.Series(kept))
    distinct = ids.unique().sort()
    return Rows(
        ids=tuple(distinct.to_list()),
        code=coded(ids, distinct),
        wall=times.wall[kept].astype(np.int64),
        instant=times.instant[kept].astype(np.int64),
    )


def _null_rows(reason: str, mask: NDArray[np.bool_]) -> tuple[LeftOut, ...]:
    places = np.flatnonzero(mask)
    examples = tuple(f"row {place + 1}" for place in places[:3])
    return (LeftOut(reason, "rows", len(places), examples),) if len(places) else ()


def _clean_y(
    y: Floats, rows: Rows, placement: Placement, forbid_negative: bool
) -> tuple[Floats, tuple[LeftOut, ...]]:
    """Return ``y`` with NaN for what is no value, and the count of each kind."""
    used = np.zeros(len(y), dtype=np.bool_)
    used[placement.row] = True
    infinite = np.isinf(y)
    negative = (y < 0) & ~infinite if forbid_negative else np.zeros_like(infinite)
    left_out = (
        *rows_left_out("missing y", rows, np.isnan(y) & used),
        *rows_left_out("infinite y", rows, infinite & used),
        *rows_left_out("negative y", rows, negative & used),
    )
    return np.where(infinite | negative, np.nan, y), left_out


def _features(
    opened: Opened,
    exogenous: Sequence[str],
    kept: NDArray[np.bool_],
    rows: Rows,
    placement: Placement,
) -> tuple[Floats, tuple[LeftOut, ...]]:
    """Return the features on the grid, ``(n_cells, n_exogenous)``; infinite ones become NaN."""
    features = np.empty((placement.n_cells, len(exogenous)))
    left_out: tuple[LeftOut, ...] = ()
    for place_of_column, name in enumerate(exogenous):
        values = read_numbers(opened, name)[kept]
        infinite = np.isinf(values)
        left_out += rows_left_out(f"infinite {name}", rows, infinite)
        features[:, place_of_column] = placement.dense(np.where(infinite, np.nan, values))
    return features, left_out


def _refuse_all_off_grid(rows: Rows, grid: Grid, placement: Placement, where: str) -> None:
    if not len(placement.row):
        raise DataError(
            f"No row of {where} lies on the slot grid: slots of {duration_text(grid.step)} from "
            f"midnight. Got {rows.shown(0)} first. Hint: round the times down to the slot, convert "
            f"them to the local time zone, or set `step`.",
        )
