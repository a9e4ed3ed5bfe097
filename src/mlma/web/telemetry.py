"""Metrics of this process and of the agent, for Prometheus.

Takes what the routes count and how the agent stands, gives the text of ``/metrics``. No metric has
a label per stream: a million streams would be a million series.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mlma.domain.errors import MlmaError

log = logging.getLogger(__name__)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a line more for each counter, which nobody reads

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_FRESH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How the agent stands, in numbers for a gauge; None = not known."""

    streams: int = 0
    verdicts: Mapping[str, int] = field(default_factory=dict)
    cycles: int = 0
    cycle_seconds: float | None = None
    open_requests: int = 0
    outbox: Mapping[str, int] = field(default_factory=dict)
    complete: float | None = None
    lag_seconds: float = 0.0
    leads: bool = False
    store_bytes: int | None = None


class Telemetry:
    """Counters of one app, in a registry of its own.

    ``standing`` is asked when somebody reads the metrics, at most every five seconds.
    """

    def __init__(self, standing: Callable[[], Standing]) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "mlma_http_requests", "Requests answered.", "route", "method", "status"
        )
        self.seconds = self._histogram("mlma_http_request_seconds", "Time to an answer.", "route")
        self.bodies = self._counter("mlma_bodies", "Bodies of rows that were stored.", "kind")
        self.rows = self._counter("mlma_rows", "Rows that were stored.", "kind")
        self.refused = self._counter("mlma_refused", "Requests refused.", "reason")
        self.parsing = self._histogram("mlma_parse_seconds", "Time to read a body.", "kind")
        self.storing = self._histogram("mlma_store_seconds", "Time until rows are durable.", "kind")
        self.registry.register(_Gauges(standing))

    def text(self) -> bytes:
        """Return all metrics in the text form of Prometheus."""
        return generate_latest(self.registry)

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(name, told, labels, registry=self.registry)

    def _histogram(self, name: str, told: str, *labels: str) -> Histogram:
        return Histogram(name, told, labels, registry=self.registry, buckets=_SECONDS)


class _Gauges(Collector):
    """The standing of the agent as gauges; where the store is away, only that it is."""

    def __init__(self, standing: Callable[[], Standing]) -> None:
        self._ask = standing
        self._told: tuple[float, Standing | None] | None = None

    def collect(self) -> Iterator[Metric]:
        standing = self._standing()
        yield _gauge("mlma_store_up", "Whether the store answers.", float(standing is not None))
        if standing is not None:
            yield from _families(standing)

    def describe(self) -> list[Metric]:
        return []  # else the agent would be asked when the app is made

    def _standing(self) -> Standing | None:
        now = monotonic()
        if self._told is None or now - self._told[0] > _FRESH_SECONDS:
            self._told = (now, self._asked())
        return self._told[1]

    def _asked(self) -> Standing | None:
        try:
            return self._ask()
        except MlmaError as error:
            log.warning("metrics without the agent: %s", error)
            return None


def _families(standing: Standing) -> Iterator[Metric]:
    yield CounterMetricFamily("mlma_cycles", "Cycles of the agent.", value=standing.cycles)
    yield _gauge("mlma_streams", "Streams that are known.", standing.streams)
    yield _gauge("mlma_leads", "Whether this instance decides.", float(standing.leads))
    yield _gauge("mlma_open_requests", "Requests not answered yet.", standing.open_requests)
    yield _gauge("mlma_lag_seconds", "How overdue the next batch is.", standing.lag_seconds)
    yield _labelled("mlma_verdicts", "Streams of the newest cycle.", "verdict", standing.verdicts)
    yield _labelled("mlma_outbox", "Deliveries by status.", "status", standing.outbox)
    for name, told, value in (
        ("mlma_cycle_seconds", "Computing of the newest cycle.", standing.cycle_seconds),
        ("mlma_complete_share", "Share of the next batches that is complete.", standing.complete),
        ("mlma_store_bytes", "Size of the store.", standing.store_bytes),
    ):
        if value is not None:
            yield _gauge(name, told, value)


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, value=value)


def _labelled(name: str, told: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
