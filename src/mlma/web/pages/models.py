"""`/models`: what is being trained, what was, whether it helped, and what went wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mlma.domain.ledger import Decided, OpenRequest
from mlma.domain.verdicts import Reason
from mlma.web.face import AtDesk, Desk
from mlma.web.pages.backwards import newest_first
from mlma.web.pages.environment import page
from mlma.web.pages.gains import CYCLES, HOW, Gains, recent_gains
from mlma.web.pages.order_filling import zone_of
from mlma.web.pages.order_words import Told, told, who
from mlma.web.pages.sheets import csv_of

router = APIRouter(include_in_schema=False)

View = Literal["queue", "running", "history", "failures", "rollbacks"]
SIZE = 50
_STATUS: dict[str, tuple[str, ...]] = {
    "queue": ("open",),
    "running": ("claimed",),
    "history": ("done", "failed", "withdrawn"),
    "failures": ("failed",),
}
_WORDS = {
    "queue": "Queue",
    "running": "Running",
    "history": "History",
    "failures": "Failures",
    "rollbacks": "Roll-backs",
}
_MOST_CSV = 10_000
_MOST_SCANNED = 50_000
_MOST_COUNTED = 1_000
_WINDOW = 200
_RECENT = 56
_MOST_SWITCHES = 500


@dataclass(frozen=True, slots=True)
class Fit:
    """A request for re-training, and what the version that came of it gained."""

    number: int
    asked: OpenRequest
    live_from: int | None = None
    gain: float | None = None


@router.get("/models")
def models(
    request: Request,
    at: AtDesk,
    *,
    view: View = "queue",
    search: Annotated[str, Query(max_length=200)] = "",
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    after: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    format: Literal["html", "csv"] = "html",
) -> Response:
    """List requests for re-training and what became of them."""
    gains = recent_gains(at)
    most = _MOST_CSV if format == "csv" else SIZE + 1
    fits = []
    if view != "rollbacks":
        found = _found(at, view, search.strip().lower(), before, after or 0)
        fits = [_fit(number, one, gains) for number, one in islice(found, most)]
    back = _rollbacks(at, search.strip().lower()) if view == "rollbacks" else ([], [])
    if format == "csv":
        return csv_of(_back_frame(at, back) if view == "rollbacks" else frame_of(fits), view)
    counts = _counts(at)
    return page(
        request,
        "models.html",
        view=view,
        views=[
            (name, f"{words} ({counts[name]})" if name in counts else words)
            for name, words in _WORDS.items()
        ],
        counts=counts,
        search=search,
        fits=fits[:SIZE],
        following=_following(view, fits),
        first_page=before is None and after is None,
        gains=gains,
        how=HOW,
        cycles=CYCLES,
        orders=back[0],
        switches=[(at.room.names()[one.stream], one) for one in back[1]],
        recent=_RECENT,
        who=who,
        trains=at.service.trainer is not None,
    )


def _following(view: str, fits: list[Fit]) -> dict[str, int] | None:
    """Return what the address of the next page holds; None = there is none."""
    if len(fits) <= SIZE:
        return None
    return {"after" if view in {"queue", "running"} else "before": fits[SIZE - 1].number}


def _counts(at: Desk) -> dict[str, str]:
    """Return how many re-trainings wait and run, in words; beyond some they are not counted."""
    made = {}
    for view in ("queue", "running"):
        count = len(at.room.store.requests(status=_STATUS[view], limit=_MOST_COUNTED + 1))
        made[view] = f"{count:,}" if count <= _MOST_COUNTED else f"{_MOST_COUNTED:,}+"
    return made


def _found(
    at: Desk, view: str, search: str, before: int | None, after: int
) -> Iterator[tuple[int, OpenRequest]]:
    """Yield requests of a view: what waits in its order, what ended the newest first."""
    store, status = at.room.store, _STATUS[view]
    listed: Iterable[tuple[int, OpenRequest]]
    if view in {"queue", "running"}:
        listed = _upwards(at, status, after)
    else:
        listed = newest_first(
            lambda start, limit: store.requests(start=start - 1, limit=limit), before
        )
    first: int | None = None
    for number, one in listed:
        first = number if first is None else first
        if abs(first - number) > _MOST_SCANNED:
            return
        if one.status in status and search in one.request.unique_id.lower():
            yield number, one


def _upwards(at: Desk, status: tuple[str, ...], after: int) -> Iterator[tuple[int, OpenRequest]]:
    """Yield requests after a number, in their order."""
    while found := at.room.store.requests(status=status, start=after, limit=_WINDOW):
        yield from found
        after = found[-1][0]


def _fit(number: int, one: OpenRequest, gains: Gains) -> Fit:
    if one.status != "done":
        return Fit(number, one)
    seen = one.request.evidence.get("cycle")
    found = gains.of(one.request.unique_id, int(seen) if isinstance(seen, int) else None)
    if found is None:
        return Fit(number, one)
    cycle, gain = found
    return Fit(number, one, cycle, gain if isfinite(gain) else None)


def _rollbacks(at: Desk, search: str) -> tuple[list[Told], list[Decided]]:
    """Return the roll-backs of people and of the agent, the newest first."""
    newest = at.room.newest()
    first = max((newest.cycle if newest else 0) - _RECENT + 1, 1)
    asked = at.room.store.decided(decisions=["switch"], first=first)
    names, reason = at.room.names(), Reason.ROLLED_BACK.label
    switches = [
        one for _, one in asked if one.reason == reason and search in str(names[one.stream]).lower()
    ]
    orders = [
        told(one, zone_of(at))
        for one in reversed(at.service.engineering.actions())
        if one.kind == "roll_back" and _names(one.payload, search)
    ]
    return orders[:_MOST_SWITCHES], switches[::-1][:_MOST_SWITCHES]


def _names(payload: Any, search: str) -> bool:
    return not search or any(search in name.lower() for name in payload.get("unique_ids", ()))


def frame_of(fits: list[Fit]) -> pl.DataFrame:
    """Return requests as a table."""
    schema: dict[str, Any] = {
        "number": pl.Int64,
        "unique_id": pl.String,
        "kind": pl.String,
        "status": pl.String,
        "reason": pl.String,
        "version": pl.Int64,
        "asked_at": pl.Datetime("us", "UTC"),
        "by": pl.String,
        "attempts": pl.Int64,
        "live_from_cycle": pl.Int64,
        "gain": pl.Float64,
        "error": pl.String,
    }
    rows = []
    for fit in fits:
        one, asked = fit.asked, fit.asked.request
        rows.append(
            (
                *(fit.number, asked.unique_id, asked.kind, one.status, asked.reason),
                *(asked.version, asked.asked_at, asked.by, one.attempts),
                *(fit.live_from, fit.gain, one.error),
            )
        )
    return pl.DataFrame(rows, schema=schema, orient="row")


def _back_frame(at: Desk, back: tuple[list[Told], list[Decided]]) -> pl.DataFrame:
    orders, switches = back
    names = at.room.names()
    rows: list[tuple[str, int | None, str, str, str]] = [
        (name, None, one.action.by, one.what, one.action.why)
        for one in orders
        for name in one.action.payload.get("unique_ids", ())
    ]
    rows += [(str(names[one.stream]), one.cycle, "agent", one.reason, "") for one in switches]
    columns = {
        "unique_id": pl.String,
        "cycle": pl.Int64,
        "by": pl.String,
        "what": pl.String,
        "why": pl.String,
    }
    return pl.DataFrame(rows, schema=columns, orient="row")
