"""`POST /api/v1/alerts/test`: does a message of an alert arrive?"""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from mlma.domain.errors import SettingsError
from mlma.service.alerts import asked_targets, trial_event
from mlma.web.descriptions import error_answers
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, Desk
from mlma.web.people import AtPerson, check_may

router = APIRouter(tags=["operations"])

MOST_NAMES = 1_000


class TestOf(BaseModel):
    """Which alerts send a test message."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"names": ["on-call"]}})

    names: Annotated[
        list[Annotated[str, Field(max_length=80)]],
        Field(max_length=MOST_NAMES, description="Names in [[alerts]]; empty = all of them."),
    ] = []


class AlertsSent(BaseModel):
    """The test message that is on its way; `/api/v1/deliveries` tells what became of it."""

    event: str
    targets: list[str]


@router.post("/alerts/test", status_code=202, responses=error_answers(400, 404, 408, 409, 413))
def alerts_test(at: AtDesk, who: AtPerson, asked: TestOf) -> AlertsSent:
    """Send a test message to alerts, also in their quiet hours; it takes an admin."""
    check_may(who, "admin")
    return sent_test(at, asked.names, who.who)


def sent_test(at: Desk, names: list[str], by: str) -> AlertsSent:
    """Put a test message on its way.

    Raises
    ------
    RefusedError
        There are no alerts, or one of the names is none of them.
    """
    settings = at.service.settings
    if not settings.alerts:
        raise RefusedError(409, "There are no alerts.", hint="[[alerts]] of mlma.toml")
    try:
        targets = asked_targets(settings, names)
    except SettingsError as error:
        raise RefusedError(404, str(error)) from error
    event = trial_event(by, at.service.clock.now())
    at.service.store.post([event], targets)
    at.service.outbox.poke()
    return AlertsSent(event=event.id, targets=targets)
