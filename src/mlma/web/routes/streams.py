"""`GET /api/v1/streams` and `/models`: the streams of the registry as of the newest cycle."""

from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from mlma.domain.verdicts import Verdict
from mlma.web.cursors import Paged, Paging, cursor
from mlma.web.face import AtDesk
from mlma.web.reading import CycleView, ReadingRoom
from mlma.web.rows import ModelPage, StreamPage
from mlma.web.selectors import Selected, StreamSelector
from mlma.web.tables import TAG_PREFIX, Page, WantedFormat, table, table_answers

router = APIRouter(tags=["streams"])

VerdictName = Literal["waiting", "unclear", "healthy", "degraded", "improved"]
Ints = NDArray[np.int64]


@router.get("/streams", responses=table_answers(StreamPage), response_class=Response)
def streams(
    request: Request,
    *,
    at: AtDesk,
    form: WantedFormat,
    selector: Selected,
    paging: Paged,
    verdict: Annotated[
        VerdictName | None, Query(description="Verdict of the newest cycle.")
    ] = None,
) -> Response:
    """List streams with their last verdict, loss, effect, version and age."""
    view = at.room.newest_view()
    rows, following = _page("streams", _fitting(at.room, view, selector, verdict), paging)
    frame = _standing(at.room, view, rows, ("verdict", "decision", "loss", "effect"))
    tags = at.room.tags()
    frame = frame.with_columns(
        pl.Series(TAG_PREFIX + name, [of.get(one) for one in frame["unique_id"]], dtype=pl.String)
        for name, of in sorted(tags.items())
    )
    return table(request, Page(frame, following, tagged=True), form)


@router.get("/models", tags=["models"], responses=table_answers(ModelPage), response_class=Response)
def models(
    request: Request, *, at: AtDesk, form: WantedFormat, selector: Selected, paging: Paged
) -> Response:
    """List the version of each stream that is live, its age, and the request that is open."""
    view = at.room.newest_view()
    rows, following = _page("models", selector.mask(at.room), paging)
    frame = _standing(at.room, view, rows, ())
    asked = at.room.open_requests()
    told = [asked.get(one) for one in frame["unique_id"]]
    frame = frame.with_columns(
        _text("request", [one and one.request.id for one in told]),
        _text("request_status", [one and one.status for one in told]),
        _text("reason", [one and one.request.reason for one in told]),
    )
    return table(request, Page(frame, following), form)


def _text(name: str, values: list[Any]) -> pl.Series:
    return pl.Series(name, values, dtype=pl.String)


def _page(listing: str, fits: NDArray[np.bool_], paging: Paging) -> tuple[Ints, str | None]:
    """Return the rows of the page, and the cursor of the next one."""
    (after,) = paging.place(listing, 1) or (-1,)
    found = np.flatnonzero(fits[after + 1 :]) + after + 1
    rows = found[: paging.limit]
    return rows, cursor(listing, int(rows[-1])) if len(found) > paging.limit else None


def _fitting(
    room: ReadingRoom, view: CycleView | None, selector: StreamSelector, verdict: str | None
) -> NDArray[np.bool_]:
    fits = selector.mask(room)
    if verdict is not None:
        fits &= _of_verdict(view, Verdict[verdict.upper()], len(fits))
    return fits


def _of_verdict(view: CycleView | None, verdict: Verdict, n: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, dtype=np.bool_)
    if view is not None:
        mine = view.rows[view.records["verdict"] == verdict]
        mask[mine[mine < n]] = True
    return mask


def _standing(
    room: ReadingRoom, view: CycleView | None, rows: Ints, told: tuple[str, ...]
) -> pl.DataFrame:
    """Return what the newest cycle says of some streams; null where they were not in it."""
    base = pl.DataFrame({"row": rows, "unique_id": room.names().gather(rows)})
    found = np.full(len(rows), -1) if view is None else view.at(rows)
    there = found >= 0
    columns = (*told, "version", "age")
    if view is None or not there.any():
        return base.with_columns(pl.lit(None, dtype=_TYPES[name]).alias(name) for name in columns)
    seen = view.frame(found[there]).select(*columns).cast({name: _TYPES[name] for name in columns})
    seen = seen.with_columns(pl.Series("row", rows[there]))
    return base.join(seen, on="row", how="left", maintain_order="left")


_TYPES: dict[str, Any] = {
    "verdict": pl.String,
    "decision": pl.String,
    "loss": pl.Float64,
    "effect": pl.Float64,
    "version": pl.Int64,
    "age": pl.Int64,
}
