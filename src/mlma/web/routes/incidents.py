"""`GET /api/v1/incidents`: what is open after the newest cycle, the common causes first."""

from typing import Any

import numpy as np
import polars as pl
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from mlma.web.cursors import Paged, cursor
from mlma.web.face import AtDesk
from mlma.web.reading import CycleView, ReadingRoom, alarmed, open_findings
from mlma.web.rows import IncidentPage
from mlma.web.tables import Page, WantedFormat, table, table_answers

Ints = NDArray[np.int64]

router = APIRouter(tags=["incidents"])

_SCHEMA: dict[str, Any] = {
    "kind": pl.String,
    "scope": pl.String,
    "state": pl.String,
    "cycle": pl.Int64,
    "since": pl.Int64,
    "streams": pl.Int64,
    "alarmed": pl.Int64,
    "effect": pl.Float64,
    "p_value": pl.Float64,
    "evidence": pl.Float64,
    "reason": pl.String,
}
_FROM_FINDING = ("scope", "state", "since", "streams", "alarmed", "effect", "p_value", "evidence")


@router.get("/incidents", responses=table_answers(IncidentPage), response_class=Response)
def incidents(request: Request, at: AtDesk, form: WantedFormat, paging: Paged) -> Response:
    """List open findings about groups, then streams that alarm or are escalated."""
    asked = paging.place("incidents", 3)
    newest = at.room.newest() if asked is None else at.room.info(asked[0], asked[1])
    if newest is None:
        return table(request, Page(pl.DataFrame(schema=_SCHEMA)), form)
    view = at.room.view(newest)
    page = _page(at.room, view, 0 if asked is None else asked[2], paging.limit)
    return table(request, page, form)


def _page(room: ReadingRoom, view: CycleView, start: int, limit: int) -> Page:
    """Return incidents from number ``start`` on: findings come before streams."""
    findings = open_findings(view.info.summary)
    at = alarmed(view)
    total = len(findings) + len(at)
    told = pl.DataFrame(
        [_of_finding(one, view.info.cycle) for one in findings[start : start + limit]],
        schema=_SCHEMA,
    )
    first = max(start - len(findings), 0)
    single = _of_streams(room, view, at[first : first + limit - len(told)])
    stop = start + limit
    head = view.info
    following = cursor("incidents", head.cycle, head.revision, stop) if stop < total else None
    return Page(pl.concat([told, single]), following)


def _of_finding(one: dict[str, Any], cycle: int) -> dict[str, Any]:
    told = {name: one.get(name) for name in _FROM_FINDING}
    return {"kind": "finding", "cycle": cycle, "reason": None, **told}


def _of_streams(room: ReadingRoom, view: CycleView, at: Ints) -> pl.DataFrame:
    alarm = view.records["alarm"][at].astype(np.int64)
    return view.frame(at).select(
        kind=pl.lit("stream"),
        scope=room.names().gather(view.rows[at]),
        state=pl.when(pl.col("decision") == "escalate")
        .then(pl.lit("escalated"))
        .otherwise(pl.lit("alarm")),
        cycle=pl.lit(view.info.cycle, dtype=pl.Int64),
        since=pl.lit(None, dtype=pl.Int64),
        streams=pl.lit(1, dtype=pl.Int64),
        alarmed=pl.Series(alarm),
        effect="effect",
        p_value="p_value",
        evidence="evidence",
        reason="reason",
    )
