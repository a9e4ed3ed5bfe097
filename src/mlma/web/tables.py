"""Tables: a page of a frame as JSON, CSV or Arrow.

Takes a polars frame and what the request asks for, gives the answer. Text that a spreadsheet would
take for a formula is disarmed in CSV.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import polars as pl
from fastapi import Depends, Query, Request
from fastapi.responses import Response
from polars import selectors
from pydantic import BaseModel

Format = Literal["json", "csv", "arrow"]

MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}

_FORMULA = r"^\s*[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]|^[\t\r\n]"
TAG_PREFIX = "tag."


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a listing.

    next
        cursor of the rows after them; None = these were the last.
    documents
        columns of text that hold JSON: documents in the JSON, text in the other forms.
    tagged
        columns that start with ``tag.`` are one object in the JSON, ``tags``.
    """

    frame: pl.DataFrame
    next: str | None = None
    documents: tuple[str, ...] = ()
    tagged: bool = False


def wanted_format(
    request: Request,
    format: Annotated[
        Format | None, Query(description="Form of the answer; it overrules `Accept`.")
    ] = None,
) -> Format:
    """Return the form of the answer: the parameter, or the first known type of ``Accept``."""
    if format is not None:
        return format
    accepted = request.headers.get("accept", "")
    for part in accepted.split(","):
        media_type = part.partition(";")[0].strip().lower()
        for name, known in MEDIA_TYPES.items():
            if media_type == known:
                return name
    return "json"


WantedFormat = Annotated[Format, Depends(wanted_format)]


def table(request: Request, page: Page, form: Format) -> Response:
    """Return a page in the form that was asked for.

    ``next`` stands in the JSON, and for all forms in the headers ``X-Next-Cursor`` and ``Link``.
    """
    write = {"json": _json, "csv": _csv, "arrow": _arrow}[form]
    headers = {}
    if page.next is not None:
        asked = [(k, v) for k, v in request.query_params.multi_items() if k != "cursor"]
        address = f"{request.scope['path']}?{urlencode([*asked, ('cursor', page.next)])}"
        headers = {"X-Next-Cursor": page.next, "Link": f'<{address}>; rel="next"'}
    return Response(write(page), media_type=MEDIA_TYPES[form], headers=headers)


def _json(page: Page) -> bytes:
    frame = _told_times(_tags_together(page.frame) if page.tagged else page.frame)
    rows = _with_documents(frame, page.documents) if page.documents else frame.write_json()
    return f'{{"rows":{rows},"next":{json.dumps(page.next)}}}'.encode()


def _csv(page: Page) -> bytes:
    return as_csv(page.frame)


def as_csv(frame: pl.DataFrame) -> bytes:
    """Return a frame as CSV, times in ISO form, formulas disarmed."""
    return _disarmed(_told_times(frame)).write_csv().encode()


def _arrow(page: Page) -> bytes:
    made = io.BytesIO()
    _without_nan(page.frame).write_ipc_stream(made)
    return made.getvalue()


def _with_documents(frame: pl.DataFrame, documents: Sequence[str]) -> str:
    rows = json.loads(frame.write_json())
    for row in rows:
        row.update({name: json.loads(row[name]) for name in documents})
    return json.dumps(rows, allow_nan=False, separators=(",", ":"))


def _tags_together(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with its columns of tags as one object per row."""
    tags = [name for name in frame.columns if name.startswith(TAG_PREFIX)]
    if not tags:
        nothing: list[dict[str, str]] = [{}] * len(frame)
        return frame.with_columns(pl.Series("tags", nothing, dtype=pl.Struct({})))
    told = pl.struct([pl.col(name).alias(name.removeprefix(TAG_PREFIX)) for name in tags])
    return frame.with_columns(told.alias("tags")).drop(tags)


def _told_times(frame: pl.DataFrame) -> pl.DataFrame:
    return _without_nan(frame).with_columns(selectors.temporal().dt.to_string("iso:strict"))


def _without_nan(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(selectors.float().fill_nan(None))


def _disarmed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with a quote before each text that starts like a formula."""
    texts = [pl.col(name) for name, kind in frame.schema.items() if kind == pl.String]
    return frame.with_columns(
        pl.when(text.str.contains(_FORMULA)).then(pl.lit("'") + text).otherwise(text).name.keep()
        for text in texts
    )


def table_answers(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return how the API's description tells the answer of a table."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    text = {"schema": {"type": "string"}}
    headers = {
        "X-Next-Cursor": {"description": "`cursor` of the next page.", "schema": _TEXT},
        "Link": {"description": "Address of the next page.", "schema": _TEXT},
    }
    content = {MEDIA_TYPES["csv"]: text, MEDIA_TYPES["arrow"]: binary}
    return {200: {"model": model, "content": content, "headers": headers}}


_TEXT = {"type": "string"}
