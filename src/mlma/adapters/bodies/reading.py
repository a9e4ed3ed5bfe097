"""Bodies that were pushed become checked rows, whatever format they are in.

Takes the stream of a request and its media type, gives `NamedRows` or an error that names row and
column. Nothing of a body is trusted: sizes are looked at before anything is unpacked, nothing is
unpickled, and a bad row refuses the whole body. Next is the registry of the store.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from email.message import EmailMessage
from functools import lru_cache
from io import BytesIO
from typing import BinaryIO

import polars as pl

from mlma.adapters.bodies.arrow import read_file, read_stream
from mlma.adapters.bodies.csv_rows import read_csv
from mlma.adapters.bodies.encodings import Unpacked, whole
from mlma.adapters.bodies.errors import BodyError, MediaTypeError
from mlma.adapters.bodies.json_rows import read_json, read_lines
from mlma.adapters.bodies.limits import BodyLimits
from mlma.adapters.bodies.native import OF_POLARS, reading
from mlma.adapters.bodies.parquet import read_parquet
from mlma.adapters.frames.rows import Door, named_rows
from mlma.domain.inbox import Kind, NamedRows

_JSON = {"application/json": read_json, "application/x-ndjson": read_lines}
_FRAMES: Mapping[str, Callable[[BytesIO, Kind, Door, BodyLimits], pl.DataFrame]] = {
    "text/csv": read_csv,
    "application/vnd.apache.arrow.stream": read_stream,
    "application/vnd.apache.arrow.file": read_file,
    "application/vnd.apache.parquet": read_parquet,
}
MEDIA_TYPES = (*_JSON, *_FRAMES)
"""The formats that are known, as ``Content-Type`` names them."""

_PARAMETERS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "application/json": {"charset": frozenset({"utf-8", "utf8", "us-ascii"})},
    "application/x-ndjson": {"charset": frozenset({"utf-8", "utf8", "us-ascii"})},
    "text/csv": {
        "charset": frozenset({"utf-8", "utf8", "us-ascii"}),
        "header": frozenset({"present"}),
    },
}


def read_body(
    stream: BinaryIO, media_type: str, kind: Kind, door: Door, limits: BodyLimits
) -> NamedRows:
    """Return the rows of a body.

    ``stream`` is as it was sent, or as `opened` unpacks it; ``media_type`` is the ``Content-Type``.

    Raises
    ------
    MediaTypeError
        The format is not known here.
    TooLargeError
        A limit is passed, or will be by what the body says itself.
    BodyError
        The body is damaged, a column is missing or of the wrong type, or a row is bad.
    """
    form = _known(media_type)
    most = limits.bytes
    if isinstance(stream, Unpacked) and form not in _JSON:
        most = limits.unpacked
    body = whole(stream, most)
    if not body.getbuffer().nbytes:
        raise BodyError("A body must hold at least one row. Got no rows: it is empty.")
    if form in _JSON:
        frame, found = _JSON[form](body.getvalue(), kind, door, limits)
    else:
        frame, found = _FRAMES[form](body, kind, door, limits), []
    if form == "text/csv":
        door = replace(door, text_numbers=True)
    del body
    with reading(form, OF_POLARS):
        return named_rows(frame, kind, door, strict=True, found=found)


@lru_cache(maxsize=64)
def _known(media_type: str) -> str:
    """Return the format that a ``Content-Type`` names."""
    message = EmailMessage()
    try:
        message["Content-Type"] = media_type
        form, parameters = message.get_content_type(), dict(message["Content-Type"].params)
    except (ValueError, IndexError, AttributeError):
        form, parameters = "", {}
    # What cannot be read becomes text/plain there.
    form = form if media_type.strip().lower().startswith(form) else media_type
    if form not in MEDIA_TYPES:
        raise MediaTypeError(
            f"`Content-Type` must be one of {', '.join(MEDIA_TYPES)}. Got {media_type[:80]!r}.",
            hint="say what the body is; clients often say application/x-www-form-urlencoded",
        )
    allowed = _PARAMETERS.get(form, {})
    for name, value in parameters.items():
        if str(value).lower() not in allowed.get(name.lower(), ()):
            raise MediaTypeError(
                f"`Content-Type` {form} must not have {name[:40]}={str(value)[:40]!r}. "
                f"Known: {_listed(allowed)}.",
                hint="send text as UTF-8",
            )
    return form


def _listed(allowed: Mapping[str, frozenset[str]]) -> str:
    pairs = [f"{name}={value}" for name, values in allowed.items() for value in sorted(values)]
    return ", ".join(pairs) or "no parameters"
