"""Times, texts, documents and bytes as they stand in the tables.

Nothing is pickled. Bytes are sealed with a checksum, so that damage is told and not computed with.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.domain.errors import StoreError
from mlma.domain.inbox import Rows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SEAL = struct.Struct("<4sBI")  # sign, form, checksum of form and what follows
_SIGN = b"mlma"
_PLAIN, _SQUEEZED = 0, 1
_TRIAL = 1 << 16
_WORTH = 0.6

LARGEST_VALUE = 900_000_000
"""Bytes of one value that both databases take."""


def micros(moment: datetime) -> int:
    """Return a moment as microseconds since 1970 in UTC.

    Raises
    ------
    StoreError
        It has no time zone.
    """
    if moment.tzinfo is None:
        raise StoreError(f"A time in the store must have a time zone. Got {moment.isoformat()}.")
    return (moment - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """Return microseconds since 1970 as a moment in UTC."""
    return _EPOCH + timedelta(microseconds=at)


def named(text: str, what: str) -> str:
    """Return a name that both databases take and give back as it came.

    Raises
    ------
    StoreError
        It holds a NUL, or half a character, which no database takes.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreError(f"{what} must be Unicode text. Got {text!a}: half a character.") from None
    if "\0" in text:
        raise StoreError(f"{what} must be text without NUL. Got {text!a}.")
    return text


def plain(text: str) -> str:
    """Return free text that both databases take: what they do not is replaced."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def written(document: Mapping[str, Any]) -> str:
    """Return plain values as JSON text; NaN stays NaN, numbers of numpy become plain ones."""
    try:
        return json.dumps(document, default=_plain_value, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise StoreError(f"A document in the store must hold plain values: {error}.") from error


def read(text: str) -> Any:
    """Return what `written` wrote."""
    return json.loads(text)


def _plain_value(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"got {type(value).__name__}")


def sealed(data: bytes, what: str, *, squeeze: bool = True) -> bytes:
    """Return bytes with a checksum; ``squeeze``: compressed where that pays."""
    form = _PLAIN
    if squeeze and len(zlib.compress(data[:_TRIAL], 1)) < _WORTH * min(len(data), _TRIAL):
        form, data = min((_PLAIN, data), (_SQUEEZED, _squeezed(data)), key=lambda one: len(one[1]))
    if len(data) > LARGEST_VALUE:
        raise StoreError(
            f"{what} is too large for one value: {len(data)} bytes. Hint: send it in parts."
        )
    return _SEAL.pack(_SIGN, form, zlib.crc32(data, form)) + data


def unsealed(data: bytes, what: str) -> bytes:
    """Return the bytes that were sealed.

    Raises
    ------
    StoreError
        They are damaged; the message names ``what``.
    """
    if len(data) < _SEAL.size:
        raise damaged(what)
    sign, form, checksum = _SEAL.unpack_from(data)
    body = data[_SEAL.size :]
    if sign != _SIGN or form not in (_PLAIN, _SQUEEZED) or zlib.crc32(body, form) != checksum:
        raise damaged(what)
    return _loosened(body) if form == _SQUEEZED else body


def _squeezed(data: bytes) -> bytes:
    """Return bytes as one column of an Arrow file: zstd, which nothing else here has."""
    whole = BytesIO()
    column = np.frombuffer(data, dtype=np.uint8)
    pl.DataFrame({"bytes": column}).write_ipc(whole, compression="zstd")
    return whole.getvalue()


def _loosened(data: bytes) -> bytes:
    return pl.read_ipc(BytesIO(data))["bytes"].to_numpy().tobytes()


def damaged(what: str) -> StoreError:
    """Return the error for bytes that are not what was written."""
    return StoreError(f"{what} is damaged in the store. Hint: restore a backup.")


def row_bytes(rows: Rows, what: str) -> bytes:
    """Return rows as bytes: columns in Arrow's file format, zstd."""
    columns = {"stream": rows.stream, "place": rows.place, "value": rows.value}
    if rows.cutoff is not None:
        columns["cutoff"] = rows.cutoff
    whole = BytesIO()
    pl.DataFrame(columns).write_ipc(whole, compression="zstd")
    return sealed(whole.getvalue(), what, squeeze=False)


def rows_of(data: bytes, what: str) -> Rows:
    """Return the rows of `row_bytes`."""
    frame = pl.read_ipc(BytesIO(unsealed(data, what)))
    cutoff = frame["cutoff"].to_numpy() if "cutoff" in frame.columns else None
    return Rows(
        frame["stream"].to_numpy(), frame["place"].to_numpy(), frame["value"].to_numpy(), cutoff
    )


def dtype_text(dtype: np.dtype[Any], what: str) -> str:
    """Return a dtype as JSON text.

    Raises
    ------
    StoreError
        Its values are Python objects, or its fields have more than a name.
    """
    text = json.dumps(np.lib.format.dtype_to_descr(dtype)) if not dtype.hasobject else ""
    try:
        exact = bool(text) and dtype_of(text) == dtype
    except (TypeError, ValueError):  # fields with titles
        exact = False
    if not exact:
        raise StoreError(f"{what} must hold numbers, truths, times or text. Got {dtype}.")
    return text


def dtype_of(text: str) -> np.dtype[Any]:
    """Return the dtype of `dtype_text`."""
    return np.lib.format.descr_to_dtype(_tuples(json.loads(text)))


def _tuples(descr: Any) -> Any:
    """Return a description whose fields are tuples again; JSON made them lists."""
    if not isinstance(descr, list):
        return descr
    return [(field[0], _tuples(field[1]), *(tuple(size) for size in field[2:])) for field in descr]


def array_bytes(values: NDArray[Any]) -> bytes:
    """Return the values of an array, row by row."""
    return np.ascontiguousarray(values).tobytes()
