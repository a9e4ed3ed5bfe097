"""Rows that are pushed, and patience with threads: until something is so, but not for ever."""

from datetime import UTC, datetime
from time import monotonic, sleep

import numpy as np

from mlma.domain.inbox import NamedRows
from mlma.domain.periods import Periods

HOUR = np.timedelta64(3600 * 10**6, "us")
DAYS = Periods(24 * HOUR, HOUR)
MONDAY = np.datetime64("2024-01-01", "us")
FIRST = DAYS.at(MONDAY)


def pushed(*names, kind="actuals", start=MONDAY, slots=3, value=1.0, cutoff=None):
    """Return the first slots of a day of some streams, one stream after the other."""
    n = len(names) * slots
    instant = np.tile(start + HOUR * np.arange(slots), len(names))
    return NamedRows(
        kind,
        tuple(names),
        np.repeat(np.arange(len(names), dtype=np.int32), slots),
        instant,
        np.full(n, value),
        None if cutoff is None else np.full(n, cutoff, dtype=np.int64),
    )


def until(is_so, seconds=10.0):
    """Wait until something is so, and return it."""
    end = monotonic() + seconds
    while monotonic() < end:
        found = is_so()
        if found:
            return found
        sleep(0.005)
    raise AssertionError(f"not within {seconds} s: {is_so}")


class Standing:
    """A clock that stands."""

    def __init__(self, now=datetime(2024, 1, 2, 12, tzinfo=UTC)):
        self.time = now

    def now(self):
        return self.time
