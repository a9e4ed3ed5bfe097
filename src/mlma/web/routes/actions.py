"""`/api/v1/actions`: orders of engineers are given here, undone and listed.

Each kind of order (docs/orders.md) is one body; a dry run of it writes nothing.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Body, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from mlma.agent.formers import FORMER
from mlma.agent.standing import names_of, order_of
from mlma.domain.ledger import Action
from mlma.domain.orders import ORDERS, Declare, Order, Selecting, Undo
from mlma.web.cursors import Paged, Paging, cursor
from mlma.web.descriptions import error_answers
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, Desk, sender
from mlma.web.order_bodies import AnyOrder, Given
from mlma.web.pages.backwards import newest_first
from mlma.web.people import AtPerson, Person, check_order
from mlma.web.rows import ActionDetail, ActionPage, ChangeRow
from mlma.web.tables import Page, WantedFormat, table, table_answers
from mlma.web.undone import undone_by

router = APIRouter(tags=["actions"])

_HIGHEST = 2**31 - 1
_SCANNED = 1_000
_SCANS = 50

ActionNumber = Annotated[int, Path(ge=1, le=_HIGHEST, description="Number of the action.")]


class Rehearsed(BaseModel):
    """What an order would do; nothing was written."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    sentence: str
    streams: int = Field(description="How many streams it concerns.")
    unique_ids: list[str] = Field(description="The first of them.")
    changes: list[ChangeRow] = Field(description="The first of all changes.")
    total: int = Field(description="Of all changes.")
    counts: dict[str, int]
    warnings: list[str]
    after: int = Field(description="Hand it on with the order itself.")


class Written(BaseModel):
    """What was written down."""

    action: int = Field(description="Number of the action.")


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Rehearsed, "description": "A dry run: nothing was written."},
    **error_answers(400, 408, 409, 413),
}


@router.post("/actions", status_code=201, response_model=Written, responses=_ANSWERS)
def give(request: Request, at: AtDesk, person: AtPerson, body: AnyOrder) -> Response:
    """Give an order, or tell with `dry_run` what it would change."""
    return _given(at, request, person, body.order(), body)


@router.post("/actions/{number}/undo", status_code=201, response_model=Written, responses=_ANSWERS)
def undo(
    request: Request,
    at: AtDesk,
    person: AtPerson,
    number: ActionNumber,
    body: Annotated[Given | None, Body()] = None,
) -> Response:
    """Take an action back; 409 where later ones rest on it: they are named."""
    return _given(at, request, person, Undo(action=number), body or Given.model_validate({}))


def _given(at: Desk, request: Request, person: Person, order: Order, told: Given) -> Response:
    desk = at.service.engineering
    check_order(person, order, undone_by(desk, order, sender(request)))
    if told.dry_run:
        made = desk.rehearse(order, sender(request))
        return JSONResponse(made.plain(), status_code=200)
    number = desk.carry_out(order, sender(request), told.why, after=told.after)
    return JSONResponse({"action": number}, status_code=201)


# Listings.

Kind = Literal[
    "deployed",
    "failed",
    "tags",
    "retrain",
    "plan",
    "freeze",
    "unfreeze",
    "budget",
    "event",
    "cancel_event",
    "pin",
    "unpin",
    "policy",
    "roll_back",
    "label",
    "overrule",
    "rejudge",
    "undo",
    "acknowledge",
    "snooze",
    "resolve",
    "reopen",
    "confirm",
    "deny",
]

_SCHEMA: dict[str, Any] = {
    "number": pl.Int64,
    "kind": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "by": pl.String,
    "why": pl.String,
    "cycle": pl.Int64,
    "undone": pl.Boolean,
    "streams": pl.Int64,
    "selector": pl.String,
    "order": pl.String,
}


@router.get("/actions", responses=table_answers(ActionPage), response_class=Response)
def actions(
    request: Request,
    *,
    at: AtDesk,
    form: WantedFormat,
    paging: Paged,
    by: Annotated[str | None, Query(max_length=200, description="Who, such as user:ann.")] = None,
    kind: Annotated[list[Kind] | None, Query(max_length=30, description="Absent = all.")] = None,
    unique_id: Annotated[
        str | None, Query(max_length=500, description="Actions that name this stream.")
    ] = None,
    backwards: Annotated[bool, Query(description="The newest first.")] = False,
) -> Response:
    """List what was done to the agent; a page may be short: go on until `next` is null."""
    wanted = _Wanted(by, tuple(kind or ()), unique_id, at)
    found, following = _page(at, wanted, paging, backwards=backwards)
    undone = at.service.engineering.standing().undone
    rows = [_row(one, undone) for one in found]
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    return table(request, Page(frame, following, documents=("order",)), form)


@router.get("/actions/{number}", response_model=ActionDetail, responses=error_answers(404))
def action(at: AtDesk, number: ActionNumber) -> Response:
    """Tell an action with all that was written down with it."""
    found = at.service.store.actions(start=number, limit=1)
    if not found or found[0].number != number:
        raise RefusedError(404, f"There is no action {number}.", column="number")
    row = dict(zip(_SCHEMA, _row(found[0], at.service.engineering.standing().undone), strict=True))
    payload = {name: value for name, value in found[0].payload.items() if name != FORMER}
    moment = found[0].at.isoformat()
    told = row | {"at": moment, "order": json.loads(row["order"]), "payload": payload}
    return JSONResponse(told)


class _Wanted:
    """Which actions are asked for."""

    def __init__(
        self, by: str | None, kinds: Sequence[str], unique_id: str | None, at: Desk
    ) -> None:
        self._by, self._kinds, self._name, self._at = by, set(kinds), unique_id, at

    def fits(self, action: Action) -> bool:
        """Return whether an action is wanted."""
        if self._by is not None and action.by != self._by:
            return False
        if self._kinds and action.kind not in self._kinds:
            return False
        return self._name is None or self._concerns(action, self._name)

    def _concerns(self, action: Action, name: str) -> bool:
        if name in action.payload.get("unique_ids", ()):
            return True
        if action.kind == "tags":
            return any(name in of for of in action.payload["tags"].values())
        if action.kind != Declare.kind:
            return False
        order = order_of(action)
        assert isinstance(order, Declare)
        return bool(order.event.selector.mask([name], self._at.room.tags())[0])


def _page(
    at: Desk, wanted: _Wanted, paging: Paging, *, backwards: bool
) -> tuple[list[Action], str | None]:
    """Return the actions of a page, and the cursor of the next one."""
    listing = "actions, newest first" if backwards else "actions"
    placed = paging.place(listing, 1)
    found: list[Action] = []
    walk = _downwards if backwards else _upwards
    for seen, one in enumerate(walk(at, None if placed is None else placed[0])):
        if len(found) == paging.limit or seen == _SCANNED * _SCANS:
            return found, cursor(listing, one.number)
        if wanted.fits(one):
            found.append(one)
    return found, None


def _upwards(at: Desk, start: int | None) -> Iterator[Action]:
    """Yield actions from a number on."""
    begin = start or 1
    while some := at.service.store.actions(start=begin, limit=_SCANNED):
        yield from some
        begin = some[-1].number + 1


def _downwards(at: Desk, start: int | None) -> Iterator[Action]:
    """Yield actions from a number downwards; None = from the last one."""

    def upwards(first: int, limit: int) -> list[tuple[int, Action]]:
        return [(one.number, one) for one in at.service.store.actions(start=first, limit=limit)]

    before = None if start is None else start + 1
    return (one for _, one in newest_first(upwards, before, window=_SCANNED))


def _row(action: Action, undone: frozenset[int]) -> tuple[Any, ...]:
    selector, order = None, dict[str, Any]()
    if action.kind in ORDERS:
        made = order_of(action)
        order = {name: value for name, value in made.payload().items() if name != "selector"}
        selector = made.selector.text if isinstance(made, Selecting) else None
    return (
        *(action.number, action.kind, action.at, action.by, action.why, action.cycle),
        *(action.number in undone, len(names_of(action)), selector, json.dumps(order)),
    )
