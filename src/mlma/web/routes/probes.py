"""`/health`, `/ready` and the `/metrics` of Prometheus: for whoever keeps the process alive."""

import logging
from time import monotonic
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from mlma.domain.errors import MlmaError
from mlma.web.face import AtDesk, Desk

log = logging.getLogger(__name__)

router = APIRouter(tags=["probes"])

_MISSED_LOOKS = 10
_FEWEST_SECONDS = 60.0


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the agent can do its work, and why not."""

    ready: bool
    store: bool
    scheduler: bool
    reasons: list[str] = Field(description="Why it is not ready.")
    waits_for: str | None = Field(description="What the next batch waits for.")


@router.get("/health")
async def health() -> Health:
    """Tell that the process lives."""
    return Health()


@router.get("/ready", responses={503: {"model": Readiness, "description": "Not ready."}})
def ready(at: AtDesk) -> Readiness:
    """Tell whether the store answers and batches are looked for."""
    told = readiness(at)
    return told if told.ready else JSONResponse(told.model_dump(), 503)  # type: ignore[return-value]


def readiness(at: Desk) -> Readiness:
    """Return whether the agent can do its work."""
    no_store, no_scheduler = _store(at), _scheduler(at)
    reasons = [reason for reason in (no_store, no_scheduler) if reason]
    status = at.service.scheduler.facts.status
    return Readiness(
        ready=not reasons,
        store=not no_store,
        scheduler=not no_scheduler,
        reasons=reasons,
        waits_for=None if status is None else status.waits_for,
    )


def _store(at: Desk) -> str:
    try:
        at.service.store.lease()
    except MlmaError as error:
        log.warning("not ready: %s", error)  # who asks needs no key, and is not told where it is
        return "the store does not answer"
    return ""


def _scheduler(at: Desk) -> str:
    scheduler, every = at.service.scheduler, at.service.settings.scheduler.every
    if not scheduler.alive:
        return "the scheduler does not run"
    facts = scheduler.facts
    if facts.failures:
        return "the last look for batches failed; the log tells why"
    patience = max(every.total_seconds() * _MISSED_LOOKS, _FEWEST_SECONDS)
    if facts.last_tick_at is not None and monotonic() - facts.last_tick_at > patience:
        return f"the last look for batches was {monotonic() - facts.last_tick_at:.0f} seconds ago"
    return ""


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Metrics in the text form of Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
def prometheus(at: AtDesk) -> Response:
    """Return counters and gauges for Prometheus."""
    return Response(at.telemetry.text(), media_type=CONTENT_TYPE_LATEST)
