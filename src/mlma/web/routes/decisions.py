"""`GET /api/v1/decisions`: every verdict and decision but a healthy `keep`, as it was written."""

from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from mlma.domain.ledger import Decided
from mlma.web.cursors import Paged, cursor
from mlma.web.descriptions import error_answers
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk
from mlma.web.reading import ReadingRoom
from mlma.web.rows import DecisionPage
from mlma.web.selectors import Selected, StreamSelector
from mlma.web.tables import Page, WantedFormat, table, table_answers

router = APIRouter(tags=["decisions"])

DecisionName = Literal["keep", "retrain", "hold", "defer", "switch", "escalate"]
_CycleNumber = Annotated[int | None, Query(ge=1, le=2**31 - 1)]
Ints = NDArray[np.int64]
_FEW_STREAMS = 500
_SCANNED = 10_000
_SCANS = 20

_SCHEMA: dict[str, Any] = {
    "number": pl.Int64,
    "cycle": pl.Int64,
    "revision": pl.Int64,
    "unique_id": pl.String,
    "verdict": pl.String,
    "decision": pl.String,
    "reason": pl.String,
    "loss": pl.Float64,
    "effect": pl.Float64,
    "p_value": pl.Float64,
    "before": pl.String,
}


@router.get(
    "/decisions",
    responses=table_answers(DecisionPage) | error_answers(404),
    response_class=Response,
)
def decisions(
    request: Request,
    *,
    at: AtDesk,
    form: WantedFormat,
    selector: Selected,
    paging: Paged,
    unique_id: Annotated[str | None, Query(max_length=500)] = None,
    decision: Annotated[
        list[DecisionName] | None, Query(description="Decisions that are wanted; absent = all.")
    ] = None,
    first: Annotated[_CycleNumber, Query(description="First cycle.")] = None,
    last: Annotated[_CycleNumber, Query(description="Last cycle.")] = None,
) -> Response:
    """List decisions in the order in which they were written; those of all revisions.

    A page may be shorter than `limit` although there are more: go on until `next` is null.
    """
    streams = _streams(at.room, selector, unique_id)
    (start,) = paging.place("decisions", 1) or (0,)
    asked = {"decisions": decision, "first": first, "last": last}
    found, following = _scanned(at.room, streams, asked, start, paging.limit)
    return table(request, Page(_frame(at.room, found), following), form)


def _streams(room: ReadingRoom, selector: StreamSelector, unique_id: str | None) -> Ints | None:
    """Return the rows of the streams that are asked for, ascending; None = all."""
    if unique_id is None and not selector.any:
        return None
    rows: Ints = np.flatnonzero(selector.mask(room))
    if unique_id is None:
        return rows
    row = room.row(unique_id)
    if row is None:
        raise RefusedError(404, f"There is no stream `{unique_id[:200]}`.", column="unique_id")
    return np.array([row] if row in rows else [], dtype=np.int64)


def _scanned(
    room: ReadingRoom,
    streams: Ints | None,
    asked: dict[str, Any],
    start: int,
    limit: int,
) -> tuple[list[tuple[int, Decided]], str | None]:
    """Return decisions of some streams and the cursor of those after them.

    Few streams are looked up by the store; of many, what the store lists is looked through.
    """
    if streams is not None and not len(streams):
        return [], None
    if streams is None or len(streams) <= _FEW_STREAMS:
        few = None if streams is None else streams.tolist()
        made = room.store.decided(streams=few, start=start, limit=limit + 1, **asked)
        return made[:limit], cursor("decisions", made[limit - 1][0]) if len(made) > limit else None
    wanted = set(streams.tolist())
    found: list[tuple[int, Decided]] = []
    for _ in range(_SCANS):
        made = room.store.decided(start=start, limit=_SCANNED, **asked)
        for number, one in made:
            if len(found) == limit:
                return found, cursor("decisions", start)
            start = number
            if one.stream in wanted:
                found.append((number, one))
        if len(made) < _SCANNED:
            return found, None
    return found, cursor("decisions", start)


def _frame(room: ReadingRoom, found: list[tuple[int, Decided]]) -> pl.DataFrame:
    names = room.names().gather([one.stream for _, one in found]).to_list()
    rows = [
        (
            *(number, one.cycle, one.revision, name, one.verdict, one.decision, one.reason),
            *(one.loss, one.effect, one.p_value, one.before),
        )
        for (number, one), name in zip(found, names, strict=True)
    ]
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    return frame.insert_column(3, _starts(room, found))


def _starts(room: ReadingRoom, found: list[tuple[int, Decided]]) -> pl.Series:
    """Return the starts of the batches of decisions; null = the head of that revision is gone."""
    cycles = [one.cycle for _, one in found]
    heads = room.store.cycles(
        first=min(cycles, default=None), last=max(cycles, default=0), revisions=True
    )
    place = {(head.cycle, head.revision): at for at, head in enumerate(heads)}
    at = [place.get((one.cycle, one.revision)) for _, one in found]
    return room.starts(heads).gather(pl.Series(at, dtype=pl.UInt32))
