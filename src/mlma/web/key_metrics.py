"""Key metrics: how fleet and agent stand, in a few numbers.

Takes the newest cycles, requests, deliveries and the last look of the scheduler; gives a document
for people and gauges for Prometheus.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from pydantic import BaseModel, Field

from mlma.domain.incidents import UNFINISHED
from mlma.domain.ledger import CycleInfo
from mlma.domain.live import LiveSettings
from mlma.domain.periods import instant_of, moment_of
from mlma.service.bootstrap import Service
from mlma.web.reading import ReadingRoom
from mlma.web.telemetry import Standing

_CYCLES = 28
_MOST_DELIVERIES = 10_000
_BYTES_SECONDS = 60.0


class FalseAlarms(BaseModel):
    """What the agent expects of its own errors beside what it counted; rates per stream-batch."""

    watched: float = Field(description="Stream-batches in which an alarm could have been raised.")
    expected: float | None = Field(description="Rate of false alarms that the dial promises.")
    realised: float | None = Field(
        description="Rate on the side on which no break can be: losses that fell."
    )
    alarms: float | None = Field(description="Rate of alarms, true ones included.")


class CycleFigures(BaseModel):
    """Figures of one cycle."""

    cycle: int
    streams: int
    retrainings: int
    deferred: int
    escalated: int
    alarms: int
    complete: float | None


class KeyMetrics(BaseModel):
    """How fleet and agent stand."""

    cycle: int | None = Field(description="Newest cycle; null = none yet.")
    streams: int = Field(description="Streams of the registry.")
    verdicts: dict[str, int] = Field(description="Streams of the newest cycle per verdict.")
    decisions: dict[str, int]
    incidents: int = Field(description="Incidents on the desk: those that are not resolved.")
    retrainings_per_cycle: float | None = Field(description="Mean of the last cycles.")
    false_alarms: FalseAlarms | None
    open_requests: int
    complete: float | None = Field(
        description="Share of the batches that are judged next that is complete."
    )
    lag_seconds: float = Field(
        description="How long the batch that is judged next has been overdue."
    )
    next_period: datetime | None
    waits_for: str | None
    leads: bool = Field(description="Whether this instance decides.")
    cycles: list[CycleFigures] = Field(description="The last cycles, newest first.")


class Meters:
    """Reads the numbers; any thread may ask."""

    def __init__(self, service: Service, settings: LiveSettings, room: ReadingRoom) -> None:
        self._service, self._settings, self._room = service, settings, room
        self._bytes: tuple[float, int | None] | None = None

    def key_metrics(self) -> KeyMetrics:
        """Return the document of ``/api/v1/metrics``."""
        room, status = self._room, self._service.scheduler.facts.status
        newest = room.store.cycles(newest_first=True, limit=_CYCLES)
        figures = [_figures(info) for info in newest]
        told = newest[0].summary if newest else {}
        retrained = [one.retrainings for one in figures]
        return KeyMetrics(
            cycle=newest[0].cycle if newest else None,
            streams=len(room.names()),
            verdicts=told.get("verdicts", {}),
            decisions=told.get("decisions", {}),
            incidents=len(room.store.incidents(states=UNFINISHED)),
            retrainings_per_cycle=sum(retrained) / len(retrained) if retrained else None,
            false_alarms=_false_alarms(told.get("audit")),
            open_requests=len(room.open_requests()),
            complete=None if status is None else status.complete,
            lag_seconds=self.lag(),
            next_period=None if status is None else status.next_period,
            waits_for=None if status is None else status.waits_for,
            leads=self._service.scheduler.leads,
            cycles=figures,
        )

    def standing(self) -> Standing:
        """Return what the gauges tell."""
        store, facts = self._room.store, self._service.scheduler.facts
        newest = self._room.newest()
        summary = newest.summary if newest else {}
        deliveries = store.deliveries(status=("waiting", "given_up"), limit=_MOST_DELIVERIES)
        outbox = {"waiting": 0, "given_up": 0}
        for one in deliveries:
            outbox[one.status] += 1
        return Standing(
            streams=len(self._room.names()),
            verdicts=summary.get("verdicts", {}),
            cycles=newest.cycle if newest else 0,
            cycle_seconds=facts.cycle_seconds if facts.cycles else None,
            open_requests=len(self._room.open_requests()),
            outbox=outbox,
            complete=None if facts.status is None else facts.status.complete,
            lag_seconds=self.lag(),
            leads=self._service.scheduler.leads,
            store_bytes=self._size(),
        )

    def lag(self) -> float:
        """Return for how many seconds the next batch could have been judged, were it complete."""
        status = self._service.scheduler.facts.status
        if status is None or status.next_period is None:
            return 0.0
        periods = self._settings.periods
        end = moment_of(periods.end(periods.at(instant_of(status.next_period))))
        late: timedelta = self._service.clock.now() - end - self._settings.delay
        return max(late.total_seconds(), 0.0)

    def _size(self) -> int | None:
        """Return the bytes of the store; to count them takes a while, so not at every question."""
        now = monotonic()
        if self._bytes is None or now - self._bytes[0] > _BYTES_SECONDS:
            self._bytes = (now, self._room.store.facts().get("bytes"))
        return self._bytes[1]


def _figures(info: CycleInfo) -> CycleFigures:
    decisions: Mapping[str, int] = info.summary.get("decisions", {})
    return CycleFigures(
        cycle=info.cycle,
        streams=info.streams,
        retrainings=decisions.get("retrain", 0),
        deferred=decisions.get("defer", 0),
        escalated=decisions.get("escalate", 0),
        alarms=info.summary.get("alarms", 0),
        complete=info.summary.get("complete"),
    )


def _false_alarms(audit: Mapping[str, Any] | None) -> FalseAlarms | None:
    if audit is None:
        return None
    watched = float(audit["watched"])

    def rate(name: str) -> float | None:
        return float(audit[name]) / watched if watched else None

    return FalseAlarms(
        watched=watched,
        expected=rate("expected_alarms"),
        realised=rate("mirror_alarms"),
        alarms=rate("alarms"),
    )
