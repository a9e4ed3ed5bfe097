"""The time column, as the clock on the wall shows it and as instants.

Takes dates, times with or without a zone, or ISO text. Gives datetime64[us] arrays. Next is the
grid. The agent works in wall-clock time, because people and their habits do; instants are kept
so that the hour that a 25-hour day has twice is not mistaken for a duplicate.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.frames.columns import Codes, coded, is_text, wrong_type, wrong_values
from mlma.adapters.frames.opening import Opened
from mlma.domain.durations import MICROSECONDS
from mlma.domain.errors import DataError

Times64 = NDArray[np.datetime64]

_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_OFFSET = r":\d{2}(?:\.\d+)?\s*([Zz]|[+-]\d{2}(?::?\d{2})?)$"
_ZONE_HINT = (
    "give the column one time zone, in polars for example "
    '.str.to_datetime(time_zone="UTC").dt.convert_time_zone("Europe/Berlin")'
)


@dataclass(frozen=True, slots=True)
class Times:
    """A time column.

    wall
        ``(n_rows,) datetime64[us]``, wall clock of the column's own zone; NaT = null.
    instant
        ``(n_rows,) datetime64[us]``, UTC where the column has a zone, else the wall clock.
    zoned
        whether the column has a zone.
    """

    wall: Times64
    instant: Times64
    zoned: bool


def read_times(opened: Opened, name: str) -> Times:
    """Return the time column ``name``.

    Raises
    ------
    DataError
        The column holds neither dates nor times, text that cannot be read, or text with more
        than one offset.
    """
    series = opened.frame[name]
    if is_text(series):
        return _from_text(opened, name, series.cast(pl.String))
    if isinstance(series.dtype, pl.Date | pl.Null):
        series = series.cast(pl.Datetime("us"))
    if not isinstance(series.dtype, pl.Datetime):
        hint = "convert it first, for example with polars.from_epoch or pandas.to_datetime"
        raise wrong_type(opened, name, "dates or times", hint)
    zone = series.dtype.time_zone
    moments = series.cast(pl.Datetime("us", zone))
    wall = moments.dt.replace_time_zone(None).to_numpy()
    instant = moments.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else None
    return Times(wall, wall if instant is None else instant.to_numpy(), zone is not None)


def _from_text(opened: Opened, name: str, series: pl.Series) -> Times:
    # Many rows share a time: parse each distinct text once.
    distinct = series.drop_nulls().unique(maintain_order=True)
    codes = coded(series, distinct)
    text = distinct.str.strip_chars()
    offset = _one_offset(opened, name, text, codes)
    clean = text.str.replace(r"\s*([Zz]|[+-]\d{2}(?::?\d{2})?)$", "") if offset else text
    parsed = _parsed(clean.str.replace(r"^(\S+?)[Tt ]\s*(\d)", "$1 $2"))
    bad = parsed.is_null().to_numpy()
    if bad.any():
        rows = np.flatnonzero(np.append(bad, False)[codes])
        hint = 'write times like "2024-03-31 02:15:00", dates like "2024-03-31"'
        raise wrong_values(opened, name, "ISO dates or times", rows, hint)
    stamps = np.append(parsed.to_numpy(), np.datetime64("NaT", "us"))  # code -1, null, is last
    wall: Times64 = stamps[codes]
    return Times(wall, wall - _length(offset) if offset else wall, bool(offset))


def _parsed(text: pl.Series) -> pl.Series:
    parsed = pl.Series(values=[None] * len(text), dtype=pl.Datetime("us"))
    for form in _FORMATS:
        if not parsed.has_nulls():
            break
        more = text.str.to_datetime(form, time_unit="us", strict=False)
        parsed = pl.select(pl.coalesce(pl.lit(parsed), pl.lit(more))).to_series()
    return parsed


def _one_offset(opened: Opened, name: str, text: pl.Series, codes: Codes) -> str | None:
    """Return the offset that all texts carry, as ``+0100``; None = they carry none."""
    offsets = text.str.extract(_OFFSET).str.replace("[Zz]", "+0000").str.replace(":", "")
    offsets = offsets.str.replace(r"^(.\d\d)$", "${1}00")
    kinds = offsets.unique(maintain_order=True)
    if len(kinds) > 1:
        firsts = [int(np.argmax(codes == (offsets.eq_missing(kind)).arg_max())) for kind in kinds]
        rows = np.array(sorted(firsts))
        shown = ", ".join(f"row {row + 1}: {opened.frame[name][int(row)]!r}" for row in rows[:3])
        raise DataError(
            f"`{name}` of {opened.where} must have one offset from UTC, or none. Got "
            f"{len(kinds)} kinds mixed ({shown}). Hint: {_ZONE_HINT}.",
        )
    return None if kinds.is_empty() else kinds[0]


def _length(offset: str) -> np.timedelta64:
    hours, minutes = int(offset[1:3]), int(offset[3:5])
    micros = hours * MICROSECONDS["h"] + minutes * MICROSECONDS["m"]
    return np.timedelta64(-micros if offset[0] == "-" else micros, "us")
