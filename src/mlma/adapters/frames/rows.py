"""The door for pushed and pulled rows: a frame comes in, checked rows with names come out.

Takes a polars frame of forecasts, actuals or benchmark forecasts. Pushed rows are refused as a
whole where one is bad; of pulled rows the bad ones are left out and counted. Next is the registry
of the store, which knows the rows of the names.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.frames.columns import is_text, require
from mlma.adapters.frames.faults import BodyError, Bools, Fault, Faults, Rule, cells, plain, shown
from mlma.adapters.frames.losses import _forecast_column
from mlma.adapters.frames.moments import Ints, Moments, coded_text, read_moments, utc
from mlma.adapters.frames.opening import Opened
from mlma.adapters.frames.times import Times64
from mlma.domain.errors import DataError, SettingsError
from mlma.domain.inbox import NO_CUTOFF, Kind, NamedRows
from mlma.domain.periods import Periods

__all__ = ["BodyError", "Door", "named_rows"]

LONGEST_ID = 200
"""Characters that the name of a stream may have."""

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_EARLIEST = np.datetime64("1990-01-01", "us")
_WALLS = np.timedelta64(14 * 3600 * 10**6, "us")
"""No clock on a wall is further ahead of UTC."""


@dataclass(frozen=True, slots=True)
class Door:
    """What may come in, and what its columns are called.

    periods
        the grid; with a zone, times without one are those of the clock on the wall there.
    now
        UTC. Where neither grid nor times have a zone, the future starts 14 hours later.
    ahead
        slots that start later than so long after now are refused.
    oldest
        slots that start earlier are refused, as are those before 1990.
    text_numbers
        numbers written as text are read; pulled ones always are.

    Raises
    ------
    SettingsError
        Two columns have the same name.
    """

    periods: Periods
    now: np.datetime64
    ahead: np.timedelta64 = field(default_factory=lambda: np.timedelta64(366, "D"))
    oldest: np.datetime64 | None = None
    unique_id: str = "unique_id"
    ds: str = "ds"
    y: str = "y"
    y_hat: str = "y_hat"
    cutoff: str = "cutoff"
    text_numbers: bool = False

    def __post_init__(self) -> None:
        names = self.columns
        if len(set(names)) < len(names):
            raise SettingsError(f"Columns must have different names. Got {', '.join(names)}.")

    @property
    def columns(self) -> tuple[str, str, str, str, str]:
        """The names of all columns that are known."""
        return self.unique_id, self.ds, self.y, self.y_hat, self.cutoff

    def value(self, kind: Kind) -> str:
        """Return the column of the numbers of a kind."""
        return self.y if kind == "actuals" else self.y_hat


def named_rows(
    frame: pl.DataFrame, kind: Kind, door: Door, *, strict: bool, found: Sequence[Fault] = ()
) -> NamedRows:
    """Return the rows of a frame.

    Columns that the door does not name are ignored. Forecasts without ``y_hat`` may have just one
    other numeric column, named after the model. ``found`` are faults that the reader of the frame
    has met already: their rows hold null.

    Raises
    ------
    BodyError
        A column is missing or of the wrong type; ``strict``: there is no row, or a bad one.

    >>> quarters = Periods(np.timedelta64(1, "D"), np.timedelta64(15, "m"))
    >>> door = Door(quarters, np.datetime64("2025-03-01T12:00"))
    >>> frame = pl.DataFrame({"unique_id": ["B", "A"], "ds": ["2025-03-01T11:45"] * 2, "y": [1, 2]})
    >>> rows = named_rows(frame, "actuals", door, strict=True)
    >>> rows.ids, rows.value.tolist(), str(rows.instant[0])
    (('B', 'A'), [1.0, 2.0], '2025-03-01T11:45:00.000000')
    """
    value = value_column(frame, kind, door)
    if frame.is_empty() and strict:
        raise BodyError(
            "The rows must be at least one. Got an empty batch: the columns without a row.",
            hint="do not push what has no rows",
        )
    faults = Faults(len(frame))
    for fault in found:
        faults.add(fault)
    code, ids = _ids(frame[door.unique_id], faults)
    slots = read_moments(frame[door.ds], door.periods.zone, faults)
    _refuse_missing(frame[door.ds], slots.missing, faults)
    _check_slots(frame[door.ds], slots, kind, door, faults)
    numbers = _numbers(frame[value], faults, text=door.text_numbers or not strict)
    cutoff = _cutoffs(frame, slots, door, faults) if kind != "actuals" else None
    if faults and strict:
        raise faults.first()
    rows = NamedRows(kind, ids, code, slots.rows.view("datetime64[us]"), numbers, cutoff)
    return _kept(rows, frame, door, faults) if faults else rows


def value_column(frame: pl.DataFrame, kind: Kind, door: Door) -> str:
    """Return the column of the values; raise a ``BodyError`` where any column is missing."""
    opened = Opened(frame, "the rows")
    value = door.value(kind)
    for role, name in (("unique_id", door.unique_id), ("ds", door.ds), ("y", value)):
        if role == "y" and kind != "actuals":
            return _forecast(opened, door)
        try:
            require(opened, [(role, name)])
        except DataError as error:
            raise _as_body_error(error, name) from None
    return value


def _forecast(opened: Opened, door: Door) -> str:
    try:
        return _forecast_column(opened, door.y_hat, set(door.columns))
    except DataError as error:
        hint = f"call the column of the forecasts `{door.y_hat}`"
        raise BodyError(
            _as_body_error(error, door.y_hat).message, column=door.y_hat, hint=hint
        ) from None


def _as_body_error(error: DataError, column: str) -> BodyError:
    message, _, hint = str(error).partition(" Hint: ")
    return BodyError(plain(message, 400), column=column, hint=plain(hint.removesuffix("."), 200))


def _ids(series: pl.Series, faults: Faults) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    name, kind = series.name, series.dtype
    if not (is_text(series) or kind.is_integer() or isinstance(kind, pl.Null)):
        raise BodyError(
            f"`{name}` must hold text or whole numbers. Got {str(kind)[:80]}.",
            column=name,
            hint="write ids as text",
        )
    code, texts, missing = coded_text(series.cast(pl.String))
    _refuse_missing(series, missing, faults)
    if not _all_fine(texts):
        _refuse_names(series, code, texts, missing, faults)
    return code.astype(np.int32), tuple(texts)


def _all_fine(texts: list[str]) -> bool:
    return (
        all(map(str.isprintable, texts))
        and all(map(str.strip, texts))
        and max(map(len, texts), default=0) <= LONGEST_ID
    )


def _refuse_names(
    series: pl.Series, code: Ints, texts: list[str], missing: Bools | None, faults: Faults
) -> None:
    name = series.name
    rules = {
        Rule(name, "not empty", f"empty {name}", "every row needs the name of its stream"): [
            not text.strip() for text in texts
        ],
        Rule(
            name,
            f"at most {LONGEST_ID} characters long",
            f"{name} of more than {LONGEST_ID} characters",
            "give the stream a shorter name",
        ): [len(text) > LONGEST_ID for text in texts],
        Rule(
            name,
            "without control characters",
            f"{name} with control characters",
            "names are shown to people: write them in printable characters",
        ): [_UNSEEN.search(text) is not None for text in texts],
    }
    for rule, bad in rules.items():
        if any(bad):
            rows = np.array(bad)[code]
            rows = rows if missing is None else rows & ~missing
            faults.add(Fault(rule, rows, cells(series)))


def _refuse_missing(series: pl.Series, missing: Bools | None, faults: Faults) -> None:
    if missing is not None:
        rule = Rule(series.name, "there", f"null {series.name}", "every row needs one")
        faults.add(Fault(rule, missing, cells(series)))


def _check_slots(series: pl.Series, slots: Moments, kind: Kind, door: Door, faults: Faults) -> None:
    known = slots.known.view("datetime64[us]")
    clock = door.now
    if door.periods.zone is None and not slots.zoned:
        clock = clock + _WALLS
    checks = _range_checks(series.name, known, clock, door)
    inside = ~(checks[0][1] | checks[1][1])
    checks.append(_grid_check(series.name, known, inside, door))
    if kind == "actuals":
        checks.append(_future_check(series.name, known, clock, door))
    for rule, bad in checks:
        if bad.any():
            faults.add(Fault(rule, slots.spread(bad), cells(series)))


def _range_checks(
    name: str, known: Times64, clock: np.datetime64, door: Door
) -> list[tuple[Rule, Bools]]:
    oldest = _EARLIEST if door.oldest is None else max(door.oldest, _EARLIEST)
    latest = clock + door.ahead
    old = Rule(
        name,
        f"at or after {utc(oldest)}",
        f"{name} too old",
        "check year and unit; rows are taken as long as `rows` of [retention] says, and a history "
        'is played with `kind = "simulated"` in [clock]',
    )
    far = Rule(
        name,
        f"at or before {utc(latest)}",
        f"{name} too far in the future",
        "check year, unit and the clock of the server",
    )
    return [(old, known < oldest), (far, known > latest)]


def _grid_check(name: str, known: Times64, inside: Bools, door: Door) -> tuple[Rule, Bools]:
    """Return which slots are off the grid; those that are not inside are not looked at."""
    expected = f"a start of a slot, every {_length(door.periods.slot)} from midnight"
    if door.periods.zone:
        expected += f" in {door.periods.zone}"
    off = np.zeros(len(known), dtype=bool)
    off[inside] = door.periods.off_grid(known[inside])
    hint = "push the time at which a slot starts"
    return Rule(name, expected, f"{name} off the grid", hint), off


def _future_check(
    name: str, known: Times64, clock: np.datetime64, door: Door
) -> tuple[Rule, Bools]:
    """Return which slots start later than the next one: clocks differ a little."""
    rule = Rule(
        name,
        f"over by now, {utc(door.now)} UTC: an actual cannot be known yet",
        f"{name} of an actual in the future",
        "check the time zone of the times, and whether these rows are forecasts",
    )
    return rule, known > clock + door.periods.slot


def _length(slot: np.timedelta64) -> str:
    return str(slot.astype("timedelta64[us]").item())


def _numbers(series: pl.Series, faults: Faults, *, text: bool) -> NDArray[np.float64]:
    name, kind = series.name, series.dtype
    column = series
    if text and is_text(series):
        column = series.cast(pl.String).str.strip_chars()
    elif not (kind.is_numeric() or isinstance(kind, pl.Null)):
        raise BodyError(
            f"`{name}` must hold numbers. Got {str(kind)[:80]} "
            f"(the first: {', '.join(shown(one) for one in series.head(3).to_list())}).",
            column=name,
            hint="send them as floats",
        )
    floats = column.cast(pl.Float64, strict=False)
    missing = floats.has_nulls()
    numbers: NDArray[np.float64] = (floats.fill_null(np.nan) if missing else floats).to_numpy()
    finite = np.isfinite(numbers)
    if not finite.all():
        hint = "leave out rows that have no value"
        rule = Rule(name, "a finite number", f"{name} that is no finite number", hint)
        faults.add(Fault(rule, ~finite, cells(series)))
    return numbers


def _cutoffs(frame: pl.DataFrame, slots: Moments, door: Door, faults: Faults) -> Ints | None:
    """Return when forecasts were made; one that was made after its slot had begun is none."""
    if door.cutoff not in frame.columns:
        return None
    series = frame[door.cutoff]
    made = read_moments(series, door.periods.zone, faults)
    if made.missing is not None and made.missing.all():
        return None
    late = made.rows > slots.rows
    late = late if made.missing is None else late & ~made.missing
    if late.any():
        hint = "the cutoff is the last moment that the model knew"
        expected = "at or before its slot: what is made after its slot is no forecast"
        rule = Rule(series.name, expected, f"{series.name} after its slot", hint)
        faults.add(Fault(rule, late, cells(series)))
    return made.rows if made.missing is None else np.where(made.missing, NO_CUTOFF, made.rows)


def _kept(rows: NamedRows, frame: pl.DataFrame, door: Door, faults: Faults) -> NamedRows:
    """Return the rows without a fault, and the account of the others."""
    good = faults.good
    codes = rows.code[good]
    first = np.full(len(rows.ids), len(codes))
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last that is written is the first row
    kept = np.argsort(first, kind="stable")[: int((first < len(codes)).sum())]
    place = np.zeros(len(rows.ids), dtype=np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    names, times = cells(frame[door.unique_id]), cells(frame[door.ds])

    def told(row: int) -> str:
        stream, moment = names(row), times(row)
        return f"row {row + 1}" if stream is None else f"{str(stream)[:80]} {str(moment)[:40]}"

    return NamedRows(
        rows.kind,
        tuple(rows.ids[at] for at in kept),
        place[codes],
        rows.instant[good],
        rows.value[good],
        None if rows.cutoff is None else rows.cutoff[good],
        faults.left_out(told),
    )
