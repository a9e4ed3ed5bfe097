"""The history of the platform: actuals as Parquet files, one per day on which they came.

Takes frames ``unique_id, ds, y``, gives the last days of all streams on one grid. Later files
overrule earlier ones, as late and revised actuals do.
"""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from mlma.domain.errors import StateError
from mlma.domain.streams import Grid, Panel
from mlma.library.live_demo.plan import SLOTS

_DAY = np.timedelta64(86_400_000_000, "us")
_LATEST_DAYS = 5  # later than this nothing comes


class History:
    """Actuals in a folder; whoever writes and whoever trains may be two processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "history"

    def append(self, day: int, frame: pl.DataFrame) -> None:
        """Write the actuals that came on a day; the file appears as a whole or not at all."""
        self.folder.mkdir(exist_ok=True)
        part = self.folder / f"{day:06d}.part"
        frame.write_parquet(part)
        os.replace(part, self.folder / f"{day:06d}.parquet")

    def recent(self, days: int) -> Panel:
        """Return the last days of all streams, as they are known after the newest file.

        Raises
        ------
        StateError
            There is no history.
        """
        files = sorted(self.folder.glob("*.parquet"))
        if not files:
            raise StateError(f"There is no history in {self.folder}.")
        return _panel(tuple(files[-days - _LATEST_DAYS :]), days)


@lru_cache(maxsize=1)
def _panel(files: tuple[Path, ...], days: int) -> Panel:
    """Return a panel; who trains many streams of one day makes it once."""
    return panel_of(pl.concat([_rows(file) for file in files]), days)


@lru_cache(maxsize=256)
def _rows(file: Path) -> pl.DataFrame:
    """Return the rows of a file; none is ever changed."""
    return pl.read_parquet(file)


def panel_of(frame: pl.DataFrame, days: int) -> Panel:
    """Return the last days of a frame of actuals; of several rows of a slot the last one counts."""
    times = frame["ds"].to_numpy().astype("datetime64[us]")
    end = times.max().astype("datetime64[D]").astype("datetime64[us]") + _DAY
    start = end - days * _DAY
    names = frame["unique_id"].unique().sort()
    row = frame["unique_id"].rank("dense").to_numpy().astype(np.int64) - 1
    step = _DAY // SLOTS
    place = (times - start) // step
    y = np.full((len(names), days * SLOTS), np.nan)
    there = place >= 0
    y[row[there], place[there]] = frame["y"].to_numpy()[there]
    grid = Grid(start, step, SLOTS, days)
    shape = (len(names), days, SLOTS)
    return Panel(tuple(names), grid, y.reshape(shape), np.empty((*shape, 0)))
