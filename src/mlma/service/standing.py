"""How an agent stands, read from its store alone: for `mlma status`.

Takes settings, gives plain values. Nothing is written, no thread is started.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from mlma.domain.ledger import CycleInfo, Lease, OpenRequest
from mlma.domain.periods import Periods
from mlma.ports import Store
from mlma.service.bootstrap import Service, build
from mlma.service.entries import TopicSource
from mlma.service.settings import Settings
from mlma.service.tables import RetrainingTable

_SHOWN = 5


@contextmanager
def onlooker(settings: Settings) -> Iterator[Service]:
    """Give a service that only looks: it consumes no topic, sends nothing, runs nobody's code."""
    pulled = tuple(one for one in settings.sources if not isinstance(one, TopicSource))
    without = {"sources": pulled, "webhooks": (), "alerts": (), "retraining": RetrainingTable()}
    service = build(settings.model_copy(update=without), holder="onlooker")
    service.live.settings = settings.live()  # what it waits for is what the real one waits for
    try:
        yield service
    finally:
        service.stop()


def standing(service: Service) -> dict[str, Any]:
    """Return how the agent stands, as values for JSON."""
    status, store = service.live.status(), service.store
    newest = store.cycles(newest_first=True, limit=_SHOWN)
    return {
        "cycle": status.cycle,
        "streams": len(store.streams()),
        "verdicts": status.verdicts,
        "next_period": status.next_period and status.next_period.isoformat(),
        "waits_for": status.waits_for,
        "complete": status.complete,
        "cycles": [cycle_row(info, service.periods) for info in newest],
        "requests": _requests(store.requests(status=("open", "claimed"))),
        "outbox": _outbox(store),
        "lease": _lease(store.lease()),
        "store": dict(store.facts()),
    }


def cycle_row(info: CycleInfo, periods: Periods) -> dict[str, Any]:
    """Return the head of a cycle as values for JSON."""
    return {
        "cycle": info.cycle,
        "revision": info.revision,
        "batch": str(periods.wall_start(info.period).astype("datetime64[m]")),
        "judged_at": info.judged_at.isoformat(),
        "closed": info.closed,
        "streams": info.streams,
        "verdicts": dict(info.summary.get("verdicts", {})),
        "decisions": dict(info.summary.get("decisions", {})),
        "seconds": round(float(info.summary.get("seconds", 0.0)), 3),
    }


def _requests(outstanding: list[tuple[int, OpenRequest]]) -> dict[str, Any]:
    asked = [one.request.asked_at for _, one in outstanding]
    counted = Counter(one.status for _, one in outstanding)
    return {
        "open": counted["open"],
        "claimed": counted["claimed"],
        "oldest": min(asked).isoformat() if asked else None,
    }


def _outbox(store: Store) -> dict[str, Mapping[str, int]]:
    left = store.deliveries(status=("waiting", "given_up"))
    return {
        target: {
            status: sum(one.target == target and one.status == status for one in left)
            for status in ("waiting", "given_up")
        }
        for target in sorted({one.target for one in left})
    }


def _lease(lease: Lease | None) -> dict[str, Any] | None:
    if lease is None:
        return None
    return {
        "holder": lease.holder,
        "expires_at": lease.expires_at.isoformat(),
        "held": lease.expires_at > datetime.now(UTC),
    }
