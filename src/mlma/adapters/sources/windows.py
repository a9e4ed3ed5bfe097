"""The slots that are asked for, and the times of a source on the same clock.

Takes times as they lie there: dates, times with or without a zone, ISO text. Gives predicates that
polars can push down to the file, and times that a window can be compared with.

Times with a zone are instants. Times without one are those of the clock on the wall where the grid
has a zone, of an hour that it shows twice the first; else they are taken as they come. The door
reads them in the same way.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from mlma.adapters.frames.columns import coded, is_text
from mlma.domain.errors import SourceError

_UNITS = {"ns": 1, "us": 1, "ms": 1000}
_DAY = np.timedelta64(1, "D")
SHIFT = timedelta(hours=3)
"""No clock is put forward or back by so much."""


@dataclass(frozen=True, slots=True)
class Window:
    """The slots in ``[start, end)``, datetime64[us]; in UTC where the grid has a ``zone``."""

    start: np.datetime64
    end: np.datetime64
    zone: str | None = None

    def predicate(self, name: str, kind: pl.DataType) -> pl.Expr | None:
        """Return which rows are inside, by a column of a file; None = only its text can tell.

        The column is compared as it is, so that statistics of the file can rule out its parts.
        """
        if not isinstance(kind, pl.Date | pl.Datetime):
            return None
        column = pl.col(name)
        if getattr(kind, "time_zone", None) or self.zone is None:
            return _between(column, kind, self.start, self.end)
        start, end = _at_the_wall(self.start, self.zone), _at_the_wall(self.end, self.zone)
        if is_plain(self.start, self.zone) and is_plain(self.end, self.zone):
            return _between(column, kind, start, end)
        rough = _between(column, kind, start - _DAY, end + _DAY)
        exact = _between(_instants(column, self.zone), pl.Datetime("us"), self.start, self.end)
        return rough & exact.fill_null(True)  # a time that no clock showed: whoever reads counts it

    def inside(self, times: pl.Series) -> pl.Series:
        """Return which times are inside; unreadable ones are: whoever reads on counts them."""
        seen = on_grid(times, self.zone)
        return (seen >= moment(self.start)) & (seen < moment(self.end)) | seen.is_null()


def tidied(frame: pl.DataFrame, value: str, zone: str | None, where: str) -> pl.DataFrame:
    """Return a frame whose values and cutoffs are no text any more, where all of it can be read."""
    frame = frame.with_columns(numeric(frame[value]))
    if "cutoff" not in frame.columns or not is_text(frame["cutoff"]):
        return frame
    return frame.with_columns(readable(frame["cutoff"], zone, where))


def numeric(values: pl.Series) -> pl.Series:
    """Return text as numbers where all of it are some; else as it is, for messages to show."""
    if values.dtype.is_decimal():
        return values.cast(pl.Float64)
    if not is_text(values):
        return values
    numbers = values.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == values.null_count() else values


def on_grid(times: pl.Series, zone: str | None) -> pl.Series:
    """Return dates or times as the grid counts them, ``Datetime("us")`` without a zone.

    Null = null, or a time that the clock on the wall skipped.
    """
    if getattr(times.dtype, "time_zone", None):
        return times.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.Datetime("us"))
    if zone is None:
        return times.cast(pl.Datetime("us"))
    return pl.select(_instants(pl.lit(times), zone).alias(times.name)).to_series()


def readable(times: pl.Series, zone: str | None, where: str) -> pl.Series:
    """Return a column as dates or times; text is parsed, null where it is none.

    Text with offsets becomes times in UTC; offsets may differ from row to row, as they do where a
    clock is put back.

    Raises
    ------
    SourceError
        The column holds something else, such as numbers.
    """
    if isinstance(times.dtype, pl.Date | pl.Datetime):
        return times
    if times.dtype == pl.Null:
        return times.cast(pl.Datetime("us"))
    if is_text(times):
        return _parsed(times.cast(pl.String), zone)
    shown = ", ".join(str(value) for value in times.drop_nulls().head(3).to_list())
    raise SourceError(
        f"`{times.name}` of {where} must hold dates, times or ISO text. Got {times.dtype} "
        f"(first values: {shown or 'none'}). Hint: convert it where it lies, or in the query.",
    )


def moment(at: np.datetime64) -> datetime:
    """Return a time as Python has it, without a zone."""
    made: datetime = at.astype("datetime64[us]").item()
    return made


def _parsed(text: pl.Series, zone: str | None) -> pl.Series:
    # Many rows share a time: parse each distinct text once.
    distinct = text.drop_nulls().unique(maintain_order=True)
    moments = [_moment_of(one) for one in distinct.to_list()]
    zoned = any(one is not None and one.tzinfo is not None for one in moments)
    if zoned:
        moments = [None if one is None else _in_utc(one, zone) for one in moments]
    stamps = np.array([*moments, None], dtype="datetime64[us]")  # code -1, null, is last
    made = pl.Series(text.name, stamps[coded(text, distinct)], dtype=pl.Datetime("us"))
    return made.dt.replace_time_zone("UTC") if zoned else made


def _moment_of(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None


def _in_utc(at: datetime, zone: str | None) -> datetime:
    there = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone) if zone else UTC)
    return there.astimezone(UTC).replace(tzinfo=None)


def _instants(wall: pl.Expr, zone: str) -> pl.Expr:
    there = wall.cast(pl.Datetime("us")).dt.replace_time_zone(
        zone, ambiguous="earliest", non_existent="null"
    )
    return there.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _at_the_wall(at: np.datetime64, zone: str) -> np.datetime64:
    there = moment(at).replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    return np.datetime64(there.replace(tzinfo=None), "us")


def is_plain(at: np.datetime64, zone: str) -> bool:
    """Return whether no clock is put forward or back near a time: walls and instants agree."""
    near, there = moment(at).replace(tzinfo=UTC), ZoneInfo(zone)
    offsets = {(near + by).astimezone(there).utcoffset() for by in (-SHIFT, 0 * SHIFT, SHIFT)}
    return len(offsets) == 1


def _between(
    column: pl.Expr, kind: pl.DataType, start: np.datetime64, end: np.datetime64
) -> pl.Expr:
    return (column >= _bound(start, kind)) & (column < _bound(end, kind))


def _bound(at: np.datetime64, kind: pl.DataType) -> pl.Expr:
    """Return the first value of a type that is not before a time."""
    if isinstance(kind, pl.Date):
        days = -((np.datetime64(0, "us") - at) // _DAY)
        return pl.lit(int(days)).cast(pl.Int32).cast(pl.Date)
    unit, zone = kind.time_unit, kind.time_zone  # type: ignore[attr-defined]
    micros = int(at.astype("datetime64[us]").astype(np.int64))
    whole = -(-micros // _UNITS[unit]) * (1000 if unit == "ns" else 1)
    bound = pl.lit(whole, dtype=pl.Int64).cast(pl.Datetime(unit))
    return bound.dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else bound
