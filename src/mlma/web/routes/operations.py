"""`POST /api/v1/tags`, `/clock`, `/cycle` and `/webhooks/test`: what engineers do to the agent."""

from datetime import UTC, datetime
from typing import Annotated, Protocol, runtime_checkable
from uuid import uuid4

from fastapi import APIRouter, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from mlma.domain.ledger import CycleInfo, Event
from mlma.web.descriptions import error_answers
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, sender
from mlma.web.routes import alerts
from mlma.web.routes.models import Recorded, StreamName

router = APIRouter(tags=["operations"])
router.include_router(alerts.router)

_YEARS = (1990, 2199)
_LABEL = r"^[^=\x00-\x1f\x7f]+$"
TagName = Annotated[str, Field(min_length=1, max_length=80, pattern=_LABEL)]
TagValue = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _in_reach(moment: datetime) -> datetime:
    first, last = _YEARS
    here = first <= moment.year <= last  # else it may be none in UTC
    if not here or not first <= moment.astimezone(UTC).year <= last:
        raise ValueError(f"the year must be between {first} and {last}, in UTC too")
    return moment


class Tags(BaseModel):
    """Values of tags, by tag and stream; streams may be known or still to come."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"tags": {"city": {"a": "Ghent"}}}}
    )

    tags: dict[TagName, dict[StreamName, TagValue]] = Field(min_length=1)


class Moment(BaseModel):
    """A time, with its zone."""

    model_config = ConfigDict(extra="forbid")

    now: Annotated[AwareDatetime, AfterValidator(_in_reach)] = Field(
        description="Such as 2025-03-01T12:00:00Z, of the years 1990 to 2199; it never goes back."
    )


class Judged(BaseModel):
    """A cycle that was judged."""

    cycle: int
    revision: int
    closed: str
    streams: int
    judged_at: datetime


class Look(BaseModel):
    """What a look for batches brought."""

    cycles: list[Judged]
    leads: bool = Field(description="Whether this instance decides; else nothing is judged here.")
    waits_for: str | None = Field(description="What the next batch waits for.")


class TestSent(BaseModel):
    """The test message that is on its way; `/api/v1/deliveries` tells what became of it."""

    event: str
    targets: list[str]


@runtime_checkable
class Settable(Protocol):
    """A clock that people set."""

    def advance(self, to: datetime) -> datetime:
        """Set the clock to a time and return it."""
        ...


@router.post("/tags", status_code=202, responses=error_answers(400, 408, 413))
def tags(request: Request, at: AtDesk, told: Tags) -> Recorded:
    """Record tags of streams; they count from the next cycle on."""
    return Recorded(action=at.service.live.tag(told.tags, by=sender(request)))


@router.post("/clock", responses=error_answers(400, 408, 409, 413))
def clock(at: AtDesk, moment: Moment) -> Moment:
    """Set the simulated clock; batches whose time has come are judged soon after."""
    clock = at.service.clock
    if not isinstance(clock, Settable):
        raise RefusedError(
            409,
            "The clock of this agent is the one on the wall: it cannot be set.",
            hint='kind = "simulated" of `[clock]`',
        )
    now = clock.advance(moment.now)
    at.service.poke()
    return Moment(now=now)


@router.post("/cycle", responses=error_answers(400, 408, 413))
def cycle(at: AtDesk) -> Look:
    """Look for batches now, and judge those that can be."""
    scheduler = at.service.scheduler
    judged = [_judged(info) for info in scheduler.tick()]
    status = scheduler.facts.status
    return Look(
        cycles=judged,
        leads=scheduler.leads,
        waits_for=None if status is None else status.waits_for or None,
    )


def _judged(info: CycleInfo) -> Judged:
    return Judged(
        cycle=info.cycle,
        revision=info.revision,
        closed=info.closed,
        streams=info.streams,
        judged_at=info.judged_at,
    )


@router.post("/webhooks/test", status_code=202, responses=error_answers(400, 408, 409, 413))
def webhooks_test(request: Request, at: AtDesk) -> TestSent:
    """Send a test message to all webhooks."""
    targets = [one.name for one in at.service.settings.webhooks]
    if not targets:
        raise RefusedError(409, "There are no webhooks.", hint="[[webhooks]] of mlma.toml")
    event = Event(uuid4().hex, "test", at.service.clock.now(), {"by": sender(request)})
    at.service.store.post([event], targets)
    at.service.outbox.poke()
    return TestSent(event=event.id, targets=targets)
