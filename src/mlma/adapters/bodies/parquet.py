"""Parquet bodies: what they will unpack to is known before anything is unpacked.

Takes the bytes, gives a frame of the columns that are read. Footer and page headers are compared
with each other and with the limits, because a file of a few bytes can claim a billion rows. Next is
the door.
"""

from io import BytesIO

import polars as pl

from mlma.adapters.bodies.chosen import chosen
from mlma.adapters.bodies.errors import BodyError, TooLargeError
from mlma.adapters.bodies.limits import BodyLimits, size_text
from mlma.adapters.bodies.native import flat, reading
from mlma.adapters.bodies.thrift import Compact, Struct, damaged
from mlma.adapters.frames.rows import Door
from mlma.domain.inbox import Kind

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_LARGEST_FOOTER = 2**20
_MOST_PAGES = 20_000

# Field numbers of parquet.thrift.
_SCHEMA, _ROWS, _GROUPS, _ENCRYPTION = 2, 3, 4, 8
_GROUP_COLUMNS, _GROUP_ROWS = 1, 3
_FILE_PATH, _CHUNK, _CRYPTO = 1, 3, 8
_PATH, _VALUES, _PLAIN_SIZE, _PACKED_SIZE, _DATA_AT, _DICTIONARY_AT = 3, 5, 6, 7, 9, 11
_PAGE_PLAIN_SIZE, _PAGE_PACKED_SIZE = 2, 3
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_2 = 5, 7, 8


def read_parquet(body: BytesIO, kind: Kind, door: Door, limits: BodyLimits) -> pl.DataFrame:
    """Return the columns that are read."""
    data = body.getvalue()
    footer = _footer(data)
    limits.check_rows(_number(footer, _ROWS))
    with reading("Parquet"):
        schema = pl.read_parquet_schema(BytesIO(data))
    limits.check_columns(schema)
    numeric = [name for name, dtype in schema.items() if dtype.is_numeric()]
    names = chosen(schema, numeric, kind, door)
    flat({name: schema[name] for name in names})
    _check_chunks(data, footer, set(names), limits)
    with reading("Parquet"):
        return pl.read_parquet(BytesIO(data), columns=names, glob=False, hive_partitioning=False)


def _footer(data: bytes) -> Struct:
    if data[-4:] == _ENCRYPTED or data[:4] == _ENCRYPTED:
        raise _encrypted()
    if len(data) < 12 or data[:4] != _MAGIC or data[-4:] != _MAGIC:
        raise damaged("its first and last four bytes are not PAR1")
    size = int.from_bytes(data[-8:-4], "little")
    if size > len(data) - 12:
        raise damaged("its footer is longer than the file")
    if size > _LARGEST_FOOTER:
        raise TooLargeError(
            f"The footer of a Parquet body must have at most {size_text(_LARGEST_FOOTER)}. "
            f"Got {size_text(size)}.",
            hint="write fewer columns and larger row groups",
        )
    footer = Compact(data[-8 - size : -8]).struct()
    if _ENCRYPTION in footer:
        raise _encrypted()
    return footer


def _check_chunks(data: bytes, footer: Struct, names: set[str], limits: BodyLimits) -> None:
    """Raise where the columns that are read would take too much, or pages and footer differ."""
    rows = plain = pages = 0
    for group in _structs(footer, _GROUPS):
        group_rows = _number(group, _GROUP_ROWS)
        rows += group_rows
        for chunk in _structs(group, _GROUP_COLUMNS):
            if _FILE_PATH in chunk:
                raise damaged("its columns are in another file")
            if _CRYPTO in chunk:
                raise _encrypted()
            head = chunk.get(_CHUNK)
            if not isinstance(head, dict):
                raise damaged("a column has no metadata")
            if names.intersection(_path(head)):
                size, count = _check_pages(data, head, group_rows, limits, _MOST_PAGES - pages)
                plain, pages = plain + size, pages + count
                limits.check_unpacked(plain)
    if rows != _number(footer, _ROWS):
        raise damaged(f"its row groups have {rows:,} rows, its footer {footer[_ROWS]:,}")


def _check_pages(
    data: bytes, head: Struct, rows: int, limits: BodyLimits, most: int
) -> tuple[int, int]:
    """Return the unpacked bytes of a column of a row group, and its number of pages."""
    first = [_number(head, field) for field in (_DATA_AT, _DICTIONARY_AT) if head.get(field)]
    at = min(first, default=len(data) + 1)
    end = at + _number(head, _PACKED_SIZE)
    if end > len(data):
        raise damaged("a column lies outside of the file")
    plain = values = count = 0
    while at < end:
        reader = Compact(data, at)
        page = reader.struct()
        at = reader.at + _number(page, _PAGE_PACKED_SIZE)
        plain, count = plain + _number(page, _PAGE_PLAIN_SIZE), count + 1
        limits.check_unpacked(plain)
        limits.check_rows(_number(page.get(_DICTIONARY_PAGE, {1: 0}), 1))
        values += _number(page.get(_DATA_PAGE) or page.get(_DATA_PAGE_2) or {1: 0}, 1)
        if count > most:
            raise TooLargeError(
                f"A Parquet body must have at most {_MOST_PAGES:,} pages. Got more.",
                hint="write larger pages",
            )
    if not values == rows == _number(head, _VALUES):
        raise damaged(f"a column has {values:,} values in a row group of {rows:,} rows")
    return max(plain, _number(head, _PLAIN_SIZE)), count


def _path(head: Struct) -> list[str]:
    path = head.get(_PATH)
    parts = path if isinstance(path, list) else []
    return [part.decode("utf-8", "replace") for part in parts if isinstance(part, bytes)]


def _structs(parent: Struct, field: int) -> list[Struct]:
    found = parent.get(field, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise damaged("its metadata are not those of Parquet")
    return found


def _number(parent: object, field: int) -> int:
    found = parent.get(field) if isinstance(parent, dict) else None
    if not isinstance(found, int) or found < 0:
        raise damaged("its metadata lack a size")
    return found


def _encrypted() -> BodyError:
    return BodyError(
        "A Parquet body must not be encrypted. Got an encrypted file.",
        hint="write it without encryption; the connection is what is encrypted",
    )
