"""Properties of bodies: formats agree, and nothing but a refusal comes of damaged bytes."""

import gzip
import io
import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bad_bodies import (
    BATCH,
    CSV,
    FILE,
    JSON,
    LINES,
    NOW,
    PARQUET,
    SLOT,
    STREAM,
    file_of,
    frame,
    parquet_of,
    stream_of,
)
from mlma.adapters.bodies import BodyError, BodyLimits, opened, read_body
from mlma.adapters.frames.rows import Door, named_rows
from mlma.domain.inbox import NO_CUTOFF
from mlma.domain.periods import Periods

PERIODS = Periods(BATCH.astype("timedelta64[us]"), SLOT.astype("timedelta64[us]"))
DOOR = Door(PERIODS, NOW)
LIMITS = BodyLimits()

names = st.one_of(
    st.text("abcXYZ019 -_/.,;:'\"äß日", min_size=1, max_size=12).filter(lambda name: name.strip()),
    st.integers(0, 10**18).map(str),
)
slots = st.integers(0, 96 * 300).map(
    lambda slot: datetime(2024, 5, 1) + slot * timedelta(minutes=15)
)
values = st.floats(allow_nan=False, allow_infinity=False)
rows = st.lists(
    st.fixed_dictionaries(
        {"unique_id": names, "ds": slots, "y_hat": values, "cutoff": st.none() | st.just(1)}
    ).map(lambda row: row | {"cutoff": row["ds"] - timedelta(hours=5) if row["cutoff"] else None}),
    min_size=1,
    max_size=30,
)
SCHEMA = {"unique_id": pl.String, "ds": pl.Datetime, "y_hat": pl.Float64, "cutoff": pl.Datetime}


def read(media_type, body, kind="forecasts", door=DOOR):
    return read_body(io.BytesIO(body), media_type, kind, door, LIMITS)


def written(table):
    """The same rows in every format."""
    iso = table.with_columns(pl.col("ds", "cutoff").dt.strftime("%Y-%m-%dT%H:%M:%S"))
    dicts = iso.to_dicts()
    coded = table.with_columns(pl.col("unique_id").cast(pl.Categorical))
    return [
        (JSON, json.dumps(dicts).encode()),
        (
            JSON,
            json.dumps([{k: v for k, v in row.items() if v is not None} for row in dicts]).encode(),
        ),
        (JSON, json.dumps(iso.to_dict(as_series=False), ensure_ascii=False).encode()),
        (LINES, "\n".join(map(json.dumps, dicts)).encode()),
        (CSV, iso.write_csv(quote_style="non_numeric").encode()),
        (CSV, iso.write_csv(float_scientific=True).encode()),
        (STREAM, stream_of(table, compression="lz4")),
        (STREAM, stream_of(coded)),
        (FILE, file_of(table)),
        (PARQUET, parquet_of(table, row_group_size=7)),
        (PARQUET, parquet_of(coded, data_page_version="2.0")),
    ]


@settings(max_examples=30, deadline=None)
@given(rows)
def test_every_format_gives_the_same_rows(given_rows):
    table = pl.DataFrame(given_rows, schema=SCHEMA)
    cutoffs = [row["cutoff"] for row in given_rows]
    expected = [NO_CUTOFF if at is None else np.datetime64(at, "us").astype(int) for at in cutoffs]
    for media_type, body in written(table):
        got = read(media_type, body)
        assert got.ids == tuple(dict.fromkeys(table["unique_id"]))
        assert [got.ids[code] for code in got.code] == table["unique_id"].to_list()
        assert got.instant.tolist() == table["ds"].to_list()
        assert got.value.tolist() == table["y_hat"].to_list()
        assert (got.cutoff is None) == (set(cutoffs) == {None})
        assert got.cutoff is None or got.cutoff.tolist() == expected


@settings(max_examples=30, deadline=None)
@given(rows, st.data())
def test_a_pulled_frame_loses_exactly_the_rows_that_a_pushed_one_is_refused_for(given_rows, data):
    table = pl.DataFrame(given_rows, schema=SCHEMA)
    bad = data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table)))
    spoilt = table.with_columns(y_hat=pl.when(pl.Series(bad)).then(None).otherwise("y_hat"))
    pulled = named_rows(spoilt, "forecasts", DOOR, strict=False)
    kept = table.filter(~pl.Series(bad))
    assert [pulled.ids[code] for code in pulled.code] == kept["unique_id"].to_list()
    assert pulled.ids == tuple(dict.fromkeys(kept["unique_id"]))
    assert sum(entry.count for entry in pulled.left_out) == sum(bad)
    if any(bad):
        with pytest.raises(BodyError) as caught:
            named_rows(spoilt, "forecasts", DOOR, strict=True)
        assert (caught.value.row, caught.value.column) == (bad.index(True) + 1, "y_hat")


@settings(max_examples=15, deadline=None)
@given(rows, st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kolkata"]))
def test_times_in_utc_are_the_same_in_every_zone(given_rows, zone):
    table = pl.DataFrame(given_rows, schema=SCHEMA)
    utc = table.with_columns(pl.col("ds", "cutoff").dt.replace_time_zone("UTC"))
    there = utc.with_columns(pl.col("ds", "cutoff").dt.convert_time_zone(zone))
    door = Door(Periods(PERIODS.batch, PERIODS.slot, zone), NOW)
    for given_table in (utc, there):
        got = named_rows(given_table, "forecasts", door, strict=True)
        assert got.instant.tolist() == table["ds"].to_list()


GOOD = [
    *((JSON, frame(ds=["2025-03-01"] * 3).write_json().encode()),),
    (LINES, frame(ds=["2025-03-01"] * 3).write_ndjson().encode()),
    (CSV, frame().write_csv().encode()),
    (STREAM, stream_of(frame(), compression="zstd")),
    (FILE, file_of(frame())),
    (PARQUET, parquet_of(frame())),
    (PARQUET, parquet_of(frame(), use_dictionary=False, data_page_version="2.0")),
]

changes = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(
            [b"", b"\x00", b"\xff", b"\xff\xff\xff\x7f", b"\x80" * 8, b'"', b",", b"[{"]
        )
        | st.binary(min_size=1, max_size=4),
        st.integers(0, 8),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(GOOD), changes, st.booleans())
def test_damaged_bytes_are_refused_or_read_but_never_worse(good, wanted, packed):
    media_type, body = good
    for at, piece, gone in wanted:
        start = at % (len(body) + 1)
        body = body[:start] + piece + body[start + gone :]
    stream = io.BytesIO(gzip.compress(body) if packed else body)
    try:
        opened_stream = opened(stream, "gzip" if packed else None, LIMITS)
        got = read_body(opened_stream, media_type, "actuals", DOOR, LIMITS)
    except BodyError:
        return
    assert len(got) == len(got.value) == len(got.instant) > 0
    assert np.isfinite(got.value).all()


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["unique_id", "ds", "y", "a"]), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_any_json_is_refused_or_read_but_never_worse(document):
    body = json.dumps(document).encode()
    for media_type in (JSON, LINES):
        try:
            got = read(media_type, body, "actuals")
        except BodyError:
            continue
        assert len(got) > 0
