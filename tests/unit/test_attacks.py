"""Attacks on the parts of the service: each is one that somebody could make."""

import gzip
import io
import json
import socket
from time import perf_counter

import pytest

from http_client import JSON, SECRETS, Client, key, serving, settings
from mlma.adapters.bodies import BodyLimits, TooLargeError, opened
from mlma.adapters.notify.addresses import is_public
from mlma.adapters.notify.sender import Sender
from mlma.adapters.store.addresses import address_of
from mlma.domain.errors import SettingsError, StoreError
from mlma.service.logs import clean_text
from mlma.web.app import create_app
from mlma.web.errors import refusal_of

NOT_PUBLIC = (
    *("127.0.0.1", "0.0.0.0", "10.1.2.3", "100.64.0.1", "169.254.169.254", "168.63.129.16"),
    *("192.0.0.192", "192.88.99.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1"),
    *("64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "fe80::1%lo", "fec0::1"),
    *("fd00:ec2::254", "ff02::1", "100::1", "5f00::1", "3fff::1", "2001:db8::1", "4000::1"),
    *("2a00:1450::5efe:a00:1", "2a00:1450::200:5efe:7f00:1"),
)
PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2a00:1450:4001::1")


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_form_of_an_inner_address_passes_for_a_public_one(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public_in_all_its_forms(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f.1", "017700000001", "127.1", "0", "[::ffff:127.0.0.1]", "[fec0::1]"),
        *("[::ffff:0:127.0.0.1]", "8.8.8.8@127.0.0.1", "8.8.8.8:80@127.0.0.1:80"),
        *("127.0.0.1#@8.8.8.8", "127。0。0。1", "127.0.0.1%00.example", "[::]"),
    ],
)
def test_a_webhook_is_not_talked_into_an_inner_address(host):
    with pytest.raises(SettingsError):
        Sender(f"http://{host}/hook")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1."])
def test_a_name_of_this_machine_is_refused_before_anything_is_sent(host):
    import httpx

    with socket.create_server(("127.0.0.1", 0)) as listener, httpx.HTTPTransport() as transport:
        listener.settimeout(0.05)
        sender = Sender(f"http://{host}:{listener.getsockname()[1]}/hook", timeout=1.0)
        trouble = sender.post(transport, b"{}", "id", 0)
        assert trouble is not None
        with pytest.raises(TimeoutError):
            listener.accept()


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"no answer of postgresql://mlma:{SECRET}@db.example/mlma",
        f"no answer of postgresql://mlma:pa@{SECRET}@db.example/mlma",
        f"no answer of postgresql://mlma:pa/{SECRET}@db.example/mlma",
        f"no answer of postgresql://db.example/mlma?user=mlma&password={SECRET}&x=1",
        f"host=db.example password='{SECRET} word' dbname=mlma",
        f"%5: sasl.password={SECRET}",
        f"posting to https://desk.example/hook?token={SECRET}",
    ],
)
def test_no_way_to_write_a_password_gets_it_into_a_log(text):
    assert "hunter2" not in clean_text(text)


def test_a_key_is_hidden_whatever_stands_around_it():
    secret = "mlma_" + "a" * 43
    for text in (f"x{secret}", f"_{secret}b", f'"{secret}"', f"key={secret}&"):
        assert "a" * 20 not in clean_text(text)


@pytest.mark.parametrize("part", ["a.", "a://", "a://a@", "mlma_", "bearer ", "password=", "a_"])
def test_a_long_text_of_a_stranger_does_not_hold_up_the_log(part):
    begun = perf_counter()
    clean_text(part * (100_000 // len(part)))
    assert perf_counter() - begun < 2.0  # it took half a minute


def test_an_answer_does_not_tell_the_password_of_the_store():
    error = StoreError(
        f"The store postgresql://db/x?password={SECRET} refused. Hint: ask {SECRET}."
    )
    told = refusal_of(error).detail.message
    assert "hunter2" not in told


def test_half_a_password_is_not_taken_for_a_host():
    with pytest.raises(StoreError) as caught:
        address_of(f"postgresql://mlma:pa@{SECRET}@db.example/mlma")
    assert "hunter2" not in str(caught.value)


def test_a_body_of_very_many_empty_members_is_not_read_to_its_end():
    body = io.BytesIO(gzip.compress(b"") * 300_000)
    begun = perf_counter()
    with pytest.raises(TooLargeError, match="members"):
        opened(body, "gzip", BodyLimits()).read()
    assert perf_counter() - begun < 5.0


@pytest.fixture(scope="module")
def asked():
    with serving(settings()) as (client, _):
        body = [{"unique_id": "a", "ds": "2024-01-01T00:00:00", "y": 1.0}]
        assert client.post("/api/v1/actuals", json=body).status_code == 201
        yield client


@pytest.mark.parametrize(
    "media_type",
    [
        *("text/csv; a=" + "(" * 50_000, "(" * 60_000, "text/csv; " + '"' * 20_000),
        *("a/b;" * 15_000, "(" * 200, '"' * 200, "text/csv;" + "a*0=b;" * 30, "text/csv; a=((((("),
    ],
    ids=range(8),
)
def test_a_media_type_that_is_hard_to_read_is_refused_at_once(asked, media_type):
    begun = perf_counter()
    made = asked.post("/api/v1/actuals", content="x", headers={"Content-Type": media_type})
    assert made.status_code in {415, 422}, made.text[:300]
    assert perf_counter() - begun < 1.0


@pytest.mark.parametrize("text", ["\ud800", "\0", "a\nb", ""])
@pytest.mark.parametrize("field", ["request", "requests", "unique_ids"])
def test_a_name_that_no_database_takes_is_refused_and_not_to_be_sent_again(asked, field, text):
    told = {"unique_ids": ["a"], "status": "failed"}
    told |= {"request": [text]} if field == "requests" else {field: text}
    if field == "unique_ids":
        told[field] = [text]
    made = asked.post("/api/v1/models", content=json.dumps(told), headers=JSON)
    assert made.status_code == 422, made.text


def test_tags_of_a_stream_that_cannot_be_are_refused(asked):
    told = json.dumps({"tags": {"city": {"a\0": "Ghent"}}})
    assert asked.post("/api/v1/tags", content=told, headers=JSON).status_code == 422


@pytest.mark.parametrize(
    "now",
    [
        *("2199-12-31T23:59:59-14:00", "1990-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
        *("0001-01-01T00:00:00+14:00", 2**63, -1e18),
    ],
)
def test_a_time_at_the_edge_of_what_there_is_sets_no_clock(asked, now):
    assert asked.post("/api/v1/clock", json={"now": now}).status_code == 422


def test_a_field_of_a_mebibyte_is_not_sent_back(asked):
    made = asked.post("/api/v1/clock", json={"now": "2024-01-01T00:00:00Z", "x" * 2**20: 1})
    assert made.status_code == 422
    assert len(made.content) < 2000


@pytest.mark.parametrize("number", [2**31, 2**40, 2**53])
def test_a_cursor_that_was_tampered_with_finds_nothing_and_breaks_nothing(asked, number):
    from mlma.web.cursors import cursor

    for path, listing, numbers in (
        *(("streams", "streams", 1), ("models", "models", 1), ("evidence", "evidence", 3)),
        *(("evidence?unique_id=a", "history", 1), ("decisions", "decisions", 1)),
        *(("incidents", "incidents", 1), ("requests", "requests", 1)),
        *(("actions", "actions", 1), ("exclusions", "exclusions", 1)),
        *(("cycles", "cycles newest False", 2), ("deliveries", "deliveries", 1)),
    ):
        sign = "&" if "?" in path else "?"
        made = asked.get(f"/api/v1/{path}{sign}cursor={cursor(listing, *[number] * numbers)}")
        assert made.status_code in {200, 404}, made.text
        assert made.status_code == 404 or made.json() == {"rows": [], "next": None}


@pytest.mark.parametrize("address", ["192.168.1.5", "8.8.8.8", "fe80::1", "testclient"])
def test_without_keys_another_machine_is_refused_whatever_host_it_names(asked, address):
    other = Client(asked.app, asked._portal, address=address)
    assert other.get("/api/v1/streams").status_code == 403


def test_without_keys_who_came_over_a_proxy_is_refused_and_no_text_of_his_is_kept(caplog):
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    with serving(settings()) as (client, service):
        app = ProxyHeadersMiddleware(create_app(service), trusted_hosts="127.0.0.1")
        behind = Client(app, client._portal)
        for told in ("203.0.113.7", "x level=error", "127.0.0.1 x"):
            made = behind.get("/api/v1/streams", headers={"X-Forwarded-For": told})
            assert made.status_code == 403
    assert "level=error" not in caplog.text


def test_an_address_that_a_proxy_made_up_names_nobody_in_the_log(caplog):
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    caplog.set_level("INFO", logger="mlma.web.access")
    with serving(settings(keys=True)) as (client, service):
        app = ProxyHeadersMiddleware(create_app(service), trusted_hosts="127.0.0.1")
        behind = Client(app, client._portal)
        behind.get("/health", headers={"X-Forwarded-For": "key:engineer"})
        assert [record.by for record in caplog.records][-1] == "address:?"


def test_large_documents_wait_in_their_files_for_each_other():
    import asyncio

    with serving(settings(keys=True)) as (client, _):
        uploads = client.app.state.desk.uploads
        most = uploads.limits.large_documents
        for _ in range(most):
            client.call(uploads.large.acquire)
        large = b'{"unique_ids": ["a"], "status": "failed", "error": "' + b"x" * 2**21 + b'"}'
        send = {"content": large, "headers": {**JSON, **key("ingest")}}

        async def waits():
            task = asyncio.ensure_future(client.send("POST", "/api/v1/models", **send))
            done, _ = await asyncio.wait({task}, timeout=0.2)
            uploads.large.release()
            made = await task
            return not done, made.status_code

        assert client.call(waits) == (True, 422)
        assert uploads.large._value == 1


def test_a_sender_that_drips_is_given_up():
    import asyncio

    from mlma.web.uploads import UploadLimits

    with serving(settings()) as (client, _):
        client.app.state.desk.uploads.limits = UploadLimits(silence=0.2, slowest=1000)

        async def drops():
            for _ in range(100):
                yield b"["
                await asyncio.sleep(0.05)

        begun = perf_counter()
        made = client.post("/api/v1/actuals", content=drops(), headers=JSON)
        assert made.status_code == 408
        assert perf_counter() - begun < 2.0


def test_no_page_and_no_answer_holds_what_came_with_the_request():
    with serving(settings(keys=True)) as (client, _):
        attack = "<script>alert(1)</script>"
        for path in ("/docs", "/openapi.json", f"/{attack}", f"/api/v1/streams?tag={attack}"):
            made = client.get(path, headers={"Host": attack, "X-API-Key": SECRETS["read"]})
            assert "text/html" not in made.headers["content-type"] or attack not in made.text
            assert all(secret not in made.text for secret in SECRETS.values())
