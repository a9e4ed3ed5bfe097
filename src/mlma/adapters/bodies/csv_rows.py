"""CSV bodies: a header and rows of text, separated by commas.

Takes the bytes, gives a frame of text. Next is the door, which reads the numbers. That every row
has as many fields as the header is counted here, because polars fills short rows with nulls.
"""

import csv
from collections.abc import Iterator
from io import BytesIO, StringIO

import polars as pl

from mlma.adapters.bodies.chosen import chosen
from mlma.adapters.bodies.errors import BodyError
from mlma.adapters.bodies.limits import BodyLimits
from mlma.adapters.bodies.native import refuse_twice
from mlma.adapters.frames.faults import shown
from mlma.adapters.frames.rows import Door
from mlma.domain.inbox import Kind

_MARK = b"\xef\xbb\xbf"
_LONGEST_HEADER = 100_000
_HINT = 'the first line is like "unique_id,ds,y"'


def read_csv(body: BytesIO, kind: Kind, door: Door, limits: BodyLimits) -> pl.DataFrame:
    """Return the columns that are read, as text."""
    data = body.getvalue()
    data = data.removeprefix(_MARK).rstrip(b"\r\n\t ")
    _refuse_other_text(data)
    lines = data.count(b"\n")
    quoted = b'"' in data
    header = _header(data, limits)
    if not quoted:
        limits.check_rows(lines)
    even = not quoted and data.count(b",") == (lines + 1) * (len(header) - 1)
    if not even or b"\n\n" in data or b"\n\r" in data:
        _refuse_ragged(data, len(header), limits)
    names = chosen(header, _numeric(data, header), kind, door)
    try:
        frame = pl.read_csv(
            BytesIO(data),
            columns=names or None,
            infer_schema=False,
            raise_if_empty=False,
            glob=False,
        )
    except pl.exceptions.PolarsError as error:
        _refuse_ragged(data, len(header), limits)
        raise BodyError(
            f"The body cannot be read as CSV. Got: {_gist(error)}.", hint=_HINT
        ) from None
    limits.check_rows(len(frame))
    others = [name for name in names if name not in door.columns]  # what may be the forecast
    frame = frame.with_columns(pl.col(others).cast(pl.Float64, strict=False))
    text = pl.col(pl.String)
    return frame.with_columns(pl.when(text != "").then(text)) if quoted else frame


def _refuse_other_text(data: bytes) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in data:
        raise BodyError(
            "CSV must be UTF-8 text. Got a byte that is null, as in UTF-16.",
            hint="save it as UTF-8",
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start)
        raise BodyError(
            f"CSV must be UTF-8. Got other bytes in row {row}.",
            row=row or None,
            hint="save it as UTF-8",
        ) from None


def _header(data: bytes, limits: BodyLimits) -> list[str]:
    line = data.partition(b"\n")[0].rstrip(b"\r")
    if not line:
        raise BodyError("A body must hold a header and at least one row. Got no rows.", hint=_HINT)
    names = line[:_LONGEST_HEADER].decode("utf-8", "replace")
    if b"," not in line and any(mark in names for mark in ";\t|"):
        raise BodyError(
            f"CSV must be separated by commas. Got the header {shown(names)}.", hint=_HINT
        )
    try:
        header = next(csv.reader([names], strict=True))
    except csv.Error:
        raise _open_quote(0) from None
    limits.check_columns(header)
    refuse_twice(header)
    return header


def _refuse_ragged(data: bytes, width: int, limits: BodyLimits) -> None:
    """Raise where a row has more or fewer fields than the header; the slow way, row by row."""
    count = -1
    try:
        for count, fields in enumerate(_records(data)):
            if len(fields) != width:
                raise BodyError(
                    f"Row {count} must have {width} fields, as the header has. Got {len(fields)}.",
                    row=count or None,
                    hint="put fields with commas in double quotes",
                )
            if count > limits.rows:
                limits.check_rows(count)
    except csv.Error as error:
        if "field larger" in str(error) or "unexpected end" in str(error):
            raise _open_quote(count + 1) from None
        raise BodyError(
            f"Row {count + 1} cannot be read as CSV. Got: {error}.",
            row=count + 1,
            hint="double a quote inside of quotes",
        ) from None


def _records(data: bytes) -> Iterator[list[str]]:
    return csv.reader(StringIO(data.decode("utf-8"), newline=""), strict=True)


def _open_quote(row: int) -> BodyError:
    where = f"row {row}" if row else "the header"
    return BodyError(
        f"A quote that opens in {where} must be closed. Got the end of the body, or a field of "
        f"more than 131,072 characters.",
        row=row or None,
        hint="double a quote inside of quotes",
    )


def _numeric(data: bytes, header: list[str]) -> list[str]:
    """Return the columns whose first value is a number."""
    second = data.split(b"\n", 2)[1:2]
    fields = next(csv.reader([second[0].decode("utf-8")]), []) if second else []
    return [name for name, text in zip(header, fields, strict=False) if _is_number(text)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _gist(error: Exception) -> str:
    return (" ".join(str(error).split("\n\n")[0].split()) or type(error).__name__)[:200].rstrip(".")
