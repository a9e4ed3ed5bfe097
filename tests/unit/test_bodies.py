"""Bodies that were pushed: every format, its limits, and what must be refused."""

import gzip
import io
import json
import threading
import time
import tracemalloc
import zlib
from datetime import datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from bad_bodies import (
    BAD_BODIES,
    BATCH,
    CSV,
    FILE,
    HEAD,
    JSON,
    LINE,
    LINES,
    MOMENT,
    NOW,
    PARQUET,
    ROW,
    SLOT,
    STREAM,
    TIME,
    file_of,
    frame,
    good_rows,
    json_of,
    parquet_of,
    stream_of,
)
from mlma.adapters.bodies import (
    MEDIA_TYPES,
    BodyError,
    BodyLimits,
    MediaTypeError,
    TooLargeError,
    opened,
    read_body,
)
from mlma.adapters.frames.rows import Door
from mlma.domain.errors import SettingsError
from mlma.domain.inbox import NO_CUTOFF
from mlma.domain.periods import Periods

DOOR = Door(Periods(BATCH.astype("timedelta64[us]"), SLOT.astype("timedelta64[us]")), NOW)
LIMITS = BodyLimits()


def read(body, media_type=JSON, kind="actuals", *, limits=LIMITS, encoding=None, door=DOOR):
    stream = io.BytesIO(body)
    if encoding is not None:
        stream = opened(stream, encoding, limits)
    return read_body(stream, media_type, kind, door, limits)


def refused(error, word, *given, **options):
    with pytest.raises(error, match=word) as caught:
        read(*given, **options)
    return caught.value


# What must be refused.


@pytest.mark.parametrize("bad", BAD_BODIES, ids=lambda bad: bad.name)
def test_a_bad_body_is_refused_with_row_and_column(bad):
    started = time.process_time()
    error = refused(BodyError, None, bad.body, bad.media_type, bad.kind)
    assert bad.word in str(error)
    assert (error.row, error.column) == (bad.row, bad.column)
    assert len(str(error)) < 1000
    assert str(error).isprintable()
    assert time.process_time() - started < 1.0


def test_the_bad_bodies_have_different_names():
    assert len({bad.name for bad in BAD_BODIES}) == len(BAD_BODIES) >= 70


def test_an_unknown_format_is_told_apart_from_a_bad_one():
    error = refused(MediaTypeError, "must be one of", b"{}", "application/xml")
    assert all(known in str(error) for known in MEDIA_TYPES)


def test_a_bad_row_deep_in_a_body_is_named():
    rows = good_rows(5000)
    rows[4321]["y"] = "1"
    error = refused(BodyError, "1 of 5000 rows is bad", json.dumps(rows).encode())
    assert (error.row, error.column) == (4322, "y")


def test_bad_values_of_several_columns_are_counted_together():
    rows = good_rows(5)
    rows[1]["y"], rows[3]["ds"], rows[4]["unique_id"] = None, "soon", False
    error = refused(BodyError, "3 of 5 rows are bad", json.dumps(rows).encode())
    assert (error.row, error.column) == (2, "y")


def test_what_a_json_body_takes_in_memory_is_bounded_by_its_size():
    body = b"[" + b",".join([b'{"no column of ours":1}'] * 20_000) + b"]"
    tracemalloc.start()
    refused(BodyError, "missing", body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * len(body)


# Every format.


def bodies_of(table):
    """The same rows in every format; ``table`` has the columns unique_id, ds, y."""
    text = table.with_columns(pl.col("ds").dt.strftime("%Y-%m-%dT%H:%M"))
    lines = [json.dumps(row).encode() for row in text.to_dicts()]
    coded = table.with_columns(pl.col("unique_id").cast(pl.Categorical))
    return {
        "rows": (JSON, b"[" + b",".join(lines) + b"]"),
        "columns": (JSON, json.dumps(text.to_dict(as_series=False)).encode()),
        "lines": (LINES, b"\r\n".join(lines)),
        "csv": (CSV, text.write_csv().encode()),
        "stream": (STREAM, stream_of(table)),
        "coded stream": (STREAM, stream_of(coded, compression="zstd")),
        "file": (FILE, file_of(table, compression="lz4")),
        "parquet": (PARQUET, parquet_of(table)),
        "coded parquet": (PARQUET, parquet_of(coded, compression="zstd")),
    }


FORMS = bodies_of(frame())


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_rows(form):
    media_type, body = FORMS[form]
    rows = read(body, media_type)
    assert (rows.kind, rows.ids) == ("actuals", ("S0", "S1", "S2"))
    assert rows.value.tolist() == [0.5, 1.5, 2.5]
    assert (rows.instant == np.datetime64(MOMENT)).all()
    assert rows.left_out == ()


@pytest.mark.parametrize("write", [pl.DataFrame.write_ipc_stream, pl.DataFrame.write_ipc])
@pytest.mark.parametrize("compression", ["uncompressed", "zstd", "lz4"])
def test_arrow_may_be_written_by_polars(write, compression):
    out = io.BytesIO()
    write(frame(), out, compression=compression)
    assert len(read(out.getvalue(), STREAM if "stream" in write.__name__ else FILE)) == 3


@pytest.mark.parametrize("compression", ["uncompressed", "zstd", "snappy", "gzip", "brotli", "lz4"])
def test_parquet_may_be_written_by_polars(compression):
    out = io.BytesIO()
    frame().write_parquet(out, compression=compression)
    assert len(read(out.getvalue(), PARQUET)) == 3


def test_parquet_may_have_many_pages_and_row_groups():
    many = pl.DataFrame({"unique_id": ["A", "B"] * 5000, "ds": [MOMENT] * 10_000, "y": 1.0})
    for version in ("1.0", "2.0"):
        body = parquet_of(many, row_group_size=999, data_page_size=100, data_page_version=version)
        assert len(read(body, PARQUET)) == 10_000


def test_arrow_may_have_many_batches_and_growing_dictionaries():
    out = io.BytesIO()
    schema = pa.schema(
        {
            "unique_id": pa.dictionary(pa.int32(), pa.string()),
            "ds": pa.timestamp("us"),
            "y": pa.float64(),
        }
    )
    with pa.ipc.new_stream(out, schema) as writer:
        for batch in range(5):
            ids = pa.array([f"S{batch}", "A"]).dictionary_encode()
            writer.write_batch(pa.record_batch([ids, [MOMENT] * 2, [0.0, 1.0]], schema=schema))
    assert read(out.getvalue(), STREAM).ids == ("S0", "A", "S1", "S2", "S3", "S4")


OTHER_TYPES = {
    "decimals": {"y": [Decimal("1.50"), Decimal("2.25"), Decimal("3")]},
    "short integers": {"y": pl.Series([1, 2, 3], dtype=pl.UInt16)},
    "ids that are numbers": {"unique_id": [7, 8, 9]},
    "ids that are unsigned": {"unique_id": pl.Series([7, 8, 9], dtype=pl.UInt64)},
    "UTC": {"ds": pl.Series([MOMENT] * 3).dt.replace_time_zone("UTC")},
    "nanoseconds": {"ds": pl.Series([MOMENT] * 3, dtype=pl.Datetime("ns"))},
    "dates": {"ds": pl.Series([MOMENT.date()] * 3)},
    "nested notes": {"note": [{"a": [1]}, None, None]},
    "no cutoff": {"cutoff": pl.Series([None] * 3, dtype=pl.Null)},
}


@pytest.mark.parametrize("name", OTHER_TYPES)
@pytest.mark.parametrize("write", [stream_of, file_of, parquet_of])
def test_columns_may_have_any_type_that_says_the_same(name, write):
    media_type = {stream_of: STREAM, file_of: FILE, parquet_of: PARQUET}[write]
    assert len(read(write(frame(**OTHER_TYPES[name])), media_type)) == 3


def test_a_column_of_another_type_is_not_looked_at_where_it_is_not_asked_for():
    extra = pa.array([b"\xff\xfe"] * 3, pa.binary())
    table = frame().to_arrow().append_column("extra", extra)
    assert len(read(parquet_of(table), PARQUET)) == len(read(stream_of(table), STREAM)) == 3


def test_rows_may_have_their_keys_in_any_order():
    rows = good_rows()
    rows[1] = dict(reversed(rows[1].items()))
    assert read(json.dumps(rows).encode()).value.tolist() == [0.5, 1.5, 2.5]


def test_only_some_rows_may_have_a_cutoff():
    body = json_of(forecast=True, cutoff="2025-03-01T11:00")
    rows = read(body, kind="forecasts")
    assert rows.cutoff.tolist() == [NO_CUTOFF, 1740826800000000, NO_CUTOFF]


def test_json_ids_may_be_numbers():
    assert read(json_of(unique_id=17)).ids == ("S0", "17", "S2")


AFTER_THE_MODEL = {
    "rows": (JSON, b'[{"unique_id": "A", "ds": "%s", "Ridge": 1, "y": 9}]' % TIME.encode()),
    "columns": (JSON, b'{"unique_id":["A"],"ds":["%s"],"Ridge":[1],"n":["x"]}' % TIME.encode()),
    "csv": (CSV, b"unique_id,ds,Ridge,note\nA,%s,1,x\n" % TIME.encode()),
    "stream": (STREAM, stream_of(frame(note=["x"] * 3).rename({"y": "Ridge"}))),
    "file": (FILE, file_of(frame(note=["x"] * 3).rename({"y": "Ridge"}))),
    "parquet": (PARQUET, parquet_of(frame(note=["x"] * 3).rename({"y": "Ridge"}))),
}


@pytest.mark.parametrize("form", AFTER_THE_MODEL)
def test_the_forecast_may_be_called_after_its_model(form):
    media_type, body = AFTER_THE_MODEL[form]
    assert len(read(body, media_type, "forecasts")) in {1, 3}


def test_csv_may_come_from_a_spreadsheet():
    body = b"\xef\xbb\xbf" + (HEAD + ROW + b'"B, the second",2025-03-01,"2"').replace(
        b"\n", b"\r\n"
    )
    rows = read(body, CSV)
    assert (rows.ids, rows.value.tolist()) == (("A", "B, the second"), [1.5, 2.0])


def test_csv_keeps_leading_zeros_and_quotes_in_ids():
    rows = read(HEAD + b'007,2025-03-01,1\n"a ""b""",2025-03-01,1\n', CSV)
    assert rows.ids == ("007", 'a "b"')


def test_lines_may_have_empty_lines_between_them():
    assert len(read(b"\n" + LINE + b"\n\n  " + LINE + b" \n", LINES)) == 2


@pytest.mark.parametrize(
    "media_type", ["text/csv; charset=UTF-8", 'TEXT/CSV;charset="utf-8"', "text/csv;header=present"]
)
def test_a_media_type_may_have_parameters(media_type):
    assert len(read(HEAD + ROW, media_type)) == 1


def test_bodies_are_read_by_many_threads_at_once():
    got = []

    def work():
        got.extend(len(read(body, media_type)) for media_type, body in FORMS.values())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [3] * 4 * len(FORMS)


# Limits.


@pytest.mark.parametrize("form", FORMS)
def test_a_body_of_too_many_rows_is_refused(form):
    media_type, body = FORMS[form]
    assert len(read(body, media_type, limits=BodyLimits(rows=3))) == 3
    refused(TooLargeError, "at most 2 rows", body, media_type, limits=BodyLimits(rows=2))


@pytest.mark.parametrize("form", FORMS)
def test_a_body_of_too_many_columns_is_refused(form):
    media_type, body = FORMS[form]
    assert len(read(body, media_type, limits=BodyLimits(columns=3))) == 3
    refused(TooLargeError, "at most 2 columns", body, media_type, limits=BodyLimits(columns=2))


@pytest.mark.parametrize("form", FORMS)
def test_a_body_of_too_many_bytes_is_refused(form):
    media_type, body = FORMS[form]
    assert len(read(body, media_type, limits=BodyLimits(bytes=len(body)))) == 3
    too_small = BodyLimits(bytes=len(body) - 1)
    refused(TooLargeError, "must have at most", body, media_type, limits=too_small)
    refused(TooLargeError, "must have at most", body, media_type, limits=too_small, encoding="")


def blown_up():
    ids = ["x" * 150_000] * 20
    return pl.DataFrame({"unique_id": ids, "ds": [MOMENT] * 20, "y": 1.0})


BOMBS = {
    "stream": (STREAM, stream_of(blown_up(), compression="zstd")),
    "file": (FILE, file_of(blown_up(), compression="lz4")),
    "parquet": (PARQUET, parquet_of(blown_up(), compression="zstd", use_dictionary=False)),
}


@pytest.mark.parametrize("form", BOMBS)
def test_what_blows_up_inside_is_refused_before_it_does(form):
    media_type, body = BOMBS[form]
    assert len(body) < 100_000
    refused(TooLargeError, "unpack to at most", body, media_type, limits=BodyLimits(unpacked=10**6))
    refused(BodyError, "200 characters", body, media_type)


def test_a_limit_must_be_positive():
    with pytest.raises(SettingsError, match="`rows`"):
        BodyLimits(rows=0)


# Content encodings.

PLAIN = HEAD + ROW * 1000
ENCODED = {
    "identity": PLAIN,
    "gzip": gzip.compress(PLAIN, mtime=0),
    "x-gzip": gzip.compress(PLAIN[:500], mtime=0) + gzip.compress(PLAIN[500:], mtime=0),
    "deflate": zlib.compress(PLAIN),
    " Deflate ": zlib.compress(PLAIN, wbits=-zlib.MAX_WBITS),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_a_body_may_be_compressed(encoding):
    assert len(read(ENCODED[encoding], CSV, encoding=encoding)) == 1000


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_any_compressed_format_is_read(encoding):
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    for media_type, body in FORMS.values():
        assert len(read(pack(body), media_type, encoding=encoding)) == 3


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "*", "gzip\n"[:3]])
def test_another_encoding_is_refused(encoding):
    refused(MediaTypeError, "Content-Encoding", PLAIN, CSV, encoding=encoding)


DAMAGED = {
    "not compressed": ("gzip", PLAIN),
    "without its checksum": ("gzip", ENCODED["gzip"][:-4]),
    "cut off": ("gzip", ENCODED["gzip"][:30]),
    "with bytes after it": ("gzip", ENCODED["gzip"] + b"more"),
    "with another checksum": ("gzip", ENCODED["gzip"][:-8] + bytes(8)),
    "deflated and cut off": ("deflate", ENCODED["deflate"][:-1]),
    "deflated with bytes after it": ("deflate", ENCODED["deflate"] + b"more"),
    "never deflated": ("deflate", b"\xff" * 100),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_encoding_is_refused(name):
    encoding, body = DAMAGED[name]
    refused(BodyError, f"cannot be unpacked as {encoding}", body, CSV, encoding=encoding)


def test_nothing_compressed_is_still_nothing():
    refused(BodyError, "no rows", gzip.compress(b""), CSV, encoding="gzip")
    refused(BodyError, "no rows", b"", CSV, encoding="gzip")


def test_a_bomb_is_not_unpacked():
    bomb = gzip.compress(bytes(50 * 2**20), 1)
    tracemalloc.start()
    refused(TooLargeError, "grow by more than 200 times", bomb, CSV, encoding="gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(bomb) * 2 * LIMITS.ratio


def test_what_unpacks_past_the_limit_is_refused():
    limits = BodyLimits(unpacked=len(PLAIN) - 1)
    refused(
        TooLargeError, "unpack to at most", ENCODED["gzip"], CSV, limits=limits, encoding="gzip"
    )


def test_json_may_not_be_larger_for_being_compressed():
    body = gzip.compress(b" " * 5000 + json_of())
    refused(TooLargeError, "at most", body, limits=BodyLimits(bytes=5000), encoding="gzip")


def test_a_body_may_be_compressed_to_a_size_that_is_allowed():
    limits = BodyLimits(bytes=len(PLAIN) // 2)
    assert len(read(ENCODED["gzip"], CSV, limits=limits, encoding="gzip")) == 1000


def test_an_opened_body_may_be_read_in_pieces():
    stream = opened(io.BytesIO(ENCODED["gzip"]), "gzip", LIMITS)
    assert stream.readable()
    assert b"".join(iter(lambda: stream.read(7), b"")) == PLAIN
    assert opened(io.BytesIO(ENCODED["gzip"]), "gzip", LIMITS).read() == PLAIN


def test_times_of_a_body_are_those_of_the_zone_of_the_grid():
    door = Door(Periods(DOOR.periods.batch, DOOR.periods.slot, "Asia/Kolkata"), NOW)
    for form in ("rows", "csv", "stream", "parquet"):
        media_type, body = FORMS[form]
        rows = read(body, media_type, door=door)
        assert rows.instant[0].item() == datetime(2025, 3, 1, 5, 45)
