"""`GET /api/v1/exclusions`: what trainers should not train on, as engineers said."""

import json
from typing import Annotated, Any

import numpy as np
import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mlma.agent.exclusions import NOTHING_LEFT_OUT, exclusions
from mlma.web.cursors import Paged, cursor
from mlma.web.descriptions import error_answers
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk
from mlma.web.rows import ExclusionPage
from mlma.web.selectors import Selected
from mlma.web.tables import Page, WantedFormat, table, table_answers

router = APIRouter(tags=["exclusions"])

_SCHEMA: dict[str, Any] = {
    "unique_id": pl.String,
    "train_from": pl.Datetime("us", "UTC"),
    "spans": pl.String,
}


@router.get(
    "/exclusions",
    responses=table_answers(ExclusionPage) | error_answers(404),
    response_class=Response,
)
def left_out(
    request: Request,
    *,
    at: AtDesk,
    form: WantedFormat,
    selector: Selected,
    paging: Paged,
    unique_id: Annotated[
        str | None, Query(max_length=500, description="This stream, whether or not it has any.")
    ] = None,
) -> Response:
    """List what labels and events leave out of training, by stream; others have nothing left out.

    Labels of one-off and broken batches, and events that exclude theirs. A request for re-training
    tells the same of its stream.
    """
    if unique_id is not None and at.room.row(unique_id) is None:
        raise RefusedError(404, f"There is no stream `{unique_id[:200]}`.", column="unique_id")
    (start,) = paging.place("exclusions", 1) or (0,)
    names = at.room.names()
    fits = names.gather(np.flatnonzero(selector.mask(at.room))).to_list()
    if unique_id is not None:
        fits = [name for name in fits if name == unique_id]
    standing = at.service.engineering.standing()
    made = exclusions(standing, fits, at.room.tags(), at.settings.periods)
    wanted = [name for name in fits if name in made or name == unique_id]
    shown = wanted[start : start + paging.limit]
    following = (
        cursor("exclusions", start + len(shown)) if len(wanted) > start + len(shown) else None
    )
    rows = [_row(name, made.get(name, NOTHING_LEFT_OUT)) for name in shown]
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    return table(request, Page(frame, following, documents=("spans",)), form)


def _row(name: str, out: Any) -> tuple[Any, ...]:
    spans = [{"begins": begins.isoformat(), "ends": ends.isoformat()} for begins, ends in out.spans]
    return name, out.train_from, json.dumps(spans)
