"""Clocks: the wall clock, which never goes back, and a simulated one, which people set.

Take nothing, give the time. The live agent asks them whether a batch is late.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from time import monotonic
from typing import Protocol

from mlma.domain.errors import DataError, StateError

SETTING = "clock"
"""Name under which a store remembers the time of a simulated clock."""

_KEPT = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump of the clock of the machine.

    at
        what it showed after the jump.
    seconds
        how far it jumped beyond the time that really passed; negative = back.
    """

    at: datetime
    seconds: float


class WallClock:
    """The time in UTC, as the machine tells it, but never earlier than it was told before.

    Where the clock of the machine jumps back, this one holds still until the time is reached again.
    Each jump back, and each of more than ``tolerance`` forward, is kept in `jumps`. A machine that
    slept looks like one whose clock jumped forward.

    wall, steady
        the clock of the machine, and seconds that only ever grow.
    """

    def __init__(
        self,
        tolerance: timedelta = timedelta(minutes=1),
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        steady: Callable[[], float] = monotonic,
    ) -> None:
        self._tolerance, self._wall, self._steady = tolerance.total_seconds(), wall, steady
        self._lock = Lock()
        self._told = self._seen = wall()
        self._at = steady()
        self._jumps: deque[Jump] = deque(maxlen=_KEPT)
        self._count = 0

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """The last hundred jumps."""
        return tuple(self._jumps)

    @property
    def jumped(self) -> int:
        """How many jumps there were."""
        return self._count

    def now(self) -> datetime:
        """Return the time in UTC; in one process it never goes back."""
        with self._lock:
            seen, at = self._wall(), self._steady()
            beyond = (seen - self._seen).total_seconds() - (at - self._at)
            if seen < self._seen or beyond > self._tolerance:
                self._jumps.append(Jump(seen, beyond))
                self._count += 1
            self._seen, self._at = seen, at
            self._told = max(self._told, seen)
            return self._told


class Settings(Protocol):
    """What a simulated clock needs of a store."""

    def setting(self, name: str) -> str | None:
        """Return a remembered setting."""
        ...

    def remember(self, name: str, value: str) -> None:
        """Remember a setting."""
        ...


class SimulatedClock:
    """A clock that stands until it is set; the store remembers its time, across restarts.

    Before it is set for the first time it stands at the start of 1970, so that no batch is late.
    """

    def __init__(self, store: Settings) -> None:
        self._store = store
        self._lock = Lock()

    def now(self) -> datetime:
        """Return the time that was set last, in UTC.

        Raises
        ------
        StateError
            What the store remembers is no time.
        """
        text = self._store.setting(SETTING)
        if text is None:
            return _EPOCH
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except ValueError as error:
            raise StateError(
                f"`{SETTING}` of the store must be a time. Got {text!r}. "
                f"Hint: set the simulated clock again.",
            ) from error

    def advance(self, to: datetime) -> datetime:
        """Set the clock to a time and return it, in UTC.

        Raises
        ------
        DataError
            The time has no zone, or lies before the one that the clock shows.
        """
        if to.tzinfo is None:
            raise DataError(
                f"The time of a simulated clock must have a zone. Got {to.isoformat()}. "
                f"Hint: {to.isoformat()}Z is the same time in UTC.",
            )
        with self._lock:
            now, to = self.now(), to.astimezone(UTC)
            if to < now:
                raise DataError(
                    f"A simulated clock cannot go back. It shows {now.isoformat()}, got "
                    f"{to.isoformat()}. Hint: start anew with an empty store to see earlier times.",
                )
            self._store.remember(SETTING, to.isoformat())
            return to
