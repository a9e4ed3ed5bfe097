"""What people and trainers do to the agent over HTTP, and what comes of it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from http_client import JSON, START, clock_at, key, lived, names, serving, settings

STREAMS = names(6)


@pytest.fixture(scope="module")
def asked():
    """An agent whose streams ask for a new version at the age of three cycles."""
    told = settings(policy="mlma(max_age=3)", server={"requests_per_minute": 0})
    with serving(told) as (client, service):
        lived(client, 8, STREAMS)
        yield client, service


def open_requests(client):
    return {row["unique_id"]: row["id"] for row in client.rows("/api/v1/requests", status="open")}


def refused(answer, status, column=None):
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["column"] == column
    return answer.json()["error"]


def held_out(name, days=5, loss=1.0):
    times = [f"{START:%Y}-01-0{day + 1}T{hour:02}:00:00" for day in range(days) for hour in (0, 12)]
    return {"unique_id": [name] * len(times), "ds": times, "loss": [loss] * len(times)}


def test_a_new_version_closes_its_request_and_is_live_after_the_next_cycle():
    told = settings(policy="mlma(max_age=3)")
    with serving(told) as (client, _):
        lived(client, 8, STREAMS)
        asked = open_requests(client)
        name = min(asked)
        body = {
            "unique_ids": [name],
            "status": "live",
            "request": asked[name],
            "why": "by hand",
            "held_out": held_out(name),
        }
        answer = client.post("/api/v1/models", json=body)
        assert answer.status_code == 202, answer.text
        assert name not in open_requests(client)
        (done,) = client.rows("/api/v1/requests", status="done")
        assert done["id"] == asked[name]
        lived(client, 1, STREAMS, first=8)
        models = {row["unique_id"]: row for row in client.rows("/api/v1/models")}
        assert models[name]["version"] == 2
        assert models[name]["age"] == 1
        assert {models[other]["version"] for other in STREAMS if other != name} == {1}
        again = client.post("/api/v1/models", json=body)
        refused(again, 409)


def test_a_failed_training_is_told_and_the_old_version_stays():
    with serving(settings(policy="mlma(max_age=3)")) as (client, service):
        lived(client, 8, STREAMS)
        asked = open_requests(client)
        name = min(asked)
        body = {"unique_ids": [name], "status": "failed", "request": [asked[name]], "error": "no"}
        assert client.post("/api/v1/models", json=body).status_code == 202
        (failed,) = client.rows("/api/v1/requests", status="failed")
        assert failed["id"] == asked[name]
        (action,) = service.store.actions()
        assert (action.kind, action.why) == ("failed", "no")
        assert action.by == "address:127.0.0.1"
        lived(client, 1, STREAMS, first=8)
        assert {row["version"] for row in client.rows("/api/v1/models")} == {1}


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"status": "alive"}, "status"),
        ({"unique_ids": []}, "unique_ids"),
        ({"unique_ids": ["nobody"], "held_out": None}, None),
        ({"extra": 1}, "extra"),
        ({"held_out": {"unique_id": ["stream 0"], "loss": [1.0]}}, "held_out.ds"),
        ({"held_out": held_out("stream 0") | {"loss": [1.0]}}, "held_out"),
        ({"held_out": held_out("stream 1")}, "held_out.unique_id"),
        ({"held_out": held_out("stream 0") | {"ds": ["soon"] * 10}}, "held_out"),
        ({"status": "failed"}, "held_out"),
    ],
)
def test_what_is_wrong_with_a_report_is_named_and_nothing_is_recorded(asked, change, column):
    client, service = asked
    before = service.store.actions()
    body = {"unique_ids": ["stream 0"], "status": "live", "held_out": held_out("stream 0")}
    refused(client.post("/api/v1/models", json=body | change), 422, column)
    assert service.store.actions() == before


def test_a_request_that_nobody_knows_is_a_conflict(asked):
    client, service = asked
    before = service.store.actions()
    body = {"unique_ids": ["stream 0"], "status": "live", "request": "f" * 32}
    refused(client.post("/api/v1/models", json=body), 409)
    assert service.store.actions() == before


def test_a_document_that_is_no_json_is_told_so(asked):
    client, _ = asked
    for content in (b"{", b"\xff\xfe", b""):
        answer = client.post("/api/v1/models", content=content, headers=JSON)
        assert answer.status_code in {400, 422}
        assert answer.json()["error"]["message"]


def test_tags_are_read_at_once_and_a_later_value_replaces_an_earlier_one():
    with serving() as (client, _):
        lived(client, 1, STREAMS)
        first = {"tags": {"city": {"stream 0": "Ghent", "stream 1": "Ghent"}}}
        assert client.post("/api/v1/tags", json=first).status_code == 202
        assert client.post("/api/v1/tags", json={"tags": {"city": {"stream 0": "Lier"}}}).is_success
        found = client.rows("/api/v1/streams", tag="city=Ghent")
        assert [row["unique_id"] for row in found] == ["stream 1"]
        assert client.rows("/api/v1/streams")[0]["tags"] == {"city": "Lier"}


@pytest.mark.parametrize(
    "tags", [{}, {"": {"a": "b"}}, {"a=b": {"a": "b"}}, {"a": {"": "b"}}, {"a": {"b": 1}}, [1]]
)
def test_tags_that_cannot_be_selected_by_are_refused(asked, tags):
    client, _ = asked
    assert client.post("/api/v1/tags", json={"tags": tags}).status_code == 422


def test_a_simulated_clock_is_set_but_never_back():
    with serving() as (client, service):
        told = client.post("/api/v1/clock", json=clock_at(3))
        assert told.status_code == 200
        assert service.clock.now().isoformat() == "2024-01-04T01:00:00+00:00"
        refused(client.post("/api/v1/clock", json=clock_at(2)), 422)
        refused(client.post("/api/v1/clock", json={"now": "2024-01-05T00:00:00"}), 422, "now")
        refused(client.post("/api/v1/clock", json={"now": "9999-12-31T23:59:59Z"}), 422, "now")
        assert service.clock.now().isoformat() == "2024-01-04T01:00:00+00:00"


def test_the_clock_on_the_wall_is_not_set():
    with serving(settings(clock="wall")) as (client, _):
        refused(client.post("/api/v1/clock", json=clock_at(3)), 409)


def test_a_look_tells_what_it_judged_and_what_the_next_batch_waits_for():
    with serving() as (client, _):
        assert client.post("/api/v1/cycle").json()["cycles"] == []
        lived(client, 2, STREAMS)
        told = client.post("/api/v1/cycle").json()
        assert told["cycles"] == []
        assert told["leads"]
        assert "end" in told["waits_for"]


def test_a_running_agent_is_ready_and_a_stopped_one_is_not():
    with serving() as (client, service):
        assert client.get("/ready").status_code == 503
        service.start()
        deadline = threading.Event()
        for _ in range(100):
            if client.get("/ready").status_code == 200:
                break
            deadline.wait(0.05)
        told = client.get("/ready")
        assert told.status_code == 200
        assert told.json() == {
            "ready": True,
            "store": True,
            "scheduler": True,
            "reasons": [],
            "waits_for": told.json()["waits_for"],
        }
        service.scheduler.stop(5.0)
        assert client.get("/ready").json()["reasons"] == ["the scheduler does not run"]
        assert client.get("/health").json() == {"status": "ok"}


GOT = []


class Desk(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        GOT.append(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_test_message_reaches_its_webhook_and_the_delivery_is_listed():
    with HTTPServer(("127.0.0.1", 0), Desk) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/hook"
        hook = {"name": "desk", "url": url, "allow_private": True}
        with serving(settings(keys=True, webhooks=[hook])) as (client, service):
            service.start()
            sent = client.post("/api/v1/webhooks/test", headers=key("admin"))
            assert sent.status_code == 202
            assert sent.json()["targets"] == ["desk"]
            waited = threading.Event()
            for _ in range(100):
                rows = client.get("/api/v1/deliveries", headers=key("read")).json()["rows"]
                if rows and rows[0]["status"] == "delivered":
                    break
                waited.wait(0.05)
            assert [row["status"] for row in rows] == ["delivered"]
            assert rows[0]["id"] == sent.json()["event"]
        server.shutdown()
        thread.join()
    assert [one["id"] for one in GOT] == [sent.json()["event"]]
    assert GOT[0]["document"] == {"by": "key:key-admin"}


def test_without_webhooks_there_is_nothing_to_test(asked):
    client, _ = asked
    refused(client.post("/api/v1/webhooks/test"), 409)
