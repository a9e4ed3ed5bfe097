"""Settings that a file of forecasts or actuals tells by itself: slot, zone, names of columns.

Takes a path, gives what `mlma init` writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from mlma.adapters.frames.columns import Codes, coded, read_ids, refuse_empty
from mlma.adapters.frames.grids import Rows, usual_step
from mlma.adapters.frames.opening import Opened, open_frame
from mlma.adapters.frames.times import Times, read_times
from mlma.domain.errors import DataError
from mlma.service.units import text_of

_NAMES = {
    "unique_id": ("id", "item_id", "series_id", "series", "stream", "store", "sensor", "sku"),
    "ds": ("timestamp", "datetime", "date", "time"),
    "cutoff": ("made_at", "forecast_date", "issued_at", "origin"),
    "y": ("target", "value", "actual", "actuals", "sales", "count", "demand"),
    "y_hat": ("yhat", "forecast", "forecasts", "prediction", "predicted", "mean"),
}
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a file tells.

    slot, batch
        their lengths, as the settings write them; a batch is a day, or one slot where a day is no
        whole number of slots.
    timezone
        of the time column; empty = it has none.
    columns
        what the columns of a source are called there, where not as usual.
    rows
        what its rows are: ``forecasts``, ``actuals`` or both.
    streams
        how many there are.
    last
        the last time in it, as it stands there.
    """

    slot: str
    batch: str
    timezone: str
    columns: dict[str, str]
    rows: tuple[str, ...]
    streams: int
    last: datetime


def inferred(path: Path) -> Inferred:
    """Return what a Parquet or CSV file, or a folder of Parquet files, tells.

    Raises
    ------
    DataError
        It cannot be read, no column is one of names or times, or the slot cannot be told.
    """
    opened = open_frame(path, _texts(path))
    refuse_empty(opened)
    found = {role: _column(role, opened.frame.columns) for role in _NAMES}
    _require(found, opened)
    name, ds = str(found["unique_id"]), str(found["ds"])
    times = read_times(opened, ds)
    rows = _rows(read_ids(opened, name), times)
    slot = _slot(rows, opened.where)
    zone = getattr(opened.frame[ds].dtype, "time_zone", None)
    return Inferred(
        slot=text_of(slot),
        batch=text_of(slot if _DAY % slot else _DAY),
        timezone=zone or ("UTC" if times.zoned else ""),
        columns={role: column for role, column in found.items() if column and column != role},
        rows=_kinds(found),
        streams=len(rows.ids),
        last=rows.wall.max().astype("datetime64[us]").item(),
    )


def _slot(rows: Rows, where: str) -> timedelta:
    try:
        return timedelta(microseconds=usual_step(rows, where))
    except DataError as error:
        reason = str(error).partition(" Hint:")[0]
        raise DataError(
            f"{reason} Hint: write the file without --data and set `slot` of [agent]."
        ) from error


def _texts(path: Path) -> tuple[str, ...]:
    """Return the columns of a CSV file that are read as text: names, so that 007 stays 007."""
    others = _NAMES["unique_id"] + _NAMES["ds"]
    return ("unique_id", "ds", *others) if path.suffix.lower() == ".csv" else ()


def _column(role: str, columns: Sequence[str]) -> str | None:
    """Return the column of a role by its name: the usual one, or another that is often used."""
    folded = {column.casefold(): column for column in reversed(columns)}
    return next((folded[name] for name in (role, *_NAMES[role]) if name in folded), None)


def _require(found: dict[str, str | None], opened: Opened) -> None:
    missing = [role for role in ("unique_id", "ds") if found[role] is None]
    if found["y"] is None and found["y_hat"] is None:
        missing.append("y or y_hat")
    if missing:
        raise DataError(
            f"{opened.where} must have columns for {', '.join(missing)}. "
            f"Found: {', '.join(opened.frame.columns)}. Hint: rename them, or write the file "
            f"without --data and set `columns` of [[sources]]."
        )


def _rows(ids: pl.Series, times: Times) -> Rows:
    kept = ~(ids.is_null().to_numpy() | np.isnat(times.wall))
    ids = ids.filter(pl.Series(kept))
    distinct = ids.unique().sort()
    wall: Codes = times.wall[kept].astype(np.int64)
    instant: Codes = times.instant[kept].astype(np.int64)
    return Rows(tuple(distinct.to_list()), coded(ids, distinct), wall, instant)


def _kinds(found: dict[str, str | None]) -> tuple[str, ...]:
    named = (("forecasts", "y_hat"), ("actuals", "y"))
    return tuple(kind for kind, role in named if found[role] is not None)
