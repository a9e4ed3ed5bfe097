"""How files are read with polars: their layouts, the times that they reach over, their rows.

Takes files, gives lazy frames and pieces of them. What was learnt about a file is kept until it is
written again. Next is the folder.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mlma.adapters.sources.columns import SourceColumns
from mlma.adapters.sources.files import SourceFile
from mlma.adapters.sources.windows import Window, on_grid, readable
from mlma.domain.errors import SourceError

Span = tuple[np.datetime64, np.datetime64]
"""First and last time of a file, as the grid counts them."""

_FILE = "__file__"
_LARGE = 4_000_000
_ENDS = (pl.col("ds").min().alias("first"), pl.col("ds").max().alias("last"))


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file looks like.

    columns
        role, name there and type of each column that is read.
    partitions
        columns that the names of its folders tell.
    alone
        the file is read by itself, not together with its neighbours.
    """

    columns: tuple[tuple[str, str, pl.DataType], ...]
    partitions: tuple[str, ...] = ()
    alone: bool = False

    @property
    def ds(self) -> tuple[str, pl.DataType]:
        """Name and type of the column of times."""
        return next((name, kind) for role, name, kind in self.columns if role == "ds")


class Scans:
    """Reads files, and remembers what it learnt about them."""

    def __init__(self, columns: SourceColumns, zone: str | None) -> None:
        self._columns, self._zone = columns, zone
        self._layouts: dict[str, Layout] = {}
        self._spans: dict[str, Span | None] = {}

    def keep(self, files: Sequence[SourceFile]) -> None:
        """Forget all but these files, as they are now."""
        marks = {file.mark for file in files}
        self._layouts = {mark: kept for mark, kept in self._layouts.items() if mark in marks}
        self._spans = {mark: kept for mark, kept in self._spans.items() if mark in marks}

    def knows(self, file: SourceFile) -> bool:
        """Return whether the times of a file are known."""
        return file.mark in self._spans

    def may_hold(self, file: SourceFile, window: Window) -> bool:
        """Return whether a file may have rows of a window."""
        span = self._spans.get(file.mark)
        if span is None:  # not known, or none of its times can be read
            return True
        return bool(span[0] < window.end and span[1] >= window.start)

    def is_inside(self, file: SourceFile, window: Window) -> bool:
        """Return whether all times of a file are known to be in a window."""
        span = self._spans.get(file.mark)
        return span is not None and bool(span[0] >= window.start and span[1] < window.end)

    def layout(self, file: SourceFile) -> Layout:
        """Return what a file looks like.

        Raises
        ------
        SourceError
            It is damaged, not written to its end, or lacks a column.
        """
        if file.mark not in self._layouts:
            self._layouts[file.mark] = self._laid(file)
        return self._layouts[file.mark]

    def rows(self, layout: Layout, run: Sequence[SourceFile]) -> pl.LazyFrame:
        """Return the rows of neighbours of one layout, and the file of each."""
        paths = [file.path for file in run]
        if run[0].is_csv:
            # All as text: ids keep their leading zeros, and bad values can be shown.
            rows = pl.scan_csv(paths, infer_schema=False, glob=False, include_file_paths=_FILE)
            values = dict(run[0].partitions)
            return rows.with_columns(pl.lit(values[name]).alias(name) for name in layout.partitions)
        told = {name: pl.String() for name, _ in run[0].partitions}
        there = {name: kind for _, name, kind in layout.columns if name not in told}
        return pl.scan_parquet(
            paths,
            glob=False,
            schema=there,
            hive_partitioning=bool(told),
            hive_schema=told or None,
            extra_columns="ignore",
            include_file_paths=_FILE,
        )

    def pieces(
        self, rows: pl.LazyFrame, run: Sequence[SourceFile], most: int
    ) -> Iterator[pl.DataFrame]:
        """Yield rows in their order, at most ``most`` at a time, read as they are asked for."""
        pieces = iter(rows.collect_batches(chunk_size=most, lazy=True))
        while True:
            try:
                frame = next(pieces, None)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise unreadable(_culprit(self, run), error) from error
            if frame is None:
                return
            yield from frame.iter_slices(most)

    def learn(self, layout: Layout, run: Sequence[SourceFile]) -> None:
        """Look up the first and last time of each file of one layout."""
        small = [file for file in run if file.size < _LARGE]
        spans = self._ends(layout, small) if small else {}
        for file in run:
            if file.size >= _LARGE:
                spans |= self._ends(layout, [file])
            self._spans[file.mark] = spans.get(file.path)

    def _ends(self, layout: Layout, run: Sequence[SourceFile]) -> dict[str, Span]:
        name, kind = layout.ds
        times = self.rows(layout, run).select(_FILE, pl.col(name).alias("ds"))
        try:
            if isinstance(kind, pl.Date | pl.Datetime):
                ends = _ends_of(times, run)
            else:
                distinct = times.unique().collect(engine="streaming")
                read = readable(distinct["ds"], self._zone, f"`{run[0].path}`")
                ends = _ends_of(distinct.with_columns(read).lazy(), run)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(_culprit(self, run), error) from error
        first, last = (on_grid(ends[end], self._zone).to_numpy() for end in ("first", "last"))
        paths = ends[_FILE].to_list()
        known = (one for one in zip(paths, first, last, strict=True) if not np.isnat(one[1:]).any())
        return {path: (start, end) for path, start, end in known}

    def _laid(self, file: SourceFile) -> Layout:
        found = _columns_in(file)
        partitions = dict.fromkeys(name for name, _ in file.partitions)
        there = found | dict.fromkeys(partitions, pl.String())
        names = self._columns.found(list(there), f"`{file.path}`")
        columns = tuple((role, name, there[name]) for role, name in names.items())
        used = tuple(name for name in partitions if name in names.values())
        return Layout(columns, used if file.is_csv else tuple(partitions), alone=file.is_csv)


def _ends_of(times: pl.LazyFrame, run: Sequence[SourceFile]) -> pl.DataFrame:
    if len(run) == 1:
        return times.select(pl.lit(run[0].path).alias(_FILE), *_ENDS).collect(engine="streaming")
    return times.group_by(_FILE).agg(*_ENDS).collect(engine="streaming")


def _columns_in(file: SourceFile) -> dict[str, pl.DataType]:
    try:
        if not file.is_csv:
            rows = pl.scan_parquet(file.path, glob=False, hive_partitioning=False)
            return dict(rows.collect_schema())
        head = pl.read_csv(file.path, infer_schema=False, n_rows=0, glob=False).columns
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(file, error) from error
    other = next((mark for mark in (";", "\t", "|") if mark in head[0]), None)
    if len(head) == 1 and other:
        raise SourceError(
            f"`{file.path}` must be separated by commas. Got the header `{head[0]}`. "
            f"Hint: write Parquet, or CSV with commas.",
        )
    return dict.fromkeys(head, pl.String())


def _culprit(scans: Scans, run: Sequence[SourceFile]) -> SourceFile:
    """Return the file of several that cannot be read: only now is it worth while to look."""
    for file in run if len(run) > 1 else ():
        try:
            rows = scans.rows(_laid_again(scans, file), [file])
            rows.select(pl.all().null_count()).collect(engine="streaming")
        except (SourceError, pl.exceptions.PolarsError, OSError):
            return file
    return run[0]


def _laid_again(scans: Scans, file: SourceFile) -> Layout:
    _columns_in(file)  # the end of the file may be gone by now
    return scans.layout(file)


def unreadable(file: SourceFile, error: Exception) -> SourceError:
    """Return the error for a file that cannot be read."""
    said = " ".join(str(error).strip().split("\n\n")[0].split()).rstrip(".")
    return SourceError(
        f"`{file.path}` cannot be read as {'CSV' if file.is_csv else 'Parquet'}. Got: "
        f"{said or type(error).__name__}. Hint: it may be damaged or not written to its end; write "
        f"under another name, such as .tmp, and rename it when it is done.",
    )
