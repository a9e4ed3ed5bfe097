"""`GET /api/v1/evidence`: what was seen and decided, by cycle or by stream."""

from typing import Annotated

import numpy as np
import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mlma.domain.ledger import ABSENT, EVIDENCE, CycleInfo
from mlma.domain.verdicts import Decision, Verdict
from mlma.web.cursors import Paged, Paging, cursor
from mlma.web.descriptions import error_answers
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk
from mlma.web.reading import CycleView, ReadingRoom, history_frame
from mlma.web.routes.decisions import DecisionName
from mlma.web.routes.streams import VerdictName
from mlma.web.rows import EvidencePage
from mlma.web.selectors import Selected, StreamSelector
from mlma.web.tables import Page, WantedFormat, table, table_answers

router = APIRouter(tags=["evidence"])

_NOTHING = np.zeros(0, dtype=EVIDENCE)

Number = Annotated[int | None, Query(ge=0, le=2**31 - 1)]


@router.get(
    "/evidence", responses=table_answers(EvidencePage) | error_answers(404), response_class=Response
)
def evidence(
    request: Request,
    *,
    at: AtDesk,
    form: WantedFormat,
    selector: Selected,
    paging: Paged,
    unique_id: Annotated[
        str | None, Query(max_length=500, description="One stream, over the cycles.")
    ] = None,
    cycle: Annotated[Number, Query(description="Cycle; absent = the newest.")] = None,
    revision: Annotated[Number, Query(description="Revision; absent = the newest.")] = None,
    verdict: Annotated[VerdictName | None, Query()] = None,
    decision: Annotated[DecisionName | None, Query()] = None,
) -> Response:
    """List the evidence of a cycle, stream by stream; with `unique_id`, of a stream over cycles.

    Of a stream over cycles, `p_adjusted` is null: it takes all streams of the cycle. `cycle` is
    then the first one.
    """
    if unique_id is not None:
        if selector.any or revision is not None:
            raise RefusedError(422, "`unique_id` goes with `cycle`, `verdict` and `decision` only.")
        page = _of_stream(at.room, unique_id, cycle, _wanted(verdict, decision), paging)
    else:
        view, after = _view(at.room, cycle, revision, paging)
        page = _of_cycle(
            at.room, view, after, _wanted(verdict, decision), selector=selector, limit=paging.limit
        )
    return table(request, page, form)


def _wanted(verdict: str | None, decision: str | None) -> dict[str, int]:
    codes = {}
    if verdict is not None:
        codes["verdict"] = int(Verdict[verdict.upper()])
    if decision is not None:
        codes["decision"] = int(Decision[decision.upper()])
    return codes


def _view(
    room: ReadingRoom, cycle: int | None, revision: int | None, paging: Paging
) -> tuple[CycleView | None, int]:
    """Return the cycle and the row after which the page starts; None = there is no cycle yet.

    The cursor holds on to the revision of the first page.
    """
    number, version, after = paging.place("evidence", 3) or (cycle, revision, -1)
    if number is None and version is None:
        return room.newest_view(), after
    info = room.newest() if number is None else room.info(number, version)
    if info is None or version not in {None, info.revision}:
        raise RefusedError(404, "There is no such cycle, or no such revision of it.")
    return room.view(info), after


def _of_cycle(
    room: ReadingRoom,
    view: CycleView | None,
    after: int,
    codes: dict[str, int],
    *,
    selector: StreamSelector,
    limit: int,
) -> Page:
    if view is None:
        return Page(_headed(room, [], history_frame(_NOTHING, []), []))
    fits = view.rows > after
    for name, code in codes.items():
        fits &= view.records[name] == code
    if selector.any:
        mask = selector.mask(room)
        fits &= mask[np.minimum(view.rows, len(mask) - 1)] if len(mask) else False
    found = np.flatnonzero(fits)
    shown = found[:limit]
    names = room.names().gather(view.rows[shown]).to_list()
    frame = _headed(room, [view.info] * len(shown), view.frame(shown), names)
    more = len(found) > limit
    last = (view.info.cycle, view.info.revision, int(view.rows[shown[-1]])) if more else ()
    return Page(frame, cursor("evidence", *last) if more else None)


def _of_stream(
    room: ReadingRoom,
    unique_id: str,
    first: int | None,
    codes: dict[str, int],
    paging: Paging,
) -> Page:
    row = room.row(unique_id)
    if row is None:
        raise RefusedError(404, f"There is no stream `{unique_id[:200]}`.", column="unique_id")
    (after,) = paging.place("history", 1) or ((first or 0) - 1,)
    cycles, records = room.store.history(row, first=after + 1)
    fits = records["n"] != ABSENT
    for name, code in codes.items():
        fits &= records[name] == code
    found = np.flatnonzero(fits)
    shown = found[: paging.limit]
    heads = room.heads(cycles[shown])
    frame = history_frame(records[shown], [head.policy for head in heads])
    more = len(found) > paging.limit
    return Page(
        _headed(room, heads, frame, [unique_id] * len(shown)),
        cursor("history", int(cycles[shown[-1]])) if more else None,
    )


def _headed(
    room: ReadingRoom, heads: list[CycleInfo], frame: pl.DataFrame, names: list[str]
) -> pl.DataFrame:
    """Return evidence with the cycle, the start of its batch and the name of the stream."""
    return frame.select(
        pl.Series("cycle", [head.cycle for head in heads], dtype=pl.Int64),
        pl.Series("revision", [head.revision for head in heads], dtype=pl.Int64),
        room.starts(heads),
        pl.Series("unique_id", names, dtype=pl.String),
        pl.all(),
    )
