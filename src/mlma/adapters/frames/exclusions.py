"""Spans of time that are labelled as broken, from any frame or file.

Takes a frame or a path, gives a stream (or all) with start and end per row. Next is the panel, from
which they are taken out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.frames.columns import read_ids, refuse_empty, require, wrong_values
from mlma.adapters.frames.opening import Opened, open_frame
from mlma.adapters.frames.times import read_times

Times64 = NDArray[np.datetime64]

_DAY = np.timedelta64(86_400_000_000, "us")


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Spans that are excluded, one per row.

    ids
        the stream of each; None = all streams.
    start, end
        ``(n_rows,) datetime64[us]``, wall clock; ``end`` is exclusive.
    """

    ids: tuple[str | None, ...]
    start: Times64
    end: Times64

    def __len__(self) -> int:
        return len(self.ids)


def read_exclusions(source: Any, id_column: str = "unique_id") -> Exclusions:
    """Return the spans that a frame or file labels as broken.

    Parameters
    ----------
    source
        frame or path with the columns ``start`` and ``end`` (dates or times; ``end`` is exclusive,
        and empty where ``start`` is a day: that day) and, if the spans are of single streams,
        ``id_column`` or ``unique_id`` (empty = all streams).

    Raises
    ------
    DataError
        A column is missing or unreadable, a start is missing, a time has no end, or an end is not
        after its start; the message names the first three rows.

    >>> import polars as pl
    >>> frame = pl.DataFrame({"start": ["2024-03-01", "2024-05-01 06:00"]})
    >>> made = read_exclusions(frame.with_columns(end=pl.Series([None, "2024-05-03"])))
    >>> (made.end - made.start).astype("timedelta64[h]").astype(int).tolist()
    [24, 42]
    """
    opened = open_frame(source, (id_column, "unique_id", "start", "end"))
    require(opened, [("start of an exclusion", "start"), ("end of an exclusion", "end")])
    refuse_empty(opened)
    start, end = read_times(opened, "start").wall, read_times(opened, "end").wall
    _refuse(
        opened, "start", np.isnat(start), "a date or a time in every row", "the end may be empty"
    )
    whole_day = start == start.astype("datetime64[D]")
    lone = np.isnat(end)
    hint = "only the end of a whole day may be empty"
    _refuse(opened, "end", lone & ~whole_day, "given where the start is a time of day", hint)
    end = np.where(lone, start + _DAY, end)
    hint = "the end is exclusive; leave it empty for a single day"
    _refuse(opened, "end", end <= start, "after the start", hint)
    return Exclusions(_ids(opened, id_column), start, end)


def _ids(opened: Opened, id_column: str) -> tuple[str | None, ...]:
    for name in (id_column, "unique_id"):
        if name in opened.frame.columns:
            return tuple(read_ids(opened, name).to_list())
    return (None,) * opened.frame.height


def _refuse(opened: Opened, name: str, bad: NDArray[np.bool_], expected: str, hint: str) -> None:
    if bad.any():
        raise wrong_values(opened, name, expected, np.flatnonzero(bad), hint)
