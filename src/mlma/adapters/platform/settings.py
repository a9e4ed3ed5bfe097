"""Settings of the simulated platform: what its streams are like and what goes wrong with them.

Takes nothing, gives one frozen record that every other module of the simulation reads.
"""

import re
from dataclasses import dataclass, fields, replace
from datetime import date
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

from mlma.domain.errors import SettingsError, unknown_name
from mlma.domain.expressions import parse_call

PLANTABLE = ("level", "shape", "variance", "drift", "stuck", "zero")
"""Kinds of breaks that one stream can have by itself; ``group`` comes on top."""

_SHARES = (
    *("together", "city_share", "births", "deaths", "zero_inflated", "zero_probability"),
    *("dead", "late", "missing", "breaks", "group_breaks", "yearly", "shock_size"),
)
_NOT_NEGATIVE = ("spread", "overdispersion", "shocks_per_year", "variance_size", "delay_minutes")
_POSITIVE = ("demand", "memory_hours", "drift_days", "fault_days", "late_hours")
_COUNTS = {"cities": (1, 10_000), "break_every": (1, 100_000), "quiet_days": (0, 100_000)}
_RISES = ("drift_size", "group_size")
_DATE = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What the simulated platform is like. Shares are between 0 and 1.

    cities
        number of cities.
    demand, spread
        median demand per hour of a stream, and the standard deviation of its logarithm among areas.
    overdispersion
        variance of the gamma factor of every slot: the variance of a count of mean ``m`` is
        ``m + overdispersion * m**2``, before the common shocks.
    yearly
        amplitude of the yearly season.
    holidays
        dates as ``"MM-DD"``; they look like a Sunday and differ in level by type of area.
    together
        share of the variance of a stream's demand about its profile, pooled over the slots of a
        working day, that comes from common shocks: about the correlation of two such streams of
        one city. A stream too sparse for it moves by a coefficient of variation of 1, no more.
    city_share
        share of the common shocks that belongs to the city, not to the fleet; 0 = all cities move
        together.
    memory_hours
        common shocks further apart than twice this are independent.
    shocks_per_year, shock_size
        days of one to three with ``1 - shock_size`` times the demand (seven in ten) or
        ``1 + shock_size`` times, for the fleet and for every city: mean number a year of each.
    births, deaths
        share of streams born in the first year rather than before; share that dies in a year.
    zero_inflated, zero_probability
        share of streams whose slots are 0 with this probability, whatever the demand.
    dead
        share of streams that are always 0.
    delay_minutes, late, late_hours, missing
        mean delay of an actual after the end of its slot; share of stream-days that come late as a
        whole, and their mean further delay; share of actuals that never come.
    breaks, break_every, quiet_days
        probability of a break per stream in every ``break_every`` days, after ``quiet_days``.
    kinds
        kinds of breaks, equally likely: ``level``, ``shape``, ``variance``, ``drift``, ``stuck``,
        ``zero``.
    level_sizes
        relative jumps of a level break, equally likely.
    shift_hours
        by which the daily profile comes later after a shape break.
    variance_size
        relative rise of the overdispersion after a variance break.
    drift_size, drift_days
        relative rise of a slow drift, and how long it takes; the level stays there.
    fault_days
        typical length of a sensor fault, from half of it to one and a half; it ends with its
        ``break_every`` days at the latest.
    group_breaks, group_size
        probability per city in every ``break_every`` days that half of its streams break, and the
        relative jump of their level.
    start
        first day, ``"YYYY-MM-DD"``.

    >>> Platform(together=0.77).together
    0.77
    """

    cities: int = 8
    demand: float = 8.0
    spread: float = 0.7
    overdispersion: float = 0.05
    yearly: float = 0.15
    holidays: tuple[str, ...] = ("01-01", "05-01", "08-15", "10-03", "12-25", "12-26")
    together: float = 0.3
    city_share: float = 0.5
    memory_hours: float = 6.0
    shocks_per_year: float = 4.0
    shock_size: float = 0.4
    births: float = 0.1
    deaths: float = 0.05
    zero_inflated: float = 0.05
    zero_probability: float = 0.7
    dead: float = 0.01
    delay_minutes: float = 10.0
    late: float = 0.02
    late_hours: float = 12.0
    missing: float = 0.002
    breaks: float = 0.3
    break_every: int = 120
    quiet_days: int = 56
    kinds: tuple[str, ...] = PLANTABLE
    level_sizes: tuple[float, ...] = (0.5, -0.4, 0.2)
    shift_hours: float = 2.0
    variance_size: float = 3.0
    drift_size: float = 1.0
    drift_days: float = 100.0
    fault_days: float = 7.0
    group_breaks: float = 0.05
    group_size: float = -0.4
    start: str = "2024-01-01"

    def __post_init__(self) -> None:
        for name in _SHARES:
            self._check(name, is_number(getattr(self, name), 0, 1), "a share from 0 to 1")
        for name in _NOT_NEGATIVE:
            self._check(name, is_number(getattr(self, name), 0), "a number, 0 or more")
        for name in _POSITIVE:
            good = is_number(getattr(self, name), 0) and getattr(self, name) > 0
            self._check(name, good, "a number above 0")
        for name, (least, most) in _COUNTS.items():
            good = is_whole(getattr(self, name), least, most)
            self._check(name, good, f"a whole number from {least} to {most}")
        for name in _RISES:
            self._check(name, _rise(getattr(self, name)), "a relative change above -1")
        self._check("shock_size", self.shock_size < 1, "below 1", "0.4 is 40 % less or more")
        self._check("shift_hours", is_number(self.shift_hours, -24, 24), "from -24 to 24 hours")
        self._check_lists()
        self._check("start", _is_day(self.start), 'a day "YYYY-MM-DD" from 1900 to 2200')

    def _check_lists(self) -> None:
        kinds = isinstance(self.kinds, tuple) and len(self.kinds) > 0
        self._check("kinds", kinds, "a tuple of kinds of breaks", 'kinds=("level",)')
        for kind in self.kinds:
            if kind not in PLANTABLE:
                raise unknown_name("kind of break", str(kind), PLANTABLE)
        sizes = isinstance(self.level_sizes, tuple) and len(self.level_sizes) > 0
        good = sizes and all(_rise(size) for size in self.level_sizes)
        self._check("level_sizes", good, "a tuple of relative changes above -1", "(0.5, -0.4)")
        dates = isinstance(self.holidays, tuple) and all(map(_is_date, self.holidays))
        self._check("holidays", dates, 'a tuple of dates "MM-DD"', 'holidays=("01-01", "12-25")')

    def _check(self, setting: str, good: bool, expected: str, hint: str = "") -> None:
        if not good:
            raise SettingsError(
                f"`{setting}` of `Platform` must be {expected}. Got {getattr(self, setting)!r}."
                + (f" Hint: {hint}." if hint else ""),
            )


def platform_from(platform: "Platform | str | None", settings: dict[str, Any]) -> Platform:
    """Return a platform, written as a record or as text, with some settings changed.

    Raises
    ------
    SettingsError
        A setting is unknown or out of range.

    >>> platform_from("platform(demand=3.0)", {"cities": 2}).cities
    2
    """
    if isinstance(platform, str):
        name, written = parse_call(platform, "platform")
        if name != "platform":
            raise unknown_name("platform", name, ["platform"])
        return platform_from(None, {**written, **settings})
    if platform is not None and not isinstance(platform, Platform):
        raise SettingsError(
            f"`platform` of `simulate` must be a `Platform` or its text form. Got {platform!r}. "
            f'Hint: platform="platform(together=0.77)".',
        )
    known = [spec.name for spec in fields(Platform)]
    for name in settings:
        if name not in known:
            raise unknown_name("setting of `Platform`", name, known)
    return replace(platform or Platform(), **settings)


def is_number(value: Any, low: float, high: float = inf) -> bool:
    """Tell whether a value is a finite number inside the limits, both included."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    return real and isfinite(value) and low <= value <= high


def is_whole(value: Any, low: int, high: int) -> bool:
    """Tell whether a value is a whole number inside the limits, both included."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return whole and low <= int(value) <= high


def _rise(value: Any) -> bool:
    return is_number(value, -1) and value > -1


def _is_date(text: Any) -> bool:
    return isinstance(text, str) and _DATE.fullmatch(text) is not None


def _is_day(text: Any) -> bool:
    try:
        return isinstance(text, str) and 1900 <= date.fromisoformat(text).year <= 2200
    except ValueError:
        return False
