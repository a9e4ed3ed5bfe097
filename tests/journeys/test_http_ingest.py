"""Rows come in over HTTP: all formats, large and small, and whatever should not come in."""

import asyncio
import gzip
import io
import json
import zlib

import numpy as np
import polars as pl
import pytest

from http_client import JSON, START, day_rows, names, serving, settings
from mlma.service.bootstrap import build
from mlma.service.tables import StoreTable
from mlma.web.uploads import UploadLimits

FORECASTS = "/api/v1/forecasts"
ROWS = pl.DataFrame(
    {
        "unique_id": ["a", "b", "a"],
        "ds": [f"{START:%Y-%m-%d}T0{hour}:00:00" for hour in (0, 0, 1)],
        "y_hat": [1.0, 2.0, 3.0],
    }
)


def written(frame, media_type):
    made = io.BytesIO()
    writers = {
        "application/json": frame.write_json,
        "application/x-ndjson": frame.write_ndjson,
        "text/csv": frame.write_csv,
        "application/vnd.apache.arrow.stream": frame.write_ipc_stream,
        "application/vnd.apache.arrow.file": frame.write_ipc,
        "application/vnd.apache.parquet": frame.write_parquet,
    }
    writers[media_type](made)
    return made.getvalue()


FORMATS = (
    "application/json",
    "application/x-ndjson",
    "text/csv",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.arrow.file",
    "application/vnd.apache.parquet",
)


def stored(service):
    """All rows of the store, as (stream, place, value)."""
    names = service.store.streams()
    return sorted(
        (names[stream], int(place), float(value))
        for period in service.store.periods()
        for parcel in service.store.parcels("forecasts", period)
        for stream, place, value in zip(
            parcel.rows.stream, parcel.rows.place, parcel.rows.value, strict=True
        )
    )


@pytest.fixture(scope="module")
def small():
    """An agent that takes bodies of at most 64 KiB."""
    with serving(settings(server={"max_body": "64KiB", "requests_per_minute": 0})) as both:
        yield both


@pytest.mark.parametrize("media_type", FORMATS)
@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_every_format_and_encoding_stores_the_same_rows(media_type, encoding):
    packed = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    headers = {"Content-Type": media_type, "Content-Encoding": encoding}
    with serving() as (client, service):
        made = client.post(FORECASTS, content=packed(written(ROWS, media_type)), headers=headers)
        assert made.status_code == 201, made.text
        assert made.json() == {"rows": 3, "new_streams": 2, "number": 1}
        assert stored(service) == [("a", 0, 1.0), ("a", 1, 3.0), ("b", 0, 2.0)]


def test_an_answer_means_that_another_process_would_find_the_rows(tmp_path):
    told = settings().model_copy(update={"store": StoreTable(url=f"sqlite:///{tmp_path}/a.db")})
    with serving(told) as (client, _):
        for day in range(3):
            body = json.dumps(day_rows(np.random.default_rng(day), day, names(5))[0])
            assert client.post(FORECASTS, content=body, headers=JSON).status_code == 201
            other = build(told)
            assert len(stored(other)) == 5 * 24 * (day + 1)
            other.stop(5.0)


def test_bodies_that_come_at_once_are_all_stored():
    with serving() as (client, service):

        async def send_all():
            rows = [ROWS.with_columns(y_hat=pl.lit(float(n))).write_json() for n in range(40)]
            sent = [client.send("POST", FORECASTS, content=one, headers=JSON) for one in rows]
            return await asyncio.gather(*sent)

        answers = client.call(send_all)
        assert [answer.status_code for answer in answers] == [201] * 40
        assert sum(answer.json()["new_streams"] for answer in answers) == 2
        values = sorted({value for _, _, value in stored(service)})
        assert values == [float(n) for n in range(40)]


def refused(answer, status):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "row", "column", "hint"}
    assert error["message"]
    return error


def test_a_bad_row_is_named_and_nothing_of_its_body_is_stored(small):
    client, service = small
    before = stored(service)
    bad = ROWS.with_columns(y_hat=pl.Series([1.0, float("nan"), 3.0]))
    for media_type in ("application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"):
        answer = client.post(
            FORECASTS, content=written(bad, media_type), headers={"Content-Type": media_type}
        )
        error = refused(answer, 422)
        assert (error["row"], error["column"]) == (2, "y_hat")
    assert stored(service) == before


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"", JSON, 400),
        (b"[1]", {"Content-Type": "application/xml"}, 415),
        (b"[1]", {}, 415),
        (b"[]", JSON | {"Content-Encoding": "br"}, 415),
        (b"[]", JSON | {"Content-Encoding": "gzip, gzip"}, 415),
        (b"[]", JSON | {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"[1]" * 1000)[:-10], JSON | {"Content-Encoding": "gzip"}, 400),
        (b"PAR1 and no more", {"Content-Type": "application/vnd.apache.parquet"}, 400),
    ],
    ids=[
        *("half a document", "nothing", "XML", "no type", "an encoding that is not known"),
        *("encoded twice", "not encoded at all", "cut off", "half a file"),
    ],
)
def test_a_body_that_cannot_be_read_is_the_fault_of_its_sender(small, content, headers, status):
    client, service = small
    before = service.store.periods()
    refused(client.post(FORECASTS, content=content, headers=headers), status)
    assert service.store.periods() == before


def test_a_body_that_says_it_is_too_large_is_not_even_read(small):
    client, _ = small
    asked = []

    async def body():
        asked.append(1)
        yield b"["

    headers = JSON | {"Content-Length": str(2**40)}
    refused(client.post(FORECASTS, content=body(), headers=headers), 413)


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(small):
    client, service = small
    sent = []

    async def endless():
        for _ in range(10_000):
            sent.append(1)
            yield b" " * 1000

    before = service.store.periods()
    refused(client.post(FORECASTS, content=endless(), headers=JSON), 413)
    assert service.store.periods() == before


def test_a_small_body_that_unpacks_to_a_large_one_is_refused(small):
    client, _ = small
    bomb = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
    assert len(bomb) < 64 * 1024
    refused(client.post(FORECASTS, content=bomb, headers=JSON | {"Content-Encoding": "gzip"}), 413)


def test_a_document_for_models_is_held_to_the_same_limit(small):
    client, _ = small
    body = json.dumps({"unique_ids": ["a" * 400] * 500, "status": "live"})
    refused(client.post("/api/v1/models", content=body, headers=JSON), 413)


def test_a_sender_that_falls_silent_is_given_up(small):
    client, _ = small
    desk = client.app.state.desk
    limits = desk.uploads.limits
    desk.uploads.limits = UploadLimits(max_body=1000, silence=0.05)

    async def hesitant():
        yield b"["
        await asyncio.sleep(0.5)
        yield b"]"

    try:
        refused(client.post(FORECASTS, content=hesitant(), headers=JSON), 408)
    finally:
        desk.uploads.limits = limits


def test_more_bodies_at_once_than_there_is_room_for_are_sent_away(small):
    client, _ = small
    desk = client.app.state.desk
    limits = desk.uploads.limits
    desk.uploads.limits = UploadLimits(at_once=0)
    try:
        answer = client.post(FORECASTS, content=b"[]", headers=JSON)
    finally:
        desk.uploads.limits = limits
    refused(answer, 503)
    assert answer.headers["retry-after"] == "1"


def test_rows_a_minute_are_counted_per_sender_and_a_debt_is_paid_first():
    with serving(settings(server={"rows_per_minute": 100})) as (client, service):
        body = json.dumps(day_rows(np.random.default_rng(0), 0, names(5))[0])
        assert client.post(FORECASTS, content=body, headers=JSON).status_code == 201
        before = service.store.periods()
        answer = client.post(FORECASTS, content=body, headers=JSON)
        refused(answer, 429)
        assert int(answer.headers["retry-after"]) >= 1
        assert service.store.periods() == before


def test_unknown_streams_are_refused_where_the_settings_say_so():
    told = settings()
    streams = told.streams.model_copy(update={"unknown": "refuse"})
    with serving(told.model_copy(update={"streams": streams})) as (client, service):
        answer = client.post(FORECASTS, content=ROWS.write_json(), headers=JSON)
        error = refused(answer, 422)
        assert "not registered" in error["message"]
        assert service.store.periods() == {}


def test_where_the_store_is_away_the_sender_is_asked_to_come_again(tmp_path):
    path = tmp_path / "a.db"
    told = settings().model_copy(update={"store": StoreTable(url=f"sqlite:///{path}")})
    with serving(told) as (client, _):
        for file in tmp_path.iterdir():
            file.write_bytes(b"no database" * 1000)
        answer = client.post(FORECASTS, content=ROWS.write_json(), headers=JSON)
        refused(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
        refused(client.get("/api/v1/streams"), 503)
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert not ready.json()["store"]
        assert client.get("/health").status_code == 200
        assert "mlma_store_up 0.0" in client.get("/metrics").text


def test_what_came_in_and_what_was_refused_is_counted():
    with serving() as (client, _):
        client.post(FORECASTS, content=ROWS.write_json(), headers=JSON)
        client.post(FORECASTS, content=b"{", headers=JSON)
        client.get("/no/such/path")
        told = client.get("/metrics").text
    assert 'mlma_rows_total{kind="forecasts"} 3.0' in told
    assert 'mlma_bodies_total{kind="forecasts"} 1.0' in told
    assert 'mlma_refused_total{reason="400"} 1.0' in told
    counted = 'mlma_http_requests_total{method="POST",route="/api/v1/forecasts",status="201"} 1.0'
    assert counted in told
    assert 'route="other"' in told
    assert "/no/such/path" not in told
