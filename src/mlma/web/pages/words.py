"""Words and figures of the pages: how numbers, times and codes are written for people.

Takes plain values, gives text; a value that is not there is a dash.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

NOTHING = "\u2013"
_THIN = "\u2009"
_STEPS = (
    *((86_400 * 2, 86_400, "day"), (3_600 * 2, 3_600, "hour"), (120, 60, "minute")),
    (0, 1, "second"),
)


def missing(value: Any) -> bool:
    """Return whether there is no value: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def number(value: float | None, digits: int = 3) -> str:
    """Return a number: whole ones with thousands apart, others with so many digits that count.

    >>> number(12345), number(0.034567), number(1234.5), number(None)
    ('12,345', '0.0346', '1,234', '–')
    """
    if value is None or missing(value):
        return NOTHING
    if math.isinf(value):
        return "\u221e" if value > 0 else "\u2212\u221e"
    size = abs(value)
    if value == int(value) or size >= 10 ** (digits - 1):
        return f"{value:,.0f}".replace("-", "\u2212")
    places = digits - 1 - math.floor(math.log10(size))
    told = f"{value:.{places}f}" if places < 9 else f"{value:.{digits - 1}e}"
    return told.replace("-", "\u2212")


def percent(value: float | None, places: int | None = None, *, signed: bool = False) -> str:
    r"""Return a share in percent.

    >>> [one.replace("\xa0", " ") for one in (percent(0.1234), percent(0.2, signed=True))]
    ['12 %', '+20 %']
    """
    if value is None or missing(value):
        return NOTHING
    size = abs(value) * 100
    if places is None:
        places = 0 if size >= 9.95 or size == 0 else 1 if size >= 0.095 else 2
    if 0 < size < 0.005:
        return "< 0.01 %"
    told = f"{value * 100:{'+' if signed else ''},.{places}f}"
    return f"{told} %".replace("-", "\u2212").replace(" %", "\u00a0%")


def moment(value: datetime | None, *, seconds: bool = False) -> str:
    """Return a time to the minute; one with a zone is told in UTC.

    >>> moment(datetime(2025, 3, 1, 9, 30, tzinfo=UTC))
    '2025-03-01 09:30 UTC'
    """
    if value is None:
        return NOTHING
    form = "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"
    if value.tzinfo is None:
        return value.strftime(form)
    return value.astimezone(UTC).strftime(form) + " UTC"


def day(value: datetime | None) -> str:
    """Return the day of a time.

    >>> day(datetime(2025, 3, 1))
    '1 Mar 2025'
    """
    return NOTHING if value is None else f"{value.day} {value:%b %Y}"


def duration(seconds: float | timedelta | None) -> str:
    """Return a length of time in its largest whole unit.

    >>> duration(90), duration(7300), duration(86400 * 3)
    ('90 seconds', '2 hours', '3 days')
    """
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if seconds is None or missing(seconds):
        return NOTHING
    for least, unit, name in _STEPS:
        if abs(seconds) >= least:
            return counted(round(seconds / unit), name)
    return NOTHING


def ago(value: datetime | None, now: datetime) -> str:
    """Return how long ago a time was, or in how long it will be."""
    if value is None:
        return NOTHING
    past = (now - value).total_seconds()
    if abs(past) < 1:
        return "just now"
    return f"{duration(past)} ago" if past > 0 else f"in {duration(-past)}"


def counted(n: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "stream"), counted(1200, "stream")
    ('1 stream', '1,200 streams')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


_WORDS = {
    "one_off": "one-off",
    "real_shift": "real shift",
    "broken": "broken data",
    "roll_back": "roll back",
    "cancel_event": "cancel an event",
    "retrain": "re-train",
    "overrule": "overrule a verdict",
    "rejudge": "judge anew",
    "label": "label batches",
    "policy": "switch policy",
    "budget": "set the budget",
    "event": "declare an event",
    "plan": "plan a re-training",
    "claimed": "running",
    "given_up": "given up",
}


def words(code: Any) -> str:
    """Return a code in words.

    >>> words("one_off"), words("not_helped"), words("degraded")
    ('one-off', 'not helped', 'degraded')
    """
    text = str(code)
    return _WORDS.get(text, text.replace("_", " "))
