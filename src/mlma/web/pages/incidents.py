"""`/incidents`: what needs a person, the most at stake first; "nothing needs you" most days."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mlma.web.face import AtDesk
from mlma.web.pages.environment import page
from mlma.web.pages.incident_list import (
    KIND_WORDS,
    SIZE,
    VIEWS,
    Asked,
    counts_of,
    frame_of,
    incidents_of,
    kinds,
    recent_ratios,
)
from mlma.web.pages.incident_pictures import small
from mlma.web.pages.order_fields import FORMS
from mlma.web.pages.order_filling import mornings, zone_of
from mlma.web.pages.sheets import csv_of

router = APIRouter(include_in_schema=False)

View = Literal["desk", "snoozed", "resolved", "all"]
Kind = Literal["", "fleet", "group", "data", "event", "model", "trainer"]
_VIEW_WORDS = {"desk": "On the desk", "snoozed": "Snoozed", "resolved": "Resolved", "all": "All"}


@router.get("/incidents")
def incidents(
    request: Request,
    at: AtDesk,
    *,
    view: View = "desk",
    kind: Kind = "",
    scope: Annotated[str, Query(max_length=200)] = "",
    number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
    format: Literal["html", "csv"] = "html",
) -> Response:
    """List incidents with what can be done about each."""
    now, store = at.service.clock.now(), at.room.store
    found, more = incidents_of(store, Asked(view, kind, scope.strip()), now)
    if format == "csv":
        return csv_of(frame_of(found), "incidents")
    shown = found[(number - 1) * SIZE : number * SIZE]
    counts = counts_of(store, now)
    return page(
        request,
        "incidents.html",
        now=now,
        found=shown,
        total=len(found),
        more=more,
        number=number,
        size=SIZE,
        view=view,
        views=[(name, _counted(_VIEW_WORDS[name], counts.get(name))) for name in VIEWS],
        kind=kind,
        kinds=[("", "any"), *kinds()],
        kind_words=KIND_WORDS,
        scope=scope,
        pictures={id: small(ratios) for id, ratios in recent_ratios(at, shown).items()},
        newest=at.room.newest(),
        streams=len(at.room.names()),
        forms=FORMS,
        snooze=mornings(now, zone_of(at)),
    )


def _counted(words: str, count: int | None) -> str:
    return words if count is None else f"{words} ({count})"
