"""Periods: which batch and which slot of it a time belongs to, live as in a replay.

Takes times, gives numbers. Periods are counted from a Monday, so that those of a week start on one.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Times64 = NDArray[np.datetime64]
Ints = NDArray[np.int64]

MONDAY = np.datetime64("1969-12-29", "us")
"""Batches are counted from here: batches of weeks start on a Monday."""

_HOUR = np.timedelta64(3600 * 10**6, "us")
_DAY = 24 * _HOUR


@dataclass(frozen=True, slots=True)
class Periods:
    """The grid of batches and slots.

    batch, slot
        timedelta64[us]; a batch is a whole number of slots.
    zone
        name of the time zone on whose clock periods are cut; times are then instants (UTC). None =
        times are taken as they come.

    >>> days = Periods(np.timedelta64(86_400_000_000, "us"), np.timedelta64(3_600_000_000, "us"))
    >>> period, place = days.locate(np.array(["1970-01-05T02:00"], dtype="datetime64[us]"))
    >>> int(period[0]), int(place[0]), str(days.start(7))
    (7, 2, '1970-01-05T00:00:00.000000')
    """

    batch: np.timedelta64
    slot: np.timedelta64
    zone: str | None = None

    @property
    def slots(self) -> int:
        """Slots of a period on an ordinary day."""
        return int(self.batch // self.slot)

    @property
    def width(self) -> int:
        """Most slots that a period can have: an hour more where a clock is put back."""
        return self.slots + (0 if self.zone is None else int(-(-_HOUR // self.slot)))

    def start(self, period: int) -> np.datetime64:
        """Return the first instant of a period, datetime64[us]."""
        wall = MONDAY + self.batch * period
        return wall if self.zone is None else _instant(wall.item(), self.zone)

    def end(self, period: int) -> np.datetime64:
        """Return the instant at which a period is over: the start of the next one."""
        return self.start(period + 1)

    def wall_start(self, period: int) -> np.datetime64:
        """Return the start of a period as the clock on the wall shows it."""
        return np.datetime64(MONDAY + self.batch * period)

    def at(self, instant: np.datetime64) -> int:
        """Return the period of one instant."""
        return int(self.locate(np.array([instant], dtype="datetime64[us]"))[0][0])

    def locate(self, instants: Times64) -> tuple[Ints, Ints]:
        """Return period and place in it of each instant, both ``(n,) int64``.

        No instant may be NaT. A place is the number of the slot in its period, from 0.
        """
        if self.zone is None:
            since = (instants - MONDAY).astype(np.int64)
            period, rest = np.divmod(since, self.batch.astype(np.int64))
            return period, rest // self.slot.astype(np.int64)
        if not len(instants):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        # No clock on a wall is a day ahead of UTC, or behind it.
        first = int((instants.min() - _DAY - MONDAY) // self.batch)
        last = int((instants.max() + _DAY - MONDAY) // self.batch) + 1
        starts = np.array([self.start(period) for period in range(first, last + 1)])
        at = np.searchsorted(starts, instants, side="right") - 1
        place = (instants - starts[at]) // self.slot
        return at + first, np.asarray(place, dtype=np.int64)

    def off_grid(self, instants: Times64) -> NDArray[np.bool_]:
        """Return which instants are no start of a slot, ``(n,) bool``."""
        zero = np.timedelta64(0, "us")
        if self.zone is None or not len(instants):
            return np.asarray((instants - MONDAY) % self.slot != zero)
        period, place = self.locate(instants)
        numbers, back = np.unique(period, return_inverse=True)
        starts = np.array([self.start(int(number)) for number in numbers])
        return np.asarray(starts[back] + place * self.slot != instants)

    def times(self, period: int, place: Ints) -> Times64:
        """Return the instants of some places of a period."""
        return np.asarray(self.start(period) + place * self.slot, dtype="datetime64[us]")


@lru_cache(maxsize=4096)
def _instant(wall: datetime, zone: str) -> np.datetime64:
    there = wall.replace(tzinfo=ZoneInfo(zone))
    return np.datetime64(there.astimezone(UTC).replace(tzinfo=None), "us")


def instant_of(moment: datetime) -> np.datetime64:
    """Return a moment with a time zone as an instant, datetime64[us] in UTC."""
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def moment_of(instant: np.datetime64) -> datetime:
    """Return an instant in UTC as a moment with its time zone."""
    made: datetime = instant.astype("datetime64[us]").item()
    return made.replace(tzinfo=UTC)


def microseconds(length: timedelta) -> np.timedelta64:
    """Return a length as timedelta64[us]."""
    return np.timedelta64(length, "us")
