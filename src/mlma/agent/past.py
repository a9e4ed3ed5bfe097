"""The past: what earlier cycles saw of an event, to compare the next one like it with.

Takes the ledger, gives how many times their usual loss streams had in an event.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.ledger import CycleEntry
from mlma.domain.periods import Periods, instant_of
from mlma.ports.store import Ledger

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OWN_BATCHES = 2.0
"""Batches of an event that a stream's own ratio must have to count half; the rest is the median of
all streams of the event."""


@dataclass(slots=True)
class Past:
    """Reads the ledger.

    Cycles that are being judged anew are read as they come out now (`judged_anew`).
    """

    ledger: Ledger
    periods: Periods
    _anew: dict[int, CycleEntry] = field(default_factory=dict)

    def judged_anew(self, entry: CycleEntry) -> None:
        """Take note of a cycle that is not committed yet."""
        self._anew[entry.info.period] = entry

    def ratios(self, event: CalendarEvent) -> tuple[Ints, Floats]:
        """Return rows, and the log of the ratio of the loss in an event to the one expected then.

        Our reading: a stream's mean over the event's batches, shrunk to the median of the streams,
        because one event is few batches. Streams without a known ratio are left out.
        """
        rows, logs = self._logs(event)
        if not len(rows):
            return rows, logs
        found, place = np.unique(rows, return_inverse=True)
        batches = np.bincount(place)
        mean = np.bincount(place, weights=logs) / batches
        middle = float(np.median(mean))
        return found, middle + batches / (batches + OWN_BATCHES) * (mean - middle)

    def streams_in(self, first: int, last: int) -> list[tuple[int, Ints]]:
        """Return the judged periods among these, ascending, and the rows of their streams."""
        if last < first:
            return []
        return [(one.info.period, one.streams) for one in self._entries(first, last)]

    def _logs(self, event: CalendarEvent) -> tuple[Ints, Floats]:
        first = self.periods.at(instant_of(event.begins))
        last = self.periods.at(instant_of(event.ends) - np.timedelta64(1, "us"))
        rows, logs = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
        for entry in self._entries(first, last):
            evidence = entry.evidence
            with np.errstate(divide="ignore", invalid="ignore"):
                log = np.log(evidence["loss"]) - evidence["reference_log"].astype(np.float64)
            known = np.isfinite(log)
            rows.append(entry.streams[known])
            logs.append(log[known])
        return np.concatenate(rows), np.concatenate(logs)

    def _entries(self, first: int, last: int) -> list[CycleEntry]:
        made = []
        for info in self.ledger.cycles():
            if first <= info.period <= last:
                anew = self._anew.get(info.period)
                streams, evidence = (
                    self.ledger.evidence(info.cycle)
                    if anew is None
                    else (anew.streams, anew.evidence)
                )
                made.append(CycleEntry(info, streams, evidence))
        return made
