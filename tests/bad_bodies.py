"""Bodies that must be refused: each with what the refusal has to say.

They are meant for slots of 15 minutes in batches of a day without a zone, for a clock that shows
`NOW`, and for the default limits.
"""

import gzip
import io
import json
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from mlma.domain.inbox import Kind

NOW = np.datetime64("2025-03-02T12:00", "us")
SLOT, BATCH = np.timedelta64(15, "m"), np.timedelta64(1, "D")

JSON, LINES, CSV = "application/json", "application/x-ndjson", "text/csv"
STREAM = "application/vnd.apache.arrow.stream"
FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"

TIME = "2025-03-01T11:15"
MOMENT = datetime(2025, 3, 1, 11, 15)


class Bad(NamedTuple):
    """A body, and the row, the column and a word that its refusal must name."""

    name: str
    kind: Kind
    media_type: str
    body: bytes
    row: int | None
    column: str | None
    word: str


def good_rows(n=3):
    """Rows of actuals that are fine."""
    return [{"unique_id": f"S{row}", "ds": TIME, "y": row + 0.5} for row in range(n)]


def json_of(*, forecast=False, row=2, **changed):
    """Three rows, of which one (from 1) has other values; ``...`` takes a key away."""
    rows = good_rows()
    if forecast:
        rows = [{"y_hat" if key == "y" else key: row[key] for key in row} for row in rows]
    rows[row - 1] |= changed
    rows[row - 1] = {key: value for key, value in rows[row - 1].items() if value is not ...}
    return json.dumps(rows).encode()


def raw(value, name="y"):
    """The same, with a value as it is written."""
    return json_of(**{name: "HERE"}).replace(b'"HERE"', value)


def frame(**changed):
    """Three rows as a polars frame, with other columns."""
    columns = {"unique_id": ["S0", "S1", "S2"], "ds": [MOMENT] * 3, "y": [0.5, 1.5, 2.5]}
    return pl.DataFrame(columns | changed, strict=False)


def stream_of(table, **options):
    """A polars frame or pyarrow table as an Arrow stream."""
    table = table if isinstance(table, pa.Table) else table.to_arrow()
    out = io.BytesIO()
    with ipc.new_stream(out, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return out.getvalue()


def file_of(table, **options):
    """A polars frame or pyarrow table as an Arrow file."""
    table = table if isinstance(table, pa.Table) else table.to_arrow()
    out = io.BytesIO()
    with ipc.new_file(out, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return out.getvalue()


def parquet_of(table, **options):
    """A polars frame or pyarrow table as a Parquet file."""
    out = io.BytesIO()
    table = table if isinstance(table, pa.Table) else table.to_arrow()
    pq.write_table(table, out, **options)
    return out.getvalue()


def varint(number):
    """A number as Thrift writes it."""
    number, out = number << 1, b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def claiming(rows):
    """A Parquet file of a hundred rows whose footer claims more, in total and in its one group."""
    body = parquet_of(pl.DataFrame({"unique_id": ["A"] * 100, "ds": [MOMENT] * 100, "y": 1.0}))
    size = struct.unpack("<I", body[-8:-4])[0]
    footer = body[-8 - size : -8]
    changed = footer.replace(b"\x16" + varint(100), b"\x16" + varint(rows))
    assert changed != footer
    return body[: -8 - size] + changed + struct.pack("<I", len(changed)) + b"PAR1"


def swollen(size):
    """An Arrow stream whose compressed column claims to become ``size`` bytes."""
    whole = stream_of(
        pl.DataFrame({"unique_id": ["A"] * 999, "ds": [MOMENT] * 999, "y": 1.0}), compression="zstd"
    )
    changed = whole.replace(struct.pack("<q", 999 * 8), struct.pack("<q", size))
    assert changed != whole
    return changed


def long_batch(rows):
    """An Arrow stream of null columns, which take no byte however many rows they claim."""
    whole = stream_of(
        pa.table({"unique_id": pa.nulls(777), "ds": pa.nulls(777), "y": pa.nulls(777)})
    )
    changed = whole.replace(struct.pack("<q", 777), struct.pack("<q", rows))
    assert changed != whole
    return changed


class Foreign(pa.ExtensionType):
    """A type of somebody else."""

    def __init__(self):
        super().__init__(pa.float64(), "somebody.else")

    def __arrow_ext_serialize__(self):
        return b"cos\nsystem\n(S'false'\ntR."

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        raise AssertionError("a type of a body was made")


def foreign():
    """A table whose values have a type of somebody else."""
    values = pa.ExtensionArray.from_storage(Foreign(), pa.array([0.5, 1.5, 2.5]))
    return frame().to_arrow().set_column(2, "y", values)


def twice(column):
    """A table in which a column stands twice."""
    table = frame().to_arrow()
    return table.append_column(column, table[column])


def torn(write):
    """A table of which an id is no UTF-8, written some way."""
    whole = write(frame(unique_id=["QQQQ", "B", "C"]))
    assert b"QQQQ" in whole
    return whole.replace(b"QQQQ", b"\xff\xfe\xfa\xfb")


def encrypted():
    """The end of a Parquet file with an encrypted footer."""
    return parquet_of(frame())[:-4] + b"PARE"


LINE = b'{"unique_id": "A", "ds": "%s", "y": 1.5}' % TIME.encode()
ROW = f"A,{TIME},1.5\n".encode()
HEAD = b"unique_id,ds,y\n"
DEEP = b'{"a long name for a key":    ' * 100_000


def _of(media_type):
    """What makes an entry of a media type."""

    def bad(name, body, word, *, row=None, column=None, kind: Kind = "actuals"):
        return Bad(name, kind, media_type, body, row, column, word)

    return bad


_json, _lines, _csv = _of(JSON), _of(LINES), _of(CSV)
_stream, _file, _parquet = _of(STREAM), _of(FILE), _of(PARQUET)


_JSON = [
    _json("nothing", b"", "no rows"),
    _json("blank", b"  \n ", "JSON"),
    _json("a list of no rows", b"[]", "no rows"),
    _json("an object without columns", b"{}", "missing", column="unique_id"),
    _json("columns without rows", b'{"unique_id":[],"ds":[],"y":[]}', "empty batch"),
    _json("a number", b"17", "list of rows"),
    _json("a text", b'"unique_id"', "list of rows"),
    _json("null", b"null", "list of rows"),
    _json("half a document", json_of()[:-20], "line 1"),
    _json("two documents", json_of() * 2, "Extra data"),
    _json("a comma too many", json_of()[:-1] + b",]", "JSON"),
    _json("a comment", b"// rows\n" + json_of(), "JSON"),
    _json("single quotes", json_of().replace(b'"', b"'"), "JSON"),
    _json("many lists in lists", b"[" * 100_000, "100,000 lists"),
    _json("objects in objects", DEEP, "levels"),
    _json(
        "a deep value beside the rows", raw(DEEP[:150_000] + b"1" + b"}" * 5000, "note"), "levels"
    ),
    _json("many empty lists", b"[" + b"[]," * 100_000 + b"[]]", "lists"),
    _json("a byte order mark", b"\xef\xbb\xbf" + json_of(), "mark"),
    _json("UTF-16", json_of().decode().encode("utf-16"), "UTF-8"),
    _json("Latin-1", raw(b'"caf\xe9"', "unique_id"), "UTF-8"),
    _json("control character in a text", raw(b'"a\x01"', "unique_id"), "control character"),
    _json("many small objects", b"[" + b'{"":1},' * 100_000 + b"{}]", "100,001 objects"),
    _json("a long name of a column", raw(b'1, "%s": 2' % (b"y" * 500)), "200 characters"),
    _json("a row that is a list", b'[["A", 1], ["B", 2]]', "object", row=1),
    _json("a row that is null", json_of()[:-1] + b", null]", "object", row=4),
    _json("a key twice", raw(b'1, "y": 2'), "twice", row=2, column="y"),
    _json("a column twice", b'{"y": [1], "y": [2]}', "twice", column="y"),
    _json("columns of two lengths", b'{"unique_id":["A"],"ds":[],"y":[1]}', "same number"),
    _json(
        "a column that is no list", b'{"unique_id":"A","ds":[],"y":[1]}', "list", column="unique_id"
    ),
    _json(
        "no column of values", b'[{"unique_id": "A", "ds": "2025-03-01"}]', "missing", column="y"
    ),
    _json("a row without a value", json_of(y=...), "finite", row=2, column="y"),
    _json("a row without a time", json_of(ds=...), "there", row=2, column="ds"),
    _json("a row without an id", json_of(unique_id=...), "there", row=2, column="unique_id"),
    _json("a value that is null", json_of(y=None), "null", row=2, column="y"),
    _json("false for a number", json_of(y=False), "false", row=2, column="y"),
    _json("true for a number", json_of(y=True, row=3), "true", row=3, column="y"),
    _json("a number as text", json_of(y="1.5"), "'1.5'", row=2, column="y"),
    _json("a value that is a list", json_of(y=[1.5]), "a list", row=2, column="y"),
    _json("a value that is an object", json_of(y={"a": 1}), "an object", row=2, column="y"),
    _json("NaN", raw(b"NaN"), "finite", row=2, column="y"),
    _json("Infinity", raw(b"-Infinity"), "finite", row=2, column="y"),
    _json("a float too large", raw(b"1e400"), "finite", row=2, column="y"),
    _json("an integer too large", raw(b"1" + b"0" * 400), "308 digits", row=2, column="y"),
    _json("an integer of many digits", raw(b"9" * 50_000), "digits"),
    _json("an id that is null", json_of(unique_id=None), "there", row=2, column="unique_id"),
    _json("an id that is true", json_of(unique_id=True), "text", row=2, column="unique_id"),
    _json("an id that is 1.5", json_of(unique_id=1.5), "whole", row=2, column="unique_id"),
    _json("an empty id", json_of(unique_id=""), "empty", row=2, column="unique_id"),
    _json("an id of spaces", json_of(unique_id="  "), "empty", row=2, column="unique_id"),
    _json("a long id", json_of(unique_id="x" * 201), "200", row=2, column="unique_id"),
    _json("a very long id", json_of(unique_id="x" * 10**6), "200", row=2, column="unique_id"),
    _json(
        "a null character in an id",
        json_of(unique_id="a\x00b"),
        "control",
        row=2,
        column="unique_id",
    ),
    _json("a line break in an id", json_of(unique_id="a\nb"), "control", row=2, column="unique_id"),
    _json(
        "a C1 character in an id", json_of(unique_id="a\x85"), "control", row=2, column="unique_id"
    ),
    _json(
        "a line separator in an id",
        json_of(unique_id="a\u2028"),
        "control",
        row=2,
        column="unique_id",
    ),
    _json(
        "text that runs backwards",
        json_of(unique_id="a\u202eb"),
        "control",
        row=2,
        column="unique_id",
    ),
    _json(
        "half a surrogate pair",
        raw(b'"\\ud800"', "unique_id"),
        "Unicode",
        row=2,
        column="unique_id",
    ),
    _json(
        "half a surrogate pair in a time", raw(b'"\\udfff"', "ds"), "Unicode", row=2, column="ds"
    ),
    _json("a time that is a number", json_of(ds=1740827700), "as text", row=2, column="ds"),
    _json("a time that is none", json_of(ds="yesterday"), "ISO", row=2, column="ds"),
    _json("a time of another land", json_of(ds="03/01/2025"), "ISO", row=2, column="ds"),
    _json("a 30th of February", json_of(ds="2025-02-30"), "ISO", row=2, column="ds"),
    _json("a time of 200 kilobytes", json_of(ds="2" * 200_000), "ISO", row=2, column="ds"),
    _json("a zone in one row", json_of(ds=TIME + "Z"), "offset", row=2, column="ds"),
    _json(
        "two zones",
        json_of(ds=TIME + "Z", row=1).replace(
            b'"S1", "ds": "2025-03-01T11:15"', b'"S1", "ds": "2025-03-01T11:15+01:00"'
        ),
        "offset",
        row=2,
        column="ds",
    ),
    _json("off the grid", json_of(ds="2025-03-01T11:20"), "0:15:00", row=2, column="ds"),
    _json(
        "a microsecond off the grid", json_of(ds=TIME + ":00.000001"), "slot", row=2, column="ds"
    ),
    _json(
        "an actual of tomorrow",
        json_of(ds="2025-03-03T12:00"),
        "cannot be known yet",
        row=2,
        column="ds",
    ),
    _json(
        "a forecast of the next century",
        json_of(forecast=True, ds="2125-03-01"),
        "or before",
        row=2,
        column="ds",
        kind="forecasts",
    ),
    _json(
        "the end of time",
        json_of(forecast=True, ds="9999-12-31T23:45"),
        "or before",
        row=2,
        column="ds",
        kind="forecasts",
    ),
    _json("the beginning of time", json_of(ds="0001-01-01"), "or after", row=2, column="ds"),
    _json("before 1990", json_of(ds="1989-12-31"), "1990", row=2, column="ds"),
    _json(
        "a forecast made after its slot",
        json_of(forecast=True, cutoff=TIME + ":01"),
        "no forecast",
        row=2,
        column="cutoff",
        kind="forecasts",
    ),
    _json(
        "a cutoff that is a number",
        json_of(forecast=True, cutoff=1),
        "as text",
        row=2,
        column="cutoff",
        kind="forecasts",
    ),
    _json(
        "a cutoff that is no time",
        json_of(forecast=True, cutoff="soon"),
        "ISO",
        row=2,
        column="cutoff",
        kind="forecasts",
    ),
    _json("actuals for forecasts", json_of(), "missing", column="y_hat", kind="forecasts"),
    _json("forecasts for actuals", json_of(forecast=True), "missing", column="y"),
    _json(
        "two columns that may be the forecast",
        b'[{"unique_id": "A", "ds": "2025-03-01", "Ridge": 1, "Lasso": 2}]',
        "Ridge, Lasso",
        column="y_hat",
        kind="benchmarks",
    ),
    _json(
        "a row of many keys",
        json.dumps([{f"key {n}": n for n in range(1000)}]).encode(),
        "100 columns",
    ),
    _json(
        "rows of many keys together",
        json.dumps([{f"key {n}": n} for n in range(1000)]).encode(),
        "100 columns",
    ),
]

_LINES = [
    _lines("blank lines", b"\n\n\n", "no rows"),
    _lines("a line cut off", LINE + b"\n" + LINE[:-8], "Row 2", row=2),
    _lines("a line that is a word", LINE + b"\nhello\n" + LINE, "hello", row=2),
    _lines("two objects on a line", LINE + b"\n" + LINE + LINE, "own", row=2),
    _lines("a comma after a line", LINE + b",\n" + LINE, "own", row=1),
    _lines("a line that is a list", LINE + b"\n[1]", "object", row=2),
    _lines("a deep line", LINE + b"\n" + DEEP, "levels", row=2),
    _lines(
        "a line with a key twice",
        LINE + b"\n" + LINE[:-1] + b', "y": 2}',
        "twice",
        row=2,
        column="y",
    ),
    _lines(
        "a line with a number as text", LINE.replace(b"1.5", b'"1.5"'), "'1.5'", row=1, column="y"
    ),
    _lines("a line with many digits", LINE.replace(b"1.5", b"7" * 5000), "digits", row=1),
    _lines("lines with a byte order mark", b"\xef\xbb\xbf" + LINE, "mark"),
]

_CSV = [
    _csv("an empty CSV", b"", "no rows"),
    _csv("a CSV of line breaks", b"\n\n", "no rows"),
    _csv("a header alone", HEAD, "empty batch"),
    _csv("no header", ROW * 2, "missing", column="unique_id"),
    _csv("semicolons", (HEAD + ROW).replace(b",", b";"), "commas"),
    _csv("a short row", HEAD + ROW + b"B,2025-03-01\n", "3 fields", row=2),
    _csv("a long row", HEAD + ROW + b"B,2025-03-01,1,2\n", "3 fields", row=2),
    _csv(
        "a short row and a long one",
        HEAD + b"A,2025-03-01\n" + b"B,2025-03-01,1,2\n",
        "3 fields",
        row=1,
    ),
    _csv("an empty row", HEAD + ROW + b"\n" + ROW, "3 fields", row=2),
    _csv("a column of CSV twice", b"unique_id,ds,y,y\nA,2025-03-01,1,2\n", "2 times", column="y"),
    _csv("a quote that stays open", HEAD + ROW + b'"B,2025-03-01,1\n' + ROW, "closed", row=2),
    _csv("a quote in a header that stays open", b'"unique_id,ds,y\n' + ROW, "closed"),
    _csv("a comma as decimal point", HEAD + b'A,2025-03-01,"1,5"\n', "finite", row=1, column="y"),
    _csv("a word for a number", HEAD + ROW + b"B,2025-03-01,many\n", "many", row=2, column="y"),
    _csv("NA", HEAD + b"A,2025-03-01,NA\n", "NA", row=1, column="y"),
    _csv("an empty value", HEAD + b"A,2025-03-01,\n" + ROW, "null", row=1, column="y"),
    _csv("inf", HEAD + b"A,2025-03-01,inf\n", "inf", row=1, column="y"),
    _csv("an empty id in CSV", HEAD + ROW + b",2025-03-01,1\n", "there", row=2, column="unique_id"),
    _csv("a null byte", HEAD + b"A\x00,2025-03-01,1\n", "UTF-16"),
    _csv("CSV in Latin-1", HEAD + ROW + b"caf\xe9,2025-03-01,1\n", "UTF-8", row=2),
    _csv("CSV in UTF-16", (HEAD + ROW).decode().encode("utf-16"), "UTF-16"),
    _csv("a gzipped CSV", gzip.compress(HEAD + ROW), "CSV"),
    _csv("a wide CSV", b",".join(b"c%d" % n for n in range(1000)), "100 columns"),
]

_ARROW = [
    _stream("an empty stream", b"", "no rows"),
    _stream("a stream of zeros", bytes(100), "Arrow"),
    _stream("a stream of text", json_of(), "Arrow"),
    _stream("a file for a stream", file_of(frame()), "file"),
    _file("a stream for a file", stream_of(frame()), "ARROW1"),
    _stream("no batch", stream_of(frame().clear()), "empty batch"),
    _file("a file without a batch", file_of(frame().clear()), "empty batch"),
    _stream("a stream cut in its schema", stream_of(frame())[:60], "ends"),
    _stream("a stream cut in a batch", stream_of(frame())[:-30], "ends"),
    _stream("a stream without its end", stream_of(frame())[:-8], "ends"),
    _stream("two streams", stream_of(frame()) * 2, "after the end"),
    _file("a file cut off", file_of(frame())[:-30], "ARROW1"),
    _stream("a batch of a billion rows", long_batch(10**9), "10,000,000"),
    _stream("a batch of less than no row", long_batch(-1), "less"),
    _stream("a buffer that becomes enormous", swollen(2**62), "MiB"),
    _stream("a buffer that becomes less than nothing", swollen(-7), "less"),
    _stream("a type of somebody else", stream_of(foreign()), "numbers", column="y"),
    _file("a file with a type of somebody else", file_of(foreign()), "numbers", column="y"),
    _stream("lists in Arrow", stream_of(frame(y=[[1.0], [2.0], [3.0]])), "plain", column="y"),
    _stream("booleans in Arrow", stream_of(frame(y=[True, False, True])), "Boolean", column="y"),
    _stream("text for numbers in Arrow", stream_of(frame(y=["1", "2", "3"])), "String", column="y"),
    _stream("times that are integers", stream_of(frame(ds=[1, 2, 3])), "Int64", column="ds"),
    _stream(
        "ids that are floats",
        stream_of(frame(unique_id=[1.0, 2.0, 3.0])),
        "Float64",
        column="unique_id",
    ),
    _stream(
        "ids that are bytes",
        stream_of(frame(unique_id=[b"a", b"b", b"c"])),
        "Binary",
        column="unique_id",
    ),
    _stream("a column of Arrow twice", stream_of(twice("y")), "2 times", column="y"),
    _stream("ids that are no UTF-8", torn(stream_of), "Arrow"),
    _file("ids of a file that are no UTF-8", torn(file_of), "Arrow"),
    _stream("NaN in Arrow", stream_of(frame(y=[1.0, float("nan"), 2.0])), "nan", row=2, column="y"),
    _stream(
        "null times in Arrow",
        stream_of(frame(ds=[MOMENT, MOMENT, None])),
        "there",
        row=3,
        column="ds",
    ),
    _stream("a column of nulls", stream_of(frame(y=[None] * 3)), "null", row=1, column="y"),
    _stream(
        "times beyond Python's",
        stream_of(frame(ds=pl.Series([2**61] * 3).cast(pl.Datetime("ms")))),
        "since 1970",
        row=1,
        column="ds",
    ),
    _stream(
        "times before Python's",
        stream_of(frame(ds=pl.Series([-(2**61)] * 3).cast(pl.Datetime("us")))),
        "since 1970",
        row=1,
        column="ds",
    ),
    _stream(
        "an actual of tomorrow in Arrow",
        stream_of(frame(ds=[datetime(2025, 3, 3, 12, tzinfo=UTC)] * 3)),
        "cannot be known yet",
        row=1,
        column="ds",
    ),
]

_PARQUET = [
    _parquet("a Parquet of text", json_of(), "PAR1"),
    _parquet("a Parquet of its first bytes", b"PAR1", "PAR1"),
    _parquet("a Parquet cut off", parquet_of(frame())[:-30], "PAR1"),
    _parquet(
        "a Parquet with a long footer",
        parquet_of(frame())[:-8] + b"\xff\xff\xff\x7fPAR1",
        "longer than the file",
    ),
    _parquet(
        "a Parquet with a footer of zeros",
        b"PAR1" + bytes(50) + struct.pack("<I", 40) + b"PAR1",
        "size",
    ),
    _parquet(
        "a Parquet with a large footer",
        b"PAR1" + bytes(2**21) + struct.pack("<I", 2**21 - 8) + b"PAR1",
        "footer",
    ),
    _parquet(
        "a Parquet with a deep footer",
        b"PAR1" + b"\x1c" * 5000 + struct.pack("<I", 5000) + b"PAR1",
        "deep",
    ),
    _parquet("an encrypted Parquet", encrypted(), "encrypted"),
    _parquet("a billion rows", claiming(10**9), "10,000,000 rows"),
    _parquet("more rows than pages hold", claiming(10**6), "values"),
    _parquet(
        "many equal rows",
        parquet_of(pa.table({"y": pa.array(np.zeros(10_000_001, dtype=np.int8))})),
        "10,000,001",
    ),
    _parquet("a Parquet without rows", parquet_of(frame().clear()), "empty batch"),
    _parquet(
        "structs in Parquet",
        parquet_of(frame(y=[{"a": 1.0}, {"a": 2.0}, {"a": 3.0}])),
        "plain",
        column="y",
    ),
    _parquet(
        "lists for ids",
        parquet_of(frame(unique_id=[["a"], ["b"], ["c"]])),
        "plain",
        column="unique_id",
    ),
    _parquet(
        "durations for times",
        parquet_of(frame(ds=pl.Series([1, 2, 3]).cast(pl.Duration("us")))),
        "Duration",
        column="ds",
    ),
    _parquet("a column of Parquet twice", parquet_of(twice("y")), "more than one"),
    _parquet("ids of Parquet that are no UTF-8", torn(parquet_of), "Parquet"),
    _parquet(
        "a wide Parquet",
        parquet_of(pl.DataFrame({f"c{n}": [1] for n in range(150)})),
        "100 columns",
    ),
    _parquet(
        "a negative infinity in Parquet",
        parquet_of(frame(y=[1.0, 2.0, float("-inf")])),
        "-inf",
        row=3,
        column="y",
    ),
    _parquet(
        "a null among decimals",
        parquet_of(frame(y=[Decimal("1.5"), None, Decimal("2.5")])),
        "null",
        row=2,
        column="y",
    ),
]

_TYPES = [
    Bad("no media type", "actuals", "", json_of(), None, None, "application/json"),
    Bad("a form", "actuals", "application/x-www-form-urlencoded", b"y=1", None, None, "text/csv"),
    Bad(
        "a pickle",
        "actuals",
        "application/python-pickle",
        b"cos\nsystem\n(S'false'\ntR.",
        None,
        None,
        "parquet",
    ),
    Bad("a media type that is none", "actuals", "json", json_of(), None, None, "application/json"),
    Bad(
        "a media type with a line break",
        "actuals",
        "text/csv\nX-Evil: 1",
        HEAD + ROW,
        None,
        None,
        "Content-Type",
    ),
    Bad("another charset", "actuals", "text/csv; charset=latin-1", HEAD + ROW, None, None, "utf-8"),
    Bad("an unknown parameter", "actuals", "text/csv; header=absent", ROW, None, None, "header"),
]

BAD_BODIES = [*_JSON, *_LINES, *_CSV, *_ARROW, *_PARQUET, *_TYPES]
