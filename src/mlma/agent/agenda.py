"""The agenda: which period is judged next, and whether its time has come.

Takes the desk and the time, gives what was gathered of the next period that has forecasts. Periods
are judged in order; one that stays empty is passed once nothing is waited for any more.
"""

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from mlma.agent.closing import Closing, before_end, closing
from mlma.agent.desk import Desk
from mlma.agent.gathering import Gathering
from mlma.domain.periods import moment_of

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

NOTHING = Closing(waits_for="nothing came yet")


@dataclass(slots=True)
class Agenda:
    """What comes next.

    start
        first period to judge; None = the first one that has rows.
    passed
        the last period that was judged or passed; None = none was.
    expected
        ``(n_streams,) bool``, streams that the next period waits for.
    standing
        the period that was looked at last, and what was found; None = none was yet.
    """

    desk: Desk
    start: int | None
    passed: int | None
    expected: Bools
    standing: tuple[int | None, Closing] | None = None
    _skipped: dict[int, int] = field(default_factory=dict)
    """Periods that were passed as empty, and the numbers of their last parcels then."""

    def next(self, now: datetime) -> tuple[Gathering | None, Closing]:
        """Return what was gathered of the next period, None = not read yet, and its standing."""
        while True:
            period = self._period()
            if period is None:
                self.standing = None, NOTHING
                return None, NOTHING
            early = before_end(period, now, self.desk.settings)
            if early is not None:  # rows are not read before they are needed
                self.standing = period, early
                return None, early
            gathered = self.desk.gathered(period)
            ready = self._closing(gathered, now)
            self.standing = period, ready
            if not ready.empty:
                return gathered, ready
            if not self._pass(gathered):
                ready = Closing(waits_for="forecasts of a later period")
                self.standing = period, ready
                return None, ready

    def judged(self, period: int, streams: Ints, n_streams: int) -> None:
        """Take note that a period was judged, or opened again, and which streams were in it."""
        self.expected = np.zeros(n_streams, dtype=np.bool_)
        self.expected[streams] = True
        self.passed = period if self.passed is None else max(period, self.passed)
        self._skipped = {one: n for one, n in self._skipped.items() if one > period}
        self.desk.cleared()

    def _period(self) -> int | None:
        if self.passed is not None:
            filled = self._filled()
            return self.passed + 1 if filled is None else filled
        if self.start is not None:
            return self.start
        return min(self.desk.store.periods(), default=None)

    def _filled(self) -> int | None:
        """Return the first period that was passed as empty and has got rows since; None = none."""
        if not self._skipped:
            return None
        there = self.desk.store.periods(first=min(self._skipped))
        return next((one for one, n in self._skipped.items() if there.get(one, 0) > n), None)

    def _closing(self, gathered: Gathering, now: datetime) -> Closing:
        settings = self.desk.settings
        end = moment_of(settings.periods.end(gathered.period))
        expected = np.zeros(gathered.n_streams, dtype=np.bool_)
        expected[: len(self.expected)] = self.expected
        later = False
        if settings.timeout is None and now >= end:
            later = self._later(gathered.period) is not None
        return closing(gathered, expected, now, settings, later=later)

    def _pass(self, gathered: Gathering) -> bool:
        """Pass an empty period; False = nothing came of a later one, so it waits."""
        period = gathered.period
        if self.desk.sources:
            self.passed = period
            return True
        later = self._later(period)
        if later is None:
            return False
        self.passed = later - 1
        self._skipped[period] = gathered.through
        self._skipped |= dict.fromkeys(range(period + 1, later), 0)
        return True

    def _later(self, period: int) -> int | None:
        """Return the next period after one that has pushed rows; None = there is none."""
        return min(self.desk.store.periods(first=period + 1), default=None)
