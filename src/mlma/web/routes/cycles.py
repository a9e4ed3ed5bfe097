"""`GET /api/v1/cycles`, `/requests` and `/deliveries`: what the agent wrote, as it was written."""

import json
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mlma.agent.announcing import spans_document
from mlma.domain.ledger import CycleInfo, Delivery, OpenRequest
from mlma.domain.requests import compact
from mlma.web.cursors import Paged, cursor
from mlma.web.face import AtDesk
from mlma.web.reading import ReadingRoom
from mlma.web.rows import CyclePage, DeliveryPage, RequestPage
from mlma.web.tables import Page, WantedFormat, table, table_answers

router = APIRouter()

RequestStatus = Literal["open", "claimed", "done", "failed", "withdrawn"]
DeliveryStatus = Literal["waiting", "delivered", "given_up"]
_CycleNumber = Annotated[int | None, Query(ge=0, le=2**31 - 1)]

_CYCLE: dict[str, Any] = {
    "cycle": pl.Int64,
    "revision": pl.Int64,
    "judged_at": pl.Datetime("us", "UTC"),
    "closed": pl.String,
    "streams": pl.Int64,
    "through": pl.Int64,
    "policy": pl.String,
    "seed": pl.Int64,
    "summary": pl.String,
}
_REQUEST: dict[str, Any] = {
    "number": pl.Int64,
    "id": pl.String,
    "unique_id": pl.String,
    "reason": pl.String,
    "version": pl.Int64,
    "cycle": pl.Int64,
    "asked_at": pl.Datetime("us", "UTC"),
    "status": pl.String,
    "attempts": pl.Int64,
    "error": pl.String,
    "evidence": pl.String,
    "kind": pl.String,
    "exclude": pl.String,
    "train_from": pl.Datetime("us", "UTC"),
    "restores": pl.Int64,
    "artefact": pl.String,
    "by": pl.String,
}
_DELIVERY: dict[str, Any] = {
    "id": pl.String,
    "kind": pl.String,
    "target": pl.String,
    "status": pl.String,
    "attempts": pl.Int64,
    "at": pl.Datetime("us", "UTC"),
    "next_at": pl.Datetime("us", "UTC"),
    "error": pl.String,
}


@router.get("/cycles", tags=["cycles"], responses=table_answers(CyclePage), response_class=Response)
def cycles(
    request: Request,
    *,
    at: AtDesk,
    form: WantedFormat,
    paging: Paged,
    first: Annotated[_CycleNumber, Query(description="First cycle.")] = None,
    last: Annotated[_CycleNumber, Query(description="Last cycle.")] = None,
    order: Annotated[Literal["newest", "oldest"], Query(description="Which come first.")] = (
        "newest"
    ),
    revisions: Annotated[bool, Query(description="Superseded revisions too.")] = False,
) -> Response:
    """List heads of cycles: when and why a batch was judged, and what came of it."""
    listing = f"cycles {order} {revisions}"
    at_cycle, given = paging.place(listing, 2) or (None, 0)
    newest_first = order == "newest"
    if at_cycle is not None:
        first, last = (first, at_cycle) if newest_first else (at_cycle, last)
    heads = at.room.store.cycles(
        first=first,
        last=last,
        limit=paging.limit + given + 1,
        newest_first=newest_first,
        revisions=revisions,
    )
    following = _next_cycles(listing, heads, given, paging.limit)
    frame = _cycles(at.room, heads[given : given + paging.limit])
    return table(request, Page(frame, following, ("summary",)), form)


def _next_cycles(listing: str, heads: list[CycleInfo], given: int, limit: int) -> str | None:
    """Return the cursor: a cycle, and how many of its revisions were given already."""
    if len(heads) <= given + limit:
        return None
    shown = heads[: given + limit]
    last = shown[-1].cycle
    return cursor(listing, last, sum(head.cycle == last for head in shown))


def cycle_rows(heads: list[CycleInfo]) -> list[tuple[Any, ...]]:
    """Return heads of cycles in the order of the columns of the listing."""
    return [
        (
            *(head.cycle, head.revision, head.judged_at, head.closed, head.streams),
            *(head.through, head.policy, head.seed, document(head.summary)),
        )
        for head in heads
    ]


def _cycles(room: ReadingRoom, heads: list[CycleInfo]) -> pl.DataFrame:
    frame = pl.DataFrame(cycle_rows(heads), schema=_CYCLE, orient="row")
    return frame.insert_column(2, room.starts(heads))


def document(value: Any) -> str:
    """Return plain values as JSON."""
    return json.dumps(dict(value), allow_nan=False, default=str)


@router.get(
    "/requests", tags=["requests"], responses=table_answers(RequestPage), response_class=Response
)
def requests(
    request: Request,
    *,
    at: AtDesk,
    form: WantedFormat,
    paging: Paged,
    status: Annotated[
        list[RequestStatus] | None, Query(description="What became of them; absent = anything.")
    ] = None,
) -> Response:
    """List requests for re-training, oldest first."""
    (start,) = paging.place("requests", 1) or (0,)
    found = at.room.store.requests(status=status, start=start, limit=paging.limit + 1)
    shown = found[: paging.limit]
    following = cursor("requests", shown[-1][0]) if len(found) > paging.limit else None
    frame = pl.DataFrame([_request(*one) for one in shown], schema=_REQUEST, orient="row")
    return table(request, Page(frame, following, ("evidence", "exclude")), form)


def _request(number: int, one: OpenRequest) -> tuple[Any, ...]:
    asked = one.request
    return (
        *(number, asked.id, asked.unique_id, asked.reason, asked.version, asked.cycle),
        *(asked.asked_at, one.status, one.attempts, one.error, document(asked.evidence)),
        *(asked.kind, compact(spans_document(asked.exclude)), asked.train_from),
        *(asked.restores, asked.artefact, asked.by),
    )


@router.get(
    "/deliveries",
    tags=["deliveries"],
    responses=table_answers(DeliveryPage),
    response_class=Response,
)
def deliveries(
    request: Request,
    *,
    at: AtDesk,
    form: WantedFormat,
    paging: Paged,
    status: Annotated[
        list[DeliveryStatus] | None, Query(description="How they stand; absent = anyhow.")
    ] = None,
) -> Response:
    """List messages to webhooks, newest first; what is sent meanwhile moves the pages along."""
    (start,) = paging.place("deliveries", 1) or (0,)
    start, limit = min(start, _FURTHEST), paging.limit
    found = at.room.store.deliveries(status=status, limit=start + limit + 1)[start:]
    following = cursor("deliveries", start + limit) if len(found) > limit else None
    frame = pl.DataFrame([_delivery(one) for one in found[:limit]], schema=_DELIVERY, orient="row")
    return table(request, Page(frame, following), form)


_FURTHEST = 10**6


def _delivery(one: Delivery) -> tuple[Any, ...]:
    event = one.event
    return (
        *(event.id, event.kind, one.target, one.status, one.attempts),
        *(event.at, one.next_at, one.error),
    )
