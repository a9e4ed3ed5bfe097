"""What is forgotten, and when: rows that were judged long ago, old states, overruled revisions.

Takes how the agent stands and the time, tells the store what may go.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mlma.domain.live import LiveSettings, LiveStatus
from mlma.domain.periods import Periods, instant_of, microseconds
from mlma.ports import Store

_EVERY_CYCLES = 10


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept.

    rows
        pushed rows, after the end of their period.
    superseded, snapshots
        overruled revisions and states of the agent, after their cycle.
    """

    rows: timedelta = timedelta(days=14)
    superseded: timedelta = timedelta(days=30)
    snapshots: timedelta = timedelta(days=90)

    @classmethod
    def of(cls, settings: LiveSettings, superseded: timedelta, snapshots: timedelta) -> "Retention":
        """Return how long things are kept; rows at least as long as the agent may read them."""
        season = settings.season if settings.benchmark == "seasonal_naive" else timedelta(0)
        rows = max(settings.retention, settings.reopen + season)
        return cls(rows, superseded, snapshots)

    def oldest(self, periods: Periods, now: datetime) -> int:
        """Return the oldest period whose rows are kept."""
        return periods.at(instant_of(now - self.rows))


class Pruner:
    """Drops from a store what is kept no longer; rows that wait to be judged stay."""

    def __init__(self, store: Store, periods: Periods, retention: Retention) -> None:
        self._store, self._periods, self.retention = store, periods, retention
        self._period: int | None = None
        self._cycle: int | None = None

    def prune(self, status: LiveStatus, now: datetime) -> int:
        """Drop what may go; return how many parcels of rows went."""
        gone = self._forget(status, now)
        if self._cycle is None or status.cycle >= self._cycle + _EVERY_CYCLES:
            self._store.prune(
                snapshots_before=status.cycle - self._cycles(self.retention.snapshots),
                superseded_before=status.cycle - self._cycles(self.retention.superseded),
                events_before=now - self.retention.superseded,
            )
            self._cycle = status.cycle
        return gone

    def _forget(self, status: LiveStatus, now: datetime) -> int:
        before = self.retention.oldest(self._periods, now)
        if status.next_period is not None:
            before = min(before, self._periods.at(instant_of(status.next_period)))
        if before == self._period:
            return 0
        gone = self._store.forget(before)
        self._period = before
        return gone

    def _cycles(self, length: timedelta) -> int:
        return max(int(microseconds(length) // self._periods.batch), 1)
