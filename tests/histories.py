"""Small seeded histories and models for the tests of the public faces."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

import mlma

START = np.datetime64("2024-01-01", "us")  # a Monday
DAY = np.timedelta64(86_400_000_000, "us")


def stream(name, days, slots=4, seed=0, *, level=20.0, first_day=0, breaks_at=None):
    """A stream with a daily and a weekly rhythm and seeded noise; twice as high after a break."""
    rng = np.random.default_rng(seed)
    slot = np.arange(first_day * slots, (first_day + days) * slots)
    rhythm = 1 + 0.5 * np.sin(2 * np.pi * slot / slots + seed)
    week = np.where(slot // slots % 7 >= 5, 0.6, 1.0)
    y = level * rhythm * week * rng.gamma(30.0, 1 / 30.0, len(slot))
    if breaks_at is not None:
        y = np.where(slot >= breaks_at * slots, 2 * y, y)
    return pl.DataFrame({"unique_id": name, "ds": START + slot * (DAY // slots), "y": y})


def fleet(n=4, days=120, slots=4, breaks_at=70):
    """``n`` streams, the first of which breaks."""
    return pl.concat(
        stream(
            f"s{row}",
            days,
            slots,
            seed=row,
            level=20.0 + 10 * row,
            breaks_at=breaks_at if row == 0 else None,
        )
        for row in range(n)
    )


def replayed(history, **settings):
    """A replay in this process, with a window of four weeks and one random phase."""
    return mlma.replay(history, **{"window": 28, "phases": 1, "n_jobs": 1, **settings})


def as_kind(frame: pl.DataFrame, kind: str) -> Any:
    """The frame in another library."""
    if kind == "pandas":
        import pandas as pd

        return pd.DataFrame({series.name: series.to_list() for series in frame})
    return frame.to_arrow() if kind == "arrow" else frame


def as_polars(frame: Any) -> pl.DataFrame:
    """A frame of any library, for comparisons: what is missing is null."""
    library = type(frame).__module__.partition(".")[0]
    if library == "pandas":
        frame = pl.from_pandas(frame)
    if library == "pyarrow":
        frame = pl.from_arrow(frame)
    return frame.with_columns(pl.selectors.float().fill_nan(None))


@dataclass(frozen=True)
class BatchMean:
    """A model of the port: the mean of the window, and without a batch for this batch."""

    name: str = "batch_mean"
    warm_up: int = 0
    fails: str = ""
    on: tuple[str, ...] = ()
    from_batch: int = 0

    def fit(self, series, first, last, seed):
        if series.unique_id not in self.on or last < self.from_batch:
            return FittedMean(series.y[first:last], first)
        if self.fails == "fit":
            raise ValueError("no convergence")
        return FittedMean(series.y[first:last], first, self.fails)


@dataclass(frozen=True)
class FittedMean:
    window: Any
    first: int
    fails: str = ""

    def predict(self, series, first, last):
        shape = (last - first, series.y.shape[1])
        if self.fails == "predict":
            raise KeyError("a feature is gone")
        if self.fails == "nan":
            return np.full(shape, np.nan)
        if self.fails == "length":
            return np.zeros(shape[0])
        return np.full(shape, np.nanmean(self.window))

    def held_out(self, series, first, last):
        inside = range(first - self.first, last - self.first)
        means = [np.nanmean(np.delete(self.window, batch, axis=0)) for batch in inside]
        return np.repeat(np.array(means)[:, None], series.y.shape[1], axis=1)
