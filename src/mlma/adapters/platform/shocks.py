"""What moves many streams at once: common shocks, events, holidays.

Takes settings and a day, gives factors per city. Nothing depends on earlier days: smooth noise is
interpolated between independent knots, and an event is found by asking each day before whether one
began there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.platform.draws import Purpose, Thing, chances, keys_of, normals
from mlma.adapters.platform.profiles import Rhythm
from mlma.adapters.platform.settings import Platform

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LONGEST = 3
"""Days of the longest event."""

_DOWNWARD = 0.7


@dataclass(frozen=True, slots=True)
class Events:
    """Events of the fleet (``city`` = -1) and of cities, one entry each.

    ``first`` is the first day, ``days`` the length, ``size`` the relative change of the demand.
    """

    city: Ints
    first: Ints
    days: Ints
    size: Floats


def common_shocks(platform: Platform, rhythm: Rhythm, seed: int, day: int) -> Floats:
    """Return the common shocks of each city, ``(cities, slots)``, standard normal.

    Knots are independent normals ``memory_hours`` apart; between two of them the weights are
    cosine and sine of the fraction, so that the variance is 1 everywhere.
    """
    cities = _common(keys_of(Thing.CITY, np.arange(platform.cities)), platform, rhythm, seed, day)
    fleet = _common(keys_of(Thing.FLEET, [0]), platform, rhythm, seed, day)
    share = platform.city_share
    made: Floats = np.sqrt(share) * cities + np.sqrt(1 - share) * fleet
    return made


def event_factors(platform: Platform, seed: int, day: int) -> Floats:
    """Return the factor of the events of a day, ``(cities,)``; 1 = nothing is on."""
    events = events_between(platform, seed, day - LONGEST + 1, day + 1)
    on = events.first + events.days > day
    factors = np.ones(platform.cities)
    np.multiply.at(
        factors, events.city[on & (events.city >= 0)], 1 + _sizes(events, on, fleet=False)
    )
    return factors * np.prod(1 + _sizes(events, on, fleet=True))


def events_between(platform: Platform, seed: int, first: int, last: int) -> Events:
    """Return the events that begin on the days ``first`` to ``last - 1``, by day and city."""
    days = np.arange(max(first, 0), last)
    scope = np.arange(-1, platform.cities)
    fleet, cities = keys_of(Thing.FLEET, [0]), keys_of(Thing.CITY, scope[1:])
    key = np.concatenate([fleet, cities])
    begins = chances(seed, key, Purpose.SHOCK, days[:, None]) < platform.shocks_per_year / 365.25
    at, whose = np.nonzero(begins)
    length = chances(seed, key[whose], Purpose.SHOCK_LENGTH, days[at])
    sign = chances(seed, key[whose], Purpose.SHOCK_SIGN, days[at])
    return Events(
        city=scope[whose],
        first=days[at],
        days=1 + (length * LONGEST).astype(np.int64),
        size=np.where(sign < _DOWNWARD, -platform.shock_size, platform.shock_size),
    )


def is_holiday(platform: Platform, date: np.datetime64) -> bool:
    """Tell whether a day is a holiday."""
    return str(date.astype("datetime64[D]"))[5:] in platform.holidays


def _common(
    key: NDArray[np.uint64], platform: Platform, rhythm: Rhythm, seed: int, day: int
) -> Floats:
    hours = 24 * day + rhythm.hours * (np.arange(rhythm.slots) + 0.5)
    knot, fraction = np.divmod(hours / platform.memory_hours, 1)
    before = normals(seed, key[:, None], Purpose.COMMON, knot.astype(np.int64))
    after = normals(seed, key[:, None], Purpose.COMMON, knot.astype(np.int64) + 1)
    angle = np.pi / 2 * fraction
    made: Floats = np.cos(angle) * before + np.sin(angle) * after
    return made


def _sizes(events: Events, on: NDArray[np.bool_], *, fleet: bool) -> Floats:
    sizes: Floats = events.size[on & ((events.city < 0) == fleet)]
    return sizes
