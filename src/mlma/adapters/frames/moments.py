"""The times of pushed and pulled rows, as instants on the grid.

Takes a column of dates, times or ISO text, gives datetime64[us]: UTC where the grid has a zone or
the column has one, else as it came. Every rule is checked on the distinct times, which are few.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.frames.columns import is_text
from mlma.adapters.frames.faults import BodyError, Bools, Fault, Faults, Rule, cells, shown

Ints = NDArray[np.int64]

_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # years 1 and 9999, seconds since 1970
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_ISO_HINT = 'write times like "2024-03-31T02:15:00", or with one offset, "2024-03-31T02:15:00Z"'
_EPOCH = datetime(1970, 1, 1)
_MICRO = timedelta(microseconds=1)


@dataclass(frozen=True)
class Moments:
    """A column of times.

    known
        ``(k,) int64``, its distinct instants, microseconds since 1970.
    rows
        ``(n,) int64``, the instant of each row; that of a bad row is any.
    missing
        ``(n,) bool``, rows without a time; None = there are none.
    zoned
        whether the column itself has a zone.
    """

    known: Ints
    zoned: bool
    missing: Bools | None
    _raw: Ints | None
    _coded: Callable[[], Ints]

    @cached_property
    def code(self) -> Ints:
        """Place of each row in ``known``; that of a row without a time is any."""
        return self._coded()

    @cached_property
    def rows(self) -> Ints:
        """See the class."""
        if self._raw is not None:
            return self._raw
        return self.known[self.code] if len(self.known) else np.zeros(len(self.code), np.int64)

    def spread(self, bad: Bools) -> Bools:
        """Return which rows have one of the known instants that are bad, ``(k,)``."""
        rows: Bools = bad[self.code]
        return rows if self.missing is None else rows & ~self.missing


def read_moments(series: pl.Series, zone: str | None, faults: Faults) -> Moments:
    """Return the times of a column; those that cannot be read become faults.

    ``zone``: times without one are those of the clock on the wall there; of an hour that the clock
    shows twice the first is meant.

    Raises
    ------
    BodyError
        The column holds neither dates nor times, or text with more than one offset.
    """
    name = series.name
    if is_text(series):
        moments, bad = _from_text(series.cast(pl.String))
        rule = Rule(name, "an ISO date or time", f"{name} that is no ISO time", _ISO_HINT)
    else:
        moments, bad = _from_times(series), None
    if zone is not None and not moments.zoned:
        moments, skipped = _at_the_wall(moments, zone)
        if skipped.any():
            hint = "push times in UTC, with a zone"
            there = Rule(name, f"a time that the clock of {zone} shows", f"{name} in a gap", hint)
            faults.add(Fault(there, moments.spread(skipped), cells(series)))
    if bad is not None and bad.any():
        faults.add(Fault(rule, moments.spread(bad), cells(series)))
    return moments


def _from_times(series: pl.Series) -> Moments:
    raw = _microseconds(series)
    missing = raw.is_null().to_numpy() if raw.has_nulls() else None
    known = raw.drop_nulls().unique().sort().to_numpy()
    if missing is not None:
        raw = raw.fill_null(int(known[0]) if len(known) else 0)
    rows = raw.to_numpy()
    zoned = isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None
    return Moments(known, zoned, missing, rows, lambda: np.searchsorted(known, rows))


def _microseconds(series: pl.Series) -> pl.Series:
    """Return times as int64; those outside the years 1 to 9999 become the nearest inside."""
    kind = series.dtype
    if isinstance(kind, pl.Null):
        return series.cast(pl.Int64)
    if isinstance(kind, pl.Date):
        days = series.to_physical().cast(pl.Int64)
        return days.clip(_FIRST // 86_400, _LAST // 86_400) * 86_400 * 10**6
    if not isinstance(kind, pl.Datetime):
        raise BodyError(
            f"`{series.name}` must hold dates or times. Got {str(kind)[:80]}.",
            column=series.name,
            hint=_ISO_HINT,
        )
    raw = series.to_physical()
    if kind.time_unit == "ns":  # int64 nanoseconds end in the year 2262
        return raw // 1000
    per_second = _PER_SECOND[kind.time_unit]
    low, high = _FIRST * per_second, _LAST * per_second
    least, most = raw.min(), raw.max()
    if least is not None and (least < low or most > high):  # type: ignore[operator]
        raw = raw.clip(low, high)
    return raw if kind.time_unit == "us" else raw * 1000


def _from_text(series: pl.Series) -> tuple[Moments, Bools]:
    """Return the times, and which known ones are none at all."""
    code, texts, missing = coded_text(series)
    parsed = [_parsed(text) for text in texts]
    offsets = [moment.utcoffset() for moment in parsed if moment is not None]
    if len(set(offsets)) > 1:
        raise _mixed(series, code, parsed)
    bad = np.array([moment is None for moment in parsed], dtype=bool)
    known = np.array([_since(moment) for moment in parsed], dtype=np.int64)
    zoned = bool(offsets) and offsets[0] is not None
    return Moments(known, zoned, missing, None, lambda: code), bad


def coded_text(series: pl.Series) -> tuple[Ints, list[str], Bools | None]:
    """Return each text's place among the distinct ones, these by first row, and the null rows."""
    categorical = series.rechunk().cast(_own_categories())
    codes = categorical.to_physical()
    missing = codes.is_null().to_numpy() if codes.has_nulls() else None
    places = codes.fill_null(0).to_numpy() if missing is not None else codes.to_numpy()
    distinct = categorical.drop_nulls().unique(maintain_order=True)
    order = distinct.to_physical().to_numpy()
    if not np.array_equal(order, np.arange(len(order))):  # the types of old polars are shared
        table = np.zeros(int(order.max()) + 1, dtype=np.int64)
        table[order] = np.arange(len(order))
        places = table[places]
    return places, distinct.cast(pl.String).to_list(), missing


def _own_categories() -> pl.Categorical:
    """Return a type whose codes start at 0 and are forgotten with the column."""
    return pl.Categorical(pl.Categories.random()) if hasattr(pl, "Categories") else pl.Categorical()


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None


def _since(moment: datetime | None) -> int:
    """Return microseconds since 1970, of a zoned time in UTC."""
    if moment is None:
        return 0
    offset = moment.utcoffset() or timedelta(0)
    return (moment.replace(tzinfo=None) - _EPOCH - offset) // _MICRO


def _mixed(series: pl.Series, code: Ints, parsed: list[datetime | None]) -> BodyError:
    kinds: dict[timedelta | None, int] = {}
    for place, moment in enumerate(parsed):
        if moment is not None:
            kinds.setdefault(moment.utcoffset(), place)
    rows = sorted(int((code == place).argmax()) for place in kinds.values())
    got = ", ".join(f"{shown(series[row])} in row {row + 1}" for row in rows[:3])
    return BodyError(
        f"`{series.name}` must have one offset from UTC, or none. Got {len(kinds)} kinds: {got}.",
        row=rows[1] + 1,
        column=series.name,
        hint='push all times in UTC, like "2024-03-31T01:00:00Z"',
    )


def _at_the_wall(moments: Moments, zone: str) -> tuple[Moments, Bools]:
    """Return the times as instants, and which known times the clock there never showed."""
    wall = pl.Series(moments.known).cast(pl.Datetime("us"))
    there = wall.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    instants = there.to_physical()
    skipped = instants.is_null().to_numpy()
    known = instants.fill_null(0).to_numpy()
    return Moments(known, False, moments.missing, None, lambda: moments.code), skipped


def utc(instant: np.datetime64) -> str:
    """Return a time for messages, to the minute or finer where it needs it."""
    moment: datetime = instant.astype("datetime64[us]").item()
    text = moment.replace(tzinfo=UTC).isoformat(" ", "auto")
    return text.removesuffix("+00:00")
