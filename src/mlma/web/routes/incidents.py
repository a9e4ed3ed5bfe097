"""`GET /api/v1/incidents`: what is on the desk, one row per common cause; and all of one."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from mlma.domain.incidents import Incident, IncidentKind, IncidentState
from mlma.web.cursors import Paged, cursor
from mlma.web.descriptions import error_answers
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk
from mlma.web.ids import incident_named
from mlma.web.rows import IncidentDetail, IncidentPage
from mlma.web.tables import Page, WantedFormat, table, table_answers

router = APIRouter(tags=["incidents"])

_AT_ONCE = 1_000


_SCHEMA: dict[str, Any] = {
    "id": pl.String,
    "kind": pl.String,
    "scope": pl.String,
    "state": pl.String,
    "opened_cycle": pl.Int64,
    "opened_at": pl.Datetime("us", "UTC"),
    "updated_cycle": pl.Int64,
    "closed_cycle": pl.Int64,
    "closed_at": pl.Datetime("us", "UTC"),
    "closed_by": pl.String,
    "snoozed_until": pl.Datetime("us", "UTC"),
    "streams": pl.Int64,
    "stake": pl.Float64,
    "effect": pl.Float64,
    "cause": pl.String,
    "done": pl.String,
    "advice": pl.String,
    "suggests": pl.String,
    "changed": pl.Int64,
    "told": pl.Boolean,
}


@router.get("/incidents", responses=table_answers(IncidentPage), response_class=Response)
def incidents(
    request: Request,
    *,
    at: AtDesk,
    form: WantedFormat,
    paging: Paged,
    state: Annotated[
        list[IncidentState] | None,
        Query(max_length=20, description="States that are wanted; absent = all."),
    ] = None,
    kind: Annotated[
        list[IncidentKind] | None,
        Query(max_length=20, description="Kinds that are wanted; absent = all."),
    ] = None,
) -> Response:
    """List incidents, those of the newest cycle first, and of one cycle the largest stake first."""
    (start,) = paging.place("incidents", 1) or (0,)
    found: list[Incident] = []
    following = None
    for place, one in _from(at.service.store, state, start):
        if kind and one.kind not in kind:
            continue
        if len(found) == paging.limit:
            following = cursor("incidents", place)
            break
        found.append(one)
    frame = pl.DataFrame([_row(one) for one in found], schema=_SCHEMA, orient="row")
    return table(request, Page(frame, following, documents=("suggests",)), form)


@router.get("/incidents/{id}", response_model=IncidentDetail, responses=error_answers(404))
def incident(
    at: AtDesk, id: Annotated[str, Path(max_length=200, description="Id of the incident.")]
) -> Response:
    """Tell an incident with its streams and its evidence."""
    found = incident_named(at.service.store, id)
    if found is None:
        raise RefusedError(404, f"There is no incident `{id[:200]}`.", column="id")
    names = at.room.names()
    row = dict(zip(_SCHEMA, _row(found), strict=True))
    moments = {
        name: None if row[name] is None else row[name].isoformat()
        for name in ("opened_at", "closed_at", "snoozed_until")
    }
    told = {
        **row,
        **moments,
        "suggests": list(found.suggests),
        "members": [names[one] for one in found.members if one < len(names)],
        "evidence": dict(found.evidence),
    }
    return JSONResponse(told)


def _from(store: Any, states: Any, start: int) -> Iterator[tuple[int, Incident]]:
    """Yield incidents and their places, from a place on."""
    while some := store.incidents(states=states, start=start, limit=_AT_ONCE):
        yield from enumerate(some, start=start)
        start += len(some)


def _row(one: Incident) -> tuple[Any, ...]:
    made = {**{name: getattr(one, name) for name in _SCHEMA}, "suggests": json.dumps(one.suggests)}
    return tuple(made.values())
