"""Months: a grid of weeks, and what happens on each day.

Takes things with a beginning and an end, gives the days of a month with those that touch each.
"""

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

_YEARS = (1990, 2199)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something of the calendar.

    kind
        ``event``, ``plan`` or ``label``.
    ends
        the first moment after it; of a plan the same as ``begins``.
    detail, whom
        in words.
    edit, cancel
        addresses of the forms that change it and take it away; empty = none.
    """

    kind: str
    name: str
    begins: datetime
    ends: datetime
    detail: str = ""
    whom: str = ""
    edit: str = ""
    cancel: str = ""

    def touches(self, begins: datetime, ends: datetime) -> bool:
        """Return whether it happens between two moments."""
        if self.begins == self.ends:
            return begins <= self.begins < ends
        return self.begins < ends and begins < self.ends


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the grid; ``inside``: of the month that is shown."""

    date: date
    inside: bool
    today: bool
    happenings: tuple[Happening, ...]


@dataclass(frozen=True, slots=True)
class Month:
    """Weeks from Monday to Sunday that hold a month."""

    first: date
    weeks: tuple[tuple[Day, ...], ...]

    @property
    def before(self) -> str:
        """The month before, as in addresses."""
        return (self.first - timedelta(days=1)).strftime("%Y-%m")

    @property
    def after(self) -> str:
        """The month after, as in addresses."""
        return (self.first + timedelta(days=32)).strftime("%Y-%m")

    @property
    def begins(self) -> date:
        """The first day of the grid."""
        return self.weeks[0][0].date

    @property
    def ends(self) -> date:
        """The day after the last one of the grid."""
        return self.weeks[-1][-1].date + timedelta(days=1)


def month_of(text: str, today: date) -> date:
    """Return the first day of a month as it stands in an address; this month where it is none.

    >>> month_of("2025-03", date(2024, 1, 9)), month_of("soon", date(2024, 1, 9))
    (datetime.date(2025, 3, 1), datetime.date(2024, 1, 1))
    """
    try:
        made = date.fromisoformat(f"{text}-01")
    except ValueError:
        made = today
    return (made if _YEARS[0] <= made.year <= _YEARS[1] else today).replace(day=1)


def month_grid(
    first: date, happenings: Sequence[Happening], today: date, zone: tzinfo = UTC
) -> Month:
    """Return a month with what happens on its days, on the clock of a zone."""
    weeks = calendar.Calendar().monthdatescalendar(first.year, first.month)
    return Month(
        first,
        tuple(tuple(_day(day, first, happenings, today, zone) for day in week) for week in weeks),
    )


def _day(day: date, first: date, happenings: Sequence[Happening], today: date, zone: tzinfo) -> Day:
    begins, ends = start_of(day, zone), start_of(day + timedelta(days=1), zone)
    own = tuple(one for one in happenings if one.touches(begins, ends))
    return Day(day, day.month == first.month, day == today, own)


def start_of(day: date, zone: tzinfo) -> datetime:
    """Return the first moment of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=zone)
