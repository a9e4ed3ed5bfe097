"""When demand comes: the day, the week, the year and holidays, by type of area.

Takes the length of a slot, gives tables whose working-day profile has mean 1.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

AREA_TYPES = ("business", "residential", "leisure", "transit")
VEHICLES = ("bike", "scooter", "car")
VEHICLE_LEVELS = np.array([1.0, 0.7, 0.4])

STEPS = 288
"""Steps of five minutes in a day: the finest slot, and the unit by which profiles shift."""

# Humps of demand per type of area: (hour, width in hours, height); working days, then free days.
_HUMPS = (
    (((8.5, 1.5, 2.0), (12.5, 1.5, 1.4), (17.5, 2.0, 1.8)), ((13.0, 4.0, 1.0),)),
    (((7.5, 1.5, 1.4), (18.5, 3.0, 2.0)), ((11.0, 3.0, 1.2), (18.0, 3.5, 1.6))),
    (((14.0, 3.5, 0.9), (20.5, 2.5, 1.8)), ((14.5, 4.0, 1.5), (21.0, 3.0, 1.9))),
    (((8.0, 1.2, 2.6), (17.5, 1.5, 2.4)), ((10.5, 3.0, 1.0), (18.0, 3.0, 1.3))),
)
_FLOOR = 0.12

_WEEK = np.array(
    [
        [1.00, 1.05, 1.08, 1.05, 1.00, 0.45, 0.35],
        [0.95, 0.95, 0.97, 1.00, 1.08, 1.10, 1.00],
        [0.75, 0.78, 0.85, 0.95, 1.25, 1.60, 1.30],
        [1.02, 1.03, 1.03, 1.04, 1.06, 0.70, 0.60],
    ],
)
_HOLIDAY = np.array([0.6, 0.9, 1.2, 0.7])


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a day is cut: ``slots`` slots of ``minutes`` minutes; a multiple of five."""

    slots: int
    minutes: int

    @property
    def hours(self) -> float:
        """Length of a slot in hours."""
        return self.minutes / 60

    @property
    def steps(self) -> int:
        """Length of a slot in steps of five minutes."""
        return self.minutes // 5

    @property
    def step(self) -> np.timedelta64:
        """Length of a slot, timedelta64[us]."""
        return np.timedelta64(self.minutes * 60_000_000, "us")


@lru_cache(maxsize=16)
def daily_tables(steps: int) -> Floats:
    """Return mean demand of a slot that begins at each step, ``(2, types, 2 * STEPS)``.

    First axis: working day, free day. Relative to the mean of a working day. The day stands there
    twice, so that a shifted reader need not wrap around.
    """
    fine = np.stack([[_humps(humps[free]) for humps in _HUMPS] for free in (0, 1)])
    fine /= fine.mean(axis=2, keepdims=True)
    twice = np.concatenate([fine, fine], axis=2)
    total = np.cumsum(np.concatenate([np.zeros((2, len(AREA_TYPES), 1)), twice], axis=2), axis=2)
    slot = (total[:, :, steps : steps + STEPS] - total[:, :, :STEPS]) / steps
    return np.concatenate([slot, slot], axis=2)


def week_factors(weekday: int, holiday: bool) -> Floats:
    """Return the level of a day per type of area, ``(types,)``; Monday is 0."""
    factors: Floats = _WEEK[:, 6] * _HOLIDAY if holiday else _WEEK[:, weekday]
    return factors


def weekday_of(date: np.datetime64) -> int:
    """Return the day of the week, Monday = 0.

    >>> weekday_of(np.datetime64("2024-01-01"))
    0
    """
    return (int(date.astype("datetime64[D]").astype(np.int64)) + 3) % 7  # 1970 began on a Thursday


def year_factor(day: np.datetime64, amplitude: float) -> float:
    """Return the level of the season: highest at midsummer, lowest at midwinter.

    >>> round(year_factor(np.datetime64("2024-07-15"), 0.15), 3)
    1.15
    """
    number = int((day - day.astype("datetime64[Y]")).astype(int))
    return float(1 + amplitude * np.cos(2 * np.pi * (number - 196) / 365.25))


def effective_mean(steps: int) -> Floats:
    """Return the mean of the squared working-day profile over its mean, per type, ``(types,)``."""
    profile = daily_tables(steps)[0, :, :STEPS]
    made: Floats = (profile**2).mean(axis=1) / profile.mean(axis=1)
    return made


def _humps(humps: tuple[tuple[float, float, float], ...]) -> Floats:
    hour = (np.arange(STEPS) + 0.5) * 24 / STEPS
    made = np.full(STEPS, _FLOOR)
    for centre, width, height in humps:
        away = (hour - centre + 12) % 24 - 12
        made = made + height * np.exp(-0.5 * (away / width) ** 2)
    return made
