"""Forecasts or actuals in files: one file, a folder of them, or a pattern.

Takes Parquet and CSV files as they lie there, gives the rows of the slots that are asked for, in
pieces. Next is the door, which checks them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from os import PathLike, fspath

import numpy as np
import polars as pl

from mlma.adapters.sources.columns import columns_of
from mlma.adapters.sources.files import SourceFile, source_files
from mlma.adapters.sources.scans import Layout, Scans
from mlma.adapters.sources.windows import Window, readable, tidied
from mlma.domain.inbox import Kind

PIECE = 5_000_000
"""Most rows of a piece: some 200 MB."""


class FolderSource:
    """Rows in Parquet or CSV files that somebody else writes.

    name
        for messages.
    kind
        what the rows are.
    path
        a ``.parquet`` or ``.csv`` file, a folder (with its sub-folders; ``date=2024-03-31`` is a
        column of its files), or a pattern such as ``out/day-*.parquet``.
    columns
        what ``unique_id``, ``ds``, ``y``, ``y_hat`` and ``cutoff`` are called there.
    zone
        time zone of the grid, if it has one: see `mlma.adapters.sources.windows`.
    piece
        most rows of a frame.

    Files are read in lexical order of their places: rows of later files overrule those of earlier
    ones, as later rows of a file do. It may be used by one thread at a time.

    Raises
    ------
    SettingsError
        A column or the kind is unknown.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        path: str | PathLike[str],
        columns: Mapping[str, str] | None = None,
        *,
        zone: str | None = None,
        piece: int = PIECE,
    ) -> None:
        self._name, self._path = name, fspath(path)
        self._columns = columns_of(kind, columns)
        self._zone, self._piece = zone, piece
        self._scans = Scans(self._columns, zone)

    @property
    def name(self) -> str:
        """Name for messages."""
        return self._name

    @property
    def kind(self) -> Kind:
        """What its rows are."""
        return self._columns.kind

    def frames(self, start: np.datetime64, end: np.datetime64) -> Iterator[pl.DataFrame]:
        """Yield the rows of slots in ``[start, end)``; an empty folder has none.

        Parquet is filtered by its statistics first. Rows of CSV files whose time cannot be read
        come with every window that the file reaches into, their ``ds`` null, to be counted.

        Raises
        ------
        SourceError
            The folder is missing; a file is damaged or not written to its end (it is named); a
            column is missing.
        """
        window = Window(start, end, self._zone)
        files = [file for file in self._files() if self._scans.may_hold(file, window)]
        for layout, run in self._runs(files):
            yield from self._read(layout, run, window)

    def stamp(self, start: np.datetime64, end: np.datetime64) -> str:
        """Return a text that changes when a file that reaches into the window was written anew.

        It is made of places, sizes and times of writing. Each file is looked into once, for its
        first and last time.
        """
        window = Window(start, end, self._zone)
        files = self._files()
        for layout, run in self._runs([file for file in files if not self._scans.knows(file)]):
            self._scans.learn(layout, run)
        marks = "\n".join(file.mark for file in files if self._scans.may_hold(file, window))
        return hashlib.blake2b(marks.encode(), digest_size=16).hexdigest()

    def _files(self) -> list[SourceFile]:
        files = source_files(self._path)
        self._scans.keep(files)
        return files

    def _runs(self, files: Sequence[SourceFile]) -> Iterator[tuple[Layout, list[SourceFile]]]:
        """Yield neighbours of one layout: they are read in one go."""
        laid = [(self._scans.layout(file), file) for file in files]
        for (layout, _), run in groupby(laid, key=lambda one: (one[0], one[0].alone and one[1])):
            yield layout, [file for _, file in run]

    def _read(
        self, layout: Layout, run: list[SourceFile], window: Window
    ) -> Iterator[pl.DataFrame]:
        where, rows = f"`{run[0].path}`", self._scans.rows(layout, run)
        inside = window.predicate(*layout.ds)
        # Where all times are known to be inside, comparing each would cost a fifth of the reading.
        if inside is not None and not all(self._scans.is_inside(file, window) for file in run):
            rows = rows.filter(inside)
        chosen = rows.select(pl.col(name).alias(role) for role, name, _ in layout.columns)
        for frame in self._scans.pieces(chosen, run, self._piece):
            kept = frame if inside is not None else _cut(frame, window, where)
            if kept.height:
                yield tidied(kept, self._columns.value, self._zone, where)


def _cut(frame: pl.DataFrame, window: Window, where: str) -> pl.DataFrame:
    """Return the rows inside, where times are text."""
    times = readable(frame["ds"], window.zone, where)
    return frame.with_columns(times).filter(window.inside(times))
