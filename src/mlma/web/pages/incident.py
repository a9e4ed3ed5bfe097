"""`/incidents/{id}`: one incident, its evidence, its story, and what can be done about it."""

from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mlma.domain.incidents import Incident
from mlma.domain.orders import ORDERS
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, Desk
from mlma.web.ids import incident_named
from mlma.web.pages.environment import page
from mlma.web.pages.incident_list import KIND_WORDS, around, place_of
from mlma.web.pages.incident_pictures import levels, rises
from mlma.web.pages.incident_times import story
from mlma.web.pages.links import order_link
from mlma.web.pages.order_fields import FORMS
from mlma.web.pages.order_filling import mornings, zone_of
from mlma.web.pages.sheets import csv_of
from mlma.web.pages.words import moment

router = APIRouter(include_in_schema=False)

SIZE = 25
_MEMBER: dict[str, Any] = {
    "unique_id": pl.String,
    "verdict": pl.String,
    "decision": pl.String,
    "reason": pl.String,
    "loss": pl.Float64,
    "reference_loss": pl.Float64,
    "effect": pl.Float64,
    "version": pl.Int32,
    "age": pl.Int32,
}
_FOR_AGENT = {"opened_as", "tag", "part", "fault", "last", "effect"}
"""What the agent notes for itself, or what the page says elsewhere."""
_EVIDENCE_WORDS = {
    "begins": "first batch",
    "of": "streams of the scope",
    "still": "still without data",
    "asked": "re-trainings asked for",
    "fitted": "with a new version",
    "back": "streams that are back",
    "times": "failed fits",
    "p_value": "p-value",
}
_OFFERED = ("label", "roll_back", "retrain", "freeze", "pin", "policy", "overrule", "event")


@router.get("/incidents/{id}")
def incident(
    request: Request,
    id: str,
    at: AtDesk,
    number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
    format: Literal["html", "csv"] = "html",
) -> Response:
    """Show an incident; as CSV its members."""
    one = incident_named(at.room.store, id)
    if one is None:
        raise RefusedError(404, "There is no such incident.", hint="/incidents lists them")
    members = members_of(at, one)
    if format == "csv":
        return csv_of(members, "members")
    losses, now = around(at, one), at.service.clock.now()
    periods = at.settings.periods
    return page(
        request,
        "incident.html",
        now=now,
        one=one,
        place=place_of(one, now),
        kind_words=KIND_WORDS,
        losses=losses,
        starts=[periods.start(info.period).item() for info in losses.cycles],
        levels=levels(one, losses, periods) if losses.cycles else None,
        rises=rises(one, losses, periods) if losses.cycles else None,
        members=members[(number - 1) * SIZE : number * SIZE].to_dicts(),
        total=len(members),
        number=number,
        size=SIZE,
        story=story(at, one),
        suggested=suggested(one),
        others=[FORMS[kind] for kind in _OFFERED if kind not in one.suggests],
        forms=FORMS,
        order_link=order_link,
        snooze=mornings(now, zone_of(at)),
        evidence=plain_evidence(one),
    )


def suggested(one: Incident) -> list[str]:
    """Return the kinds of orders about streams that the agent suggests, the best first."""
    return [kind for kind in one.suggests if kind in ORDERS and not FORMS[kind].on_incident]


def plain_evidence(one: Incident) -> list[tuple[str, object]]:
    """Return what of the evidence a person can read, in a line each."""
    return [
        (_EVIDENCE_WORDS.get(name, name), _readable(name, value))
        for name, value in one.evidence.items()
        if isinstance(value, int | float | str | bool) and value != "" and name not in _FOR_AGENT
    ]


def _readable(name: str, value: object) -> object:
    return moment(datetime.fromisoformat(str(value))) if name == "begins" else value


def members_of(at: Desk, one: Incident) -> pl.DataFrame:
    """Return the members with their newest batch, the largest loss above the reference first."""
    rows = np.array(one.members, dtype=np.int64)
    names = at.room.names().gather(rows)
    view = at.room.newest_view()
    place = np.full(len(rows), -1) if view is None else view.at(rows)
    there = place >= 0
    absent = pl.DataFrame({"unique_id": names.filter(pl.Series(~there))})
    shown = pl.DataFrame(schema=_MEMBER)
    if view is not None and there.any():
        frame = view.frame(place[there]).select(list(_MEMBER)[1:])
        shown = pl.DataFrame({"unique_id": names.filter(pl.Series(there))}).hstack(frame)
    above = (pl.col("loss") - pl.col("reference_loss")).fill_nan(None)
    ranked = shown.sort(above, descending=True, nulls_last=True)
    return pl.concat([ranked, absent], how="diagonal_relaxed")
