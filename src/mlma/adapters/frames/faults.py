"""Bad rows: what is wrong with which row of which column, to refuse a body or to leave rows out.

Takes masks of rows that break a rule. Gives the error that names the first of them (pushed rows),
or the account of all of them (pulled rows).
"""

from collections.abc import Callable
from dataclasses import dataclass
from reprlib import Repr

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.domain.errors import DataError
from mlma.domain.leftovers import LeftOut

Bools = NDArray[np.bool_]

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class BodyError(DataError):
    """Rows are not what was asked for.

    message
        what is wrong, without the hint; ``str(error)`` has both.
    row
        the first bad row, from 1; None = not told by one row.
    column
        its column, as the sender calls it; None = not told by one column.
    """

    def __init__(
        self,
        message: str,
        *,
        row: int | None = None,
        column: str | None = None,
        hint: str | None = None,
    ) -> None:
        full_stop = "" if hint is None or hint.endswith("?") else "."
        super().__init__(f"{message} Hint: {hint}{full_stop}" if hint else message)
        self.message = message
        self.row = row
        self.column = column
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Rule:
    """What a column must be.

    expected
        completes "`y` of row 3 must be ...".
    reason
        the same for an account of rows that were left out: "missing y".
    """

    column: str
    expected: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule, the rows ``(n,)`` that break it, and what they hold (by row, from 0)."""

    rule: Rule
    bad: Bools
    value: Callable[[int], object]


class Faults:
    """All faults of ``n`` rows; a row counts for the first rule that it breaks."""

    def __init__(self, n: int) -> None:
        self._bad: Bools | None = None
        self._n = n
        self._faults: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._faults)

    @property
    def good(self) -> Bools:
        """The rows without a fault, ``(n,)``."""
        return np.ones(self._n, dtype=bool) if self._bad is None else ~self._bad

    def add(self, fault: Fault) -> None:
        """Take note of a fault; one without a bad row is none."""
        fresh = fault.bad if self._bad is None else fault.bad & ~self._bad
        if not fresh.any():
            return
        self._bad = fresh if self._bad is None else fresh | self._bad
        self._faults.append(Fault(fault.rule, fresh, fault.value))

    def first(self) -> BodyError:
        """Return the error that names the first bad row; there must be one."""
        bad = ~self.good
        at, count = int(bad.argmax()), int(bad.sum())
        fault = next(fault for fault in self._faults if fault.bad[at])
        rule = fault.rule
        rows = f"{count} of {self._n} rows {'is' if count == 1 else 'are'} bad"
        message = (
            f"`{rule.column}` of row {at + 1} must be {rule.expected}. "
            f"Got {shown(fault.value(at))}; {rows}."
        )
        return BodyError(message, row=at + 1, column=rule.column, hint=rule.hint)

    def left_out(self, name: Callable[[int], str]) -> tuple[LeftOut, ...]:
        """Return how many rows broke which rule; ``name`` tells a row to the reader."""
        return tuple(
            LeftOut(
                fault.rule.reason,
                "rows",
                int(fault.bad.sum()),
                tuple(name(int(row)) for row in np.flatnonzero(fault.bad)[:3]),
            )
            for fault in self._faults
        )


def cells(series: pl.Series) -> Callable[[int], object]:
    """Return what tells the value of a row; times that Python does not know as their numbers."""

    def cell(row: int) -> object:
        if not series.dtype.is_temporal():
            return series[row]
        number = series.to_physical()[row]
        per_day = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
        day = number // per_day[getattr(series.dtype, "time_unit", "us")] if number else 0
        day = number if series.dtype == pl.Date else day
        known = number is None or -719_000 < day < 2_932_000
        return series[row] if known else f"{number} since 1970, as {series.dtype}"

    return cell


def shown(value: object) -> str:
    """Return a value as messages show it: shortened, and never raising.

    >>> shown(None), shown("A"), len(shown("A" * 1000))
    ('null', "'A'", 80)
    """
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return _SHORT.repr(value)
    try:
        text = _SHORT.repr(value) if isinstance(value, str | list | tuple | dict) else str(value)
    except Exception:  # what a value says of itself is nobody's promise
        text = type(value).__name__
    return plain(text, 80)


def plain(text: str, longest: int) -> str:
    """Return a text for messages: shortened, and without a character that cannot be seen.

    >>> plain("a" + chr(27) + "b", 80) == "a" + chr(92) + "x1bb", plain("abcdefgh", 6)
    (True, 'abc...')
    """
    short = text if len(text) <= longest else f"{text[: longest - 3]}..."
    if short.isprintable():
        return short
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in short)
