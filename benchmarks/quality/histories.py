"""The histories on which the pool is measured: real streams, a simulated fleet.

Takes a name, gives a frame ``unique_id, ds, y``.
"""

from datetime import datetime

import polars as pl

import mlma
from real_data import real_files

SIMULATED = "simulated"
_STREAMS, _DAYS = 60, 730


def names() -> list[str]:
    """Return the histories that are found here."""
    return [*real_files(), SIMULATED]


def history(name: str, *, quick: bool = False) -> pl.DataFrame:
    """Return one history; ``quick``: three streams, at most 200 days."""
    if name == SIMULATED:
        size = (3, 200) if quick else (_STREAMS, _DAYS)
        return mlma.simulate(*size, seed=0).to_df().select("unique_id", "ds", "y")
    frame = pl.read_parquet(real_files()[name]).select("unique_id", "ds", "y")
    if not quick:
        return frame
    few = frame["unique_id"].unique().sort()[:3]
    begin = frame["ds"].min()
    early = pl.col("ds") < pl.lit(begin) + pl.duration(days=200)
    return frame.filter(pl.col("unique_id").is_in(few.implode()) & early)


def sensors(*, quick: bool = False) -> pl.DataFrame:
    """Return the Auckland sensors from January 2019 to May 2020: the first lockdown is in it."""
    frame = pl.read_parquet(real_files()["auckland"]).select("unique_id", "ds", "y")
    end = datetime(2019, 6, 1) if quick else datetime(2020, 6, 1)
    return frame.filter(pl.col("ds") < end).sort("unique_id", "ds")


def every(frame: pl.DataFrame, step: int, most: int | None = None) -> pl.DataFrame:
    """Return every ``step``-th stream by name, so that slow models can be played on them."""
    chosen = frame["unique_id"].unique().sort()[::step][:most]
    return frame.filter(pl.col("unique_id").is_in(chosen.implode()))
