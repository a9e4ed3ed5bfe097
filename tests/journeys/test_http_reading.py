"""What an agent saw and decided over forty days is read over HTTP, page after page."""

import io
import json
import re

import numpy as np
import polars as pl
import pytest

from http_client import JSON, START, clock_at, day_rows, lived, names, serving, settings
from mlma.agent.cycle import monitor_of
from mlma.domain.ledger import unpacked
from mlma.domain.settings import policy_from
from mlma.steps.show import shown

STREAMS = [*names(19), "=stream"]
LISTINGS = ("streams", "evidence", "decisions", "incidents", "models", "requests", "cycles")
DAYS = 40


@pytest.fixture(scope="module")
def lived_through():
    """Twenty streams; two of them lose four times as much on the last ten days."""
    told = settings(server={"requests_per_minute": 0}, policy="mlma(reference_batches=14)")
    with serving(told) as (client, service):
        tags = {
            "city": {name: "Ghent" if row % 2 else "Bruges" for row, name in enumerate(STREAMS)}
        }
        tags["mode"] = {"stream 1": "bus", "stream 2": "bus"}
        assert client.post("/api/v1/tags", json={"tags": tags}).status_code == 202
        lived(client, DAYS, STREAMS, broken=STREAMS[:2], since=30)
        yield client, service


def evidence_of(service, cycle):
    """The evidence of a cycle out of the store, by the steps of the cycle."""
    (info,) = service.store.cycles(first=cycle, last=cycle)
    rows, records = service.store.evidence(cycle)
    return rows, shown(unpacked(records), monitor_of(policy_from(info.policy)))


def test_streams_tell_the_newest_cycle(lived_through):
    client, service = lived_through
    rows = client.rows("/api/v1/streams", limit=7)
    assert [row["unique_id"] for row in rows] == service.store.streams()
    at, seen = evidence_of(service, DAYS)
    assert [row["row"] for row in rows] == at.tolist()
    assert [row["loss"] for row in rows] == pytest.approx(seen.loss.tolist())
    assert [row["effect"] for row in rows] == pytest.approx(seen.effect.tolist())
    assert {row["tags"]["city"] for row in rows} == {"Ghent", "Bruges"}


def test_a_stream_that_was_registered_since_has_nothing_to_tell_yet():
    with serving() as (client, _):
        lived(client, 2, ["old"])
        body = json.dumps({"unique_id": ["new"], "ds": [f"{START:%Y-%m-%d}T00:00:00"], "y": [1.0]})
        client.post("/api/v1/actuals", content=body, headers=JSON)
        old, new = client.rows("/api/v1/streams")
        assert old["loss"] is not None
        assert {new[name] for name in ("verdict", "loss", "effect", "version", "age")} == {None}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"tag": "city=Ghent"}, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]),
        ({"tag": ["city=Ghent", "mode=bus"]}, [1]),
        ({"tag": "mode=tram"}, []),
        ({"search": "STREAM 1", "tag": "city=Bruges"}, [10, 12, 14, 16, 18]),
        ({"search": "=stream"}, [19]),
        ({"search": "."}, []),
    ],
)
def test_selectors_leave_the_streams_that_fit_all(lived_through, query, expected):
    client, _ = lived_through
    for listing in ("streams", "models"):
        rows = client.rows(f"/api/v1/{listing}", limit=3, **query)
        assert [row["row"] for row in rows] == expected
    seen = client.rows("/api/v1/evidence", limit=3, **query)
    assert [row["unique_id"] for row in seen] == [STREAMS[row] for row in expected]
    decided = client.rows("/api/v1/decisions", limit=3, **query)
    assert {row["unique_id"] for row in decided} <= {STREAMS[row] for row in expected}


@pytest.mark.parametrize("tag", ["city", "town=Ghent", "=Ghent"])
def test_a_tag_that_nobody_has_is_refused_rather_than_found_nowhere(lived_through, tag):
    client, _ = lived_through
    answer = client.get("/api/v1/streams", params={"tag": tag})
    assert answer.status_code == 422
    assert answer.json()["error"]["column"] == "tag"


def test_evidence_of_a_cycle_is_what_the_library_derives_from_its_record(lived_through):
    client, service = lived_through
    for cycle in (1, DAYS // 2, DAYS):
        _, seen = evidence_of(service, cycle)
        rows = client.rows("/api/v1/evidence", cycle=cycle, limit=6)
        for name in ("p_value", "p_adjusted", "p_evidence", "reference_loss", "score", "drift"):
            got = np.array([np.nan if row[name] is None else row[name] for row in rows])
            np.testing.assert_allclose(got, getattr(seen, name), rtol=1e-12)
        assert [row["alarm"] for row in rows] == seen.alarm.tolist()


def test_evidence_of_a_stream_is_that_of_the_cycles_but_for_what_takes_all_streams(lived_through):
    client, _ = lived_through
    rows = client.rows("/api/v1/evidence", unique_id="stream 1", limit=7)
    assert [row["cycle"] for row in rows] == list(range(1, DAYS + 1))
    for row in rows[::5]:
        (same,) = client.rows("/api/v1/evidence", cycle=row["cycle"], search="stream 1", limit=1)[
            :1
        ]
        assert same | {"p_adjusted": None} == row
    later = client.rows("/api/v1/evidence", unique_id="stream 1", cycle=35)
    assert [row["cycle"] for row in later] == list(range(35, DAYS + 1))


def test_a_break_is_found_among_evidence_decisions_incidents_and_requests(lived_through):
    client, _ = lived_through
    degraded = client.rows("/api/v1/evidence", unique_id="stream 1", verdict="degraded")
    assert degraded
    assert min(row["cycle"] for row in degraded) > 30
    retrained = client.rows("/api/v1/decisions", decision="retrain", first=31)
    days = {row["cycle"]: row["ds"] for row in client.rows("/api/v1/cycles")}
    assert all(row["ds"] == days[row["cycle"]] for row in retrained)
    assert "stream 0" in {row["unique_id"] for row in retrained}
    asked = client.rows("/api/v1/requests", status="open")
    assert {"stream 0", "stream 1"} <= {row["unique_id"] for row in asked}
    models = {row["unique_id"]: row for row in client.rows("/api/v1/models")}
    ids = {row["unique_id"]: row["id"] for row in asked}
    assert models["stream 1"]["request"] == ids["stream 1"]
    assert models["stream 1"]["request_status"] == "open"


def test_incidents_are_those_of_the_store_page_by_page(lived_through):
    client, service = lived_through
    known = service.store.incidents()
    assert [row["id"] for row in client.rows("/api/v1/incidents", limit=1)] == [
        one.id for one in known
    ]
    unfinished = client.rows("/api/v1/incidents", state=["open", "acknowledged", "snoozed"])
    assert [row["id"] for row in unfinished] == [one.id for one in known if one.unfinished]


def test_the_metrics_count_the_incidents_on_the_desk(lived_through):
    client, service = lived_through
    on_the_desk = [one for one in service.store.incidents() if one.unfinished]
    assert client.get("/api/v1/metrics").json()["incidents"] == len(on_the_desk) > 0


def test_cycles_come_newest_or_oldest_first(lived_through):
    client, _ = lived_through
    newest = [row["cycle"] for row in client.rows("/api/v1/cycles", limit=7)]
    assert newest == list(range(DAYS, 0, -1))
    some = client.rows("/api/v1/cycles", order="oldest", first=3, last=9, limit=2)
    assert [row["cycle"] for row in some] == list(range(3, 10))
    assert some[0]["ds"] == "2024-01-03T00:00:00.000000"
    assert sum(some[0]["summary"]["verdicts"].values()) == len(STREAMS)


@pytest.mark.parametrize("listing", LISTINGS)
def test_all_forms_of_a_listing_hold_the_same(lived_through, listing):
    client, _ = lived_through
    path, wanted = f"/api/v1/{listing}", {"limit": 10_000}
    rows = client.get(path, params=wanted).json()["rows"]
    csv = client.get(path, params=wanted, headers={"Accept": "text/csv"})
    arrow = client.get(path, params=wanted | {"format": "arrow"})
    assert csv.headers["content-type"].startswith("text/csv")
    assert arrow.headers["content-type"] == "application/vnd.apache.arrow.stream"
    read = pl.read_ipc_stream(io.BytesIO(arrow.content))
    assert len(read) == len(rows) == len(pl.read_csv(io.BytesIO(csv.content), infer_schema=False))
    for name in set(read.columns) & {"loss", "effect", "version", "cycle", "unique_id"}:
        assert read[name].to_list() == [row[name] for row in rows]


def test_the_name_of_a_stream_is_no_formula_in_a_spreadsheet(lived_through):
    client, _ = lived_through
    told = client.get("/api/v1/streams", params={"format": "csv", "search": "="}).text
    assert re.search(r"^19,'=stream,", told, re.MULTILINE)


def test_the_next_page_stands_in_the_headers_too(lived_through):
    client, _ = lived_through
    first = client.get("/api/v1/streams", params={"format": "csv", "limit": 15, "search": "stream"})
    path = re.fullmatch(r'<(.*)>; rel="next"', first.headers["link"]).group(1)
    second = client.get(path)
    assert len(second.text.splitlines()) == 1 + 5
    assert "link" not in second.headers


def test_a_listing_that_was_begun_holds_on_to_its_cycle():
    with serving() as (client, _):
        lived(client, 3, names(4))
        page = client.get("/api/v1/evidence", params={"limit": 2}).json()
        lived(client, 1, names(4), first=3)
        rest = client.get("/api/v1/evidence", params={"limit": 2, "cursor": page["next"]}).json()
        assert [row["cycle"] for row in page["rows"] + rest["rows"]] == [3] * 4


def test_late_rows_make_a_revision_and_both_can_be_read():
    with serving() as (client, _):
        lived(client, 3, names(4))
        _, actuals = day_rows(np.random.default_rng(99), 1, names(4))
        client.post("/api/v1/actuals", content=json.dumps(actuals), headers=JSON)
        client.post("/api/v1/clock", json=clock_at(3, hours=2))
        assert client.post("/api/v1/cycle").json()["cycles"]
        heads = client.rows("/api/v1/cycles", revisions=True, order="oldest", limit=1)
        told = [(row["cycle"], row["revision"]) for row in heads]
        assert told == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1)]
        back = client.rows("/api/v1/cycles", revisions=True, limit=2)
        assert sorted((row["cycle"], row["revision"]) for row in back) == told
        old = client.rows("/api/v1/evidence", cycle=2, revision=0)
        new = client.rows("/api/v1/evidence", cycle=2)
        assert {row["revision"] for row in new} == {1}
        assert [row["loss"] for row in old] != [row["loss"] for row in new]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("evidence?unique_id=nobody", 404),
        ("decisions?unique_id=nobody", 404),
        ("evidence?cycle=999", 404),
        ("evidence?cycle=1&revision=7", 404),
        ("evidence?unique_id=stream 1&tag=city=Ghent", 422),
        ("streams?limit=0", 422),
        ("streams?limit=10001", 422),
        ("streams?verdict=ill", 422),
        ("streams?format=xml", 422),
        ("streams?cursor=abc", 422),
        ("cycles?first=99999999999999999999", 422),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_form(lived_through, path, status):
    client, _ = lived_through
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "row", "column", "hint"}


def test_key_metrics_are_those_of_the_cycles(lived_through):
    client, service = lived_through
    told = client.get("/api/v1/metrics").json()
    (newest,) = service.store.cycles(newest_first=True, limit=1)
    assert told["cycle"] == DAYS
    assert told["streams"] == len(STREAMS)
    assert told["verdicts"] == newest.summary["verdicts"]
    assert told["false_alarms"]["watched"] == newest.summary["audit"]["watched"] > 0
    assert 0 < told["false_alarms"]["expected"] < 1
    heads = service.store.cycles(newest_first=True, limit=28)
    mean = np.mean([info.summary["decisions"]["retrain"] for info in heads])
    assert told["retrainings_per_cycle"] == pytest.approx(mean)
    assert told["open_requests"] == len(client.rows("/api/v1/requests", status="open"))
    assert told["leads"]


def test_the_lag_is_how_long_the_next_batch_is_overdue():
    with serving() as (client, _):
        lived(client, 2, names(3))
        client.post("/api/v1/clock", json=clock_at(3, hours=3))
        client.post("/api/v1/cycle")
        assert client.get("/api/v1/metrics").json()["lag_seconds"] == 3 * 3600
        assert "mlma_lag_seconds 10800.0" in client.get("/metrics").text


def test_before_the_first_cycle_every_listing_is_there_and_empty():
    with serving() as (client, _):
        for listing in (*LISTINGS, "deliveries"):
            assert client.get(f"/api/v1/{listing}").json() == {"rows": [], "next": None}
        assert client.get("/api/v1/metrics").json()["cycle"] is None
        assert client.get("/metrics").status_code == 200


def test_no_metric_of_prometheus_names_a_stream(lived_through):
    client, _ = lived_through
    told = client.get("/metrics").text
    assert "mlma_cycles_total 40.0" in told
    assert 'mlma_verdicts{verdict="healthy"}' in told
    assert "stream 1" not in told
    assert "=stream" not in told


def test_the_page_of_the_interface_loads_nothing_from_elsewhere(lived_through):
    client, _ = lived_through
    for path in ("/docs", "/docs.css"):
        text = client.get(path).text
        assert "http://" not in text
        assert "https://" not in text
        assert "<script" not in text
        assert " style=" not in text
    page = client.get("/docs").text
    document = client.get("/openapi.json").json()
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page
    for name in document["components"]["schemas"]:
        assert f'id="schema-{name}"' in page
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= set(re.findall(r'id="([^"]+)"', page))


def test_every_operation_describes_its_errors_in_the_one_form(lived_through):
    client, _ = lived_through
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for operation in methods.values():
            for status, told in operation["responses"].items():
                if int(status) >= 400 and (path, status) != ("/ready", "503"):
                    schema = told["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}
