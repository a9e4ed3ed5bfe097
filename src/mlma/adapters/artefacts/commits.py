"""Names of commits: unique, and in the order in which they were made.

Takes a clock, gives names for files that are written once. Two writers never share one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from secrets import token_hex

_FORM = "%Y%m%dT%H%M%S%f"
_NAME = re.compile(r"\d{8}T\d{12}-[0-9a-f]{8}")


def utc_now() -> datetime:
    """Return the time now, UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass(slots=True)
class Commits:
    """Gives names; those of one store object come in order even where the clock stands still."""

    clock: Callable[[], datetime] = utc_now
    last: datetime = field(default=datetime.min)

    def next(self) -> str:
        """Return a new name: microsecond, UTC, and eight digits of chance."""
        self.last = max(self.clock(), self.last + timedelta(microseconds=1))
        return f"{self.last.strftime(_FORM)}-{token_hex(4)}"


def is_commit(name: str) -> bool:
    """Whether this may be the name of a commit.

    >>> is_commit("20240601T000000000000-0011aabb"), is_commit("../../etc/passwd")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


@lru_cache
def commit_time(name: str) -> datetime:
    """Return when a commit was made, UTC.

    >>> commit_time("20240601T120000000000-0011aabb")
    datetime.datetime(2024, 6, 1, 12, 0)
    """
    return datetime.strptime(name.partition("-")[0], _FORM)
