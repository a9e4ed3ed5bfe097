"""Ticks: round numbers and round times along an axis."""

import math
from datetime import datetime, timedelta

import numpy as np

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
_HOURS = (1, 2, 3, 6, 12)
_DAYS = (1, 2, 7, 14)
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_MONDAY = datetime(1969, 12, 29)


def number_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers that span ``low`` to ``high``: both lie between first and last.

    >>> number_ticks(0.0, 7.3)
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if not high > low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(wanted - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in _ROUND if one * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)  # a span that is tiny beside its numbers rounds to a point
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def time_ticks(first: datetime, last: datetime, wanted: int = 5) -> list[tuple[datetime, str]]:
    """Return round times from ``first`` to ``last`` and how they are written.

    >>> [text for _, text in time_ticks(datetime(2024, 12, 1), datetime(2025, 2, 5), 4)]
    ['1 Dec', '1 Jan 2025', '1 Feb']
    """
    span = last - first
    for hours in _HOURS:
        if span <= hours * _HOUR * wanted:
            return _named(_even(first, last, hours * _HOUR), "%H:%M")
    for days in _DAYS:
        if span <= days * _DAY * wanted:
            return _named(_even(first, last, days * _DAY), "")
    for months in _MONTHS:
        if span <= timedelta(days=30.44 * months) * wanted or months == _MONTHS[-1]:
            return _named(_monthly(first, last, months), "")
    return []


def decimals(ticks: list[float]) -> int:
    """Return how many places tell ticks apart.

    >>> decimals([0.0, 0.25, 0.5]), decimals([0.0, 20.0])
    (2, 0)
    """
    for places in range(9):
        if all(abs(round(one, places) - one) <= 1e-9 * max(abs(one), 1e-9) for one in ticks):
            return places
    return 9


def as_datetime(time: np.datetime64) -> datetime:
    """Return a time of an axis as a datetime without a zone."""
    made: datetime = time.astype("datetime64[us]").item()
    return made


def _even(first: datetime, last: datetime, step: timedelta) -> list[datetime]:
    before = (first - _MONDAY) // step
    at = _MONDAY + before * step
    made = []
    while at <= last:
        if at >= first:
            made.append(at)
        at += step
    return made


def _monthly(first: datetime, last: datetime, step: int) -> list[datetime]:
    month = (first.year * 12 + first.month - 1) // step * step
    made = []
    while (at := datetime(month // 12, month % 12 + 1, 1)) <= last:
        if at >= first:
            made.append(at)
        month += step
    return made


def _named(times: list[datetime], clock: str) -> list[tuple[datetime, str]]:
    """Return times with their texts: a year stands only where it changes, a day likewise."""
    made: list[tuple[datetime, str]] = []
    before = None
    for at in times:
        new_year = before is not None and at.year != before.year
        day = f"{at.day} {at:%b %Y}" if new_year else f"{at.day} {at:%b}"
        new_day = before is None or before.date() != at.date()
        made.append((at, day if new_day or not clock else at.strftime(clock)))
        before = at
    return made
