"""`/audit`: who did what, when and why: actions as they were recorded, none ever changed."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mlma.domain.ledger import Action
from mlma.domain.orders import ORDERS
from mlma.web.face import AtDesk, Desk
from mlma.web.pages.backwards import newest_first
from mlma.web.pages.environment import page
from mlma.web.pages.links import order_link
from mlma.web.pages.order_fields import FORMS
from mlma.web.pages.order_filling import zone_of
from mlma.web.pages.order_words import OF_TRAINERS, Told, concerns, told, who
from mlma.web.pages.sheets import csv_of

router = APIRouter(include_in_schema=False)

SIZE = 50
MOST_SHOWN_STREAMS = 200
_MOST_CSV = 10_000
_MOST_SCANNED = 20_000
_NUMBER = Annotated[int | None, Query(ge=1, le=2**53)]


@router.get("/audit")
def audit(
    request: Request,
    at: AtDesk,
    *,
    of: Literal["orders", "all"] = "orders",
    by: Annotated[str, Query(max_length=200)] = "",
    kind: Annotated[str, Query(max_length=40)] = "",
    stream: Annotated[str, Query(max_length=500)] = "",
    action: _NUMBER = None,
    before: _NUMBER = None,
    format: Literal["html", "csv"] = "html",
) -> Response:
    """List actions, the newest first."""
    scan = _scan(at, of, kind, action, before)
    fitting = (one for one in scan if _fits(one, by.strip(), stream.strip()))
    shown = list(islice(fitting, _MOST_CSV if format == "csv" else SIZE + 1))
    undone = undone_by(at)
    rows = [told(one, zone_of(at)) for one in shown[:SIZE]]
    if format == "csv":
        rows = [told(one, zone_of(at)) for one in shown]
        return csv_of(frame_of(rows, undone), "audit")
    return page(
        request,
        "audit.html",
        rows=rows,
        older=shown[SIZE - 1].number if len(shown) > SIZE else None,
        newest=before is None,
        undone=undone,
        who=who,
        of=of,
        by=by,
        kind=kind,
        kinds=_kinds(of),
        stream=stream,
        action=action,
        most=MOST_SHOWN_STREAMS,
        order_link=order_link,
    )


def _kinds(of: str) -> list[tuple[str, str]]:
    more = OF_TRAINERS.items() if of == "all" else ()
    return [("", "any"), *((form.kind, form.title) for form in FORMS.values()), *more]


def _scan(at: Desk, of: str, kind: str, action: int | None, before: int | None) -> Iterator[Action]:
    """Yield actions of a kind, the newest first, as far back as is looked at one time."""
    if action is not None:
        found = at.room.store.actions(start=action, limit=1)
        yield from (one for one in found if one.number == action)
        return
    kinds = [kind] if kind else list(ORDERS) if of == "orders" else None

    def upwards(start: int, limit: int) -> list[tuple[int, Action]]:
        found = at.room.store.actions(kind=kinds, start=start, limit=limit)
        return [(one.number, one) for one in found]

    first: int | None = None
    for number, one in newest_first(upwards, before):
        first = number if first is None else first
        if first - number > _MOST_SCANNED:
            return
        yield one


def _fits(one: Action, by: str, stream: str) -> bool:
    mine = not by or by.lower() in f"{one.by} {who(one.by)}".lower()
    return mine and (not stream or concerns(one, stream))


def undone_by(at: Desk) -> dict[int, int]:
    """Return by which action each action was taken back."""
    actions = at.service.engineering.actions()
    undone = at.service.engineering.standing().undone
    undos = [one for one in actions if one.kind == "undo" and one.number not in undone]
    return {int(one.payload["order"]["action"]): one.number for one in undos}


def frame_of(rows: list[Told], undone: dict[int, int]) -> pl.DataFrame:
    """Return actions as a table."""
    schema: dict[str, Any] = {
        "number": pl.Int64,
        "at": pl.Datetime("us", "UTC"),
        "by": pl.String,
        "kind": pl.String,
        "what": pl.String,
        "whom": pl.String,
        "streams": pl.Int64,
        "why": pl.String,
        "cycle": pl.Int64,
        "undone_by": pl.Int64,
    }
    table = [
        (
            *(one.action.number, one.action.at, one.action.by, one.action.kind, one.what),
            *(one.incident or one.whom, one.streams, one.action.why, one.action.cycle),
            undone.get(one.action.number),
        )
        for one in rows
    ]
    return pl.DataFrame(table, schema=schema, orient="row")
