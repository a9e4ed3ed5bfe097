"""`/streams`: all streams as the newest cycle left them, to be searched, sorted and acted upon."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from markupsafe import Markup
from numpy.typing import NDArray

from mlma.agent.standing import Standing
from mlma.domain.selectors import Selector
from mlma.domain.verdicts import Verdict
from mlma.web.charts import sparkline
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, Desk
from mlma.web.pages.environment import page
from mlma.web.pages.in_force import standing_now
from mlma.web.pages.links import MOST_NAMES, order_link
from mlma.web.pages.loss_shelf import shelf_of
from mlma.web.pages.sheets import csv_of
from mlma.web.stream_sheet import NUMBERS, StreamSheet

router = APIRouter(include_in_schema=False)

Ints = NDArray[np.int64]

SIZE, TREND = 50, 14
"""Streams of a page, and batches of a trend."""
ACTIONS = (
    ("retrain", "Re-train"),
    ("plan", "Plan a re-training"),
    ("freeze", "Freeze"),
    ("unfreeze", "Unfreeze"),
    ("pin", "Pin"),
    ("unpin", "Unpin"),
    ("label", "Label batches"),
    ("roll_back", "Roll back"),
    ("policy", "Switch policy"),
)
_COLUMNS = (
    ("Stream", "", "unique_id"),
    ("Verdict", "", "verdict"),
    ("Decision", "", "decision"),
    ("Loss", "number", "loss"),
    ("Against reference", "number", "effect"),
    ("At stake", "number", "stake"),
    ("Trend", "", ""),
    ("Age", "number", "age"),
    ("Version", "number", "version"),
    ("Complete", "number", "complete"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which streams, in which order."""

    selector: Selector
    verdict: str
    sort: str
    descending: bool


@router.get("/streams")
def streams(
    request: Request,
    at: AtDesk,
    *,
    search: Annotated[str, Query(max_length=200)] = "",
    tag: Annotated[list[str] | None, Query(max_length=20)] = None,
    verdict: Annotated[str, Query(max_length=20)] = "",
    sort: Annotated[str, Query(max_length=200)] = "",
    order: Annotated[Literal["", "asc", "desc"], Query()] = "",
    number: Annotated[int, Query(alias="page", ge=1, le=10**7)] = 1,
    format: Annotated[Literal["", "csv"], Query()] = "",
) -> Response:
    """List the streams that fit."""
    sheet = at.room.sheet()
    selector = Selector(tags=tuple(one for one in tag or [] if one), search=search.strip())
    asked = _asked(sheet, selector, verdict, sort, order)
    fits = sheet.fitting(asked.selector, asked.verdict)
    rows = sheet.ordered(fits, asked.sort, descending=asked.descending)
    if format == "csv":
        return csv_of(sheet.rows(rows), "streams")
    last = max(-(-len(rows) // SIZE), 1)
    number = min(number, last)
    shown = rows[(number - 1) * SIZE : number * SIZE]
    names = sheet.frame["unique_id"]
    return page(
        request,
        "streams.html",
        asked=asked,
        total=len(rows),
        known=len(sheet),
        number=number,
        size=SIZE,
        heads=[*_COLUMNS, *((name, "", f"tag.{name}") for name in sheet.tags.columns)],
        rows=_rows(sheet, shown, standing_now(at), _trends(at, shown)),
        trend=TREND,
        tag_names=sheet.tags.columns,
        tag_values=sheet.tag_values(),
        verdicts=[("", "any"), *((one.label, one.label) for one in Verdict)],
        actions=_actions(asked, names, rows),
        every=ACTIONS,
        newest=at.room.newest(),
    )


def _asked(sheet: StreamSheet, selector: Selector, verdict: str, sort: str, order: str) -> Asked:
    """Return what was asked for, checked."""
    if verdict and verdict not in {one.label for one in Verdict}:
        raise RefusedError(422, f"There is no verdict `{verdict[:40]}`.", column="verdict")
    sort = sort or "stake"
    if sort not in sheet.columns():
        listed = ", ".join(sheet.columns())
        raise RefusedError(
            422, f"There is no column `{sort[:80]}`. Known: {listed}.", column="sort"
        )
    descending = order == "desc" if order else sort in NUMBERS
    return Asked(selector, verdict, sort, descending)


def _actions(asked: Asked, names: pl.Series, rows: Ints) -> list[tuple[str, str]]:
    """Return actions on all that fit, as text and address; none where no address can tell which.

    A verdict is of the newest batch and no part of a selector: the streams are named, then.
    """
    if not len(rows):
        return []
    selector = asked.selector
    if asked.verdict:
        if len(rows) > MOST_NAMES:
            return []
        selector = Selector(unique_ids=tuple(names.gather(rows)))
    return [(text, order_link(kind, selector, next="/streams")) for kind, text in ACTIONS]


def _trends(at: Desk, rows: Ints) -> list[Markup]:
    """Return the losses of the last batches of each stream, drawn small."""
    losses = shelf_of(at.room).table(rows, at.room.newest_heads(TREND))
    return [sparkline(one) for one in losses]


def _rows(
    sheet: StreamSheet, rows: Ints, standing: Standing, trends: list[Markup]
) -> list[dict[str, object]]:
    """Return the rows of a page; ``holds``: what engineers ordered about a stream."""
    made = sheet.rows(rows).to_dicts()
    for row, trend in zip(made, trends, strict=True):
        name, row["trend"] = row["unique_id"], trend
        row["holds"] = [
            word
            for word, held in (
                ("frozen", standing.frozen),
                ("pinned", standing.pinned),
                ("own policy", standing.policies),
            )
            if name in held
        ]
    return made
