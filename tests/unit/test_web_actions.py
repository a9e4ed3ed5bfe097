"""Orders over HTTP: bodies that are refused, dry runs, undo, rights, and what is listed."""

import json
import typing
from dataclasses import replace

import pytest

from engineers import incident as sample_incident
from http_client import key, lived, names, serving, settings
from mlma.agent.recomputing import read_entry
from mlma.domain.ledger import Commit
from mlma.domain.orders import ORDERS, SetBudget
from mlma.web.routes.actions import Kind

ACTIONS = "/api/v1/actions"
ONE = {"selector": {"unique_ids": ["stream 0"]}}


@pytest.fixture(scope="module")
def judged():
    with serving(settings()) as (client, service):
        lived(client, 3, names(4))
        service.live.tag({"city": {"stream 0": "Ghent", "stream 1": "Ghent"}})
        entry = read_entry(service.store, 3)
        service.store.commit(
            Commit(
                (_again(entry),),
                service.store.snapshot(),
                incidents=(sample_incident(opened_cycle=3, updated_cycle=3),),
            )
        )
        yield client, service


def _again(entry):
    return replace(entry, info=replace(entry.info, revision=1, closed="revised"))


@pytest.fixture
def client(judged):
    return judged[0]


@pytest.fixture
def store(judged):
    return judged[1].store


def give(client, kind, **body):
    return client.post(ACTIONS, json={"kind": kind, **body})


def test_a_dry_run_tells_and_an_order_is_written(client, store):
    before = len(store.actions())
    dry = give(client, "freeze", selector={"tags": ["city=Ghent"]}, dry_run=True)
    assert dry.status_code == 200, dry.text
    told = dry.json()
    assert told["sentence"] == "Freezes 2 streams (city=Ghent)."
    assert (told["streams"], told["unique_ids"]) == (2, ["stream 0", "stream 1"])
    assert len(store.actions()) == before
    made = give(
        client, "freeze", selector={"tags": ["city=Ghent"]}, why="fair", after=told["after"]
    )
    assert made.status_code == 201, made.text
    number = made.json()["action"]
    action = store.actions(start=number)[0]
    assert (action.by, action.why) == ("address:127.0.0.1", "fair")
    undone = client.post(f"{ACTIONS}/{number}/undo", json={"why": "no fair"})
    assert undone.status_code == 201
    assert client.get(f"{ACTIONS}/{number}").json()["undone"] is True


def test_an_undo_needs_no_body(client):
    number = give(client, "pin", **ONE).json()["action"]
    assert client.post(f"{ACTIONS}/{number}/undo").status_code == 201
    again = client.post(f"{ACTIONS}/{number}/undo")
    assert again.status_code == 409
    assert "undone already" in again.json()["error"]["message"]


BAD = {
    "unknown kind": ({"kind": "explode"}, "kind"),
    "no kind": ({}, ""),
    "unknown field": ({"kind": "freeze", **ONE, "for_ever": True}, "for_ever"),
    "false is no number": ({"kind": "budget", "per_cycle": False}, "per_cycle"),
    "a text is no number": ({"kind": "undo", "action": "1"}, "action"),
    "a number is no truth": ({"kind": "freeze", **ONE, "everything": 1}, "everything"),
    "less than no budget": ({"kind": "budget", "per_cycle": -1}, "per_cycle"),
    "no time zone": ({"kind": "plan", **ONE, "at": "2030-01-01T00:00:00"}, "at"),
    "a number is no time": ({"kind": "plan", **ONE, "at": 1_900_000_000}, "at"),
    "a year out of reach": ({"kind": "plan", **ONE, "at": "9999-12-31T23:59:59-14:00"}, "at"),
    "a tag without a value": ({"kind": "freeze", "selector": {"tags": ["city"]}}, "tags"),
    "a name with a line break": ({"kind": "pin", "selector": {"unique_ids": ["a\nb"]}}, "ids"),
    "too long a reason": ({"kind": "pin", **ONE, "why": "x" * 10_001}, "why"),
    "half a letter": ({"kind": "pin", "selector": {"search": "\ud800"}}, "search"),
    "unknown label": (
        {
            "kind": "label",
            **ONE,
            "label": "odd",
            "begins": "2024-01-01T00:00:00Z",
            "ends": "2024-01-02T00:00:00Z",
        },
        "label",
    ),
    "an event that ends before it starts": (
        {
            "kind": "event",
            "event": {
                "name": "x",
                "begins": "2030-01-02T00:00:00Z",
                "ends": "2030-01-01T00:00:00Z",
            },
        },
        "must end after it begins",
    ),
    "excluded and matched": (
        {
            "kind": "event",
            "event": {
                "name": "x",
                "begins": "2030-01-01T00:00:00Z",
                "ends": "2030-01-02T00:00:00Z",
                "matched": True,
            },
        },
        "excluded or matched",
    ),
    "nobody": ({"kind": "pin", "selector": {"search": "nobody"}}, "No stream fits"),
    "everybody": ({"kind": "pin"}, "all 4 streams"),
    "no such cycle": ({"kind": "rejudge", "cycle": 2**31 - 1}, "cycle"),
    "a policy that is none": ({"kind": "policy", **ONE, "policy": "("}, "policy"),
    "no such incident": ({"kind": "resolve", "incident": "nobody"}, "There is no incident"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_ordered_is_refused_with_its_field(client, store, what):
    body, told = BAD[what]
    before = len(store.actions())
    answer = client.post(
        ACTIONS, content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 422}, answer.text
    assert told in answer.text
    assert len(store.actions()) == before


def test_an_event_gets_an_id_of_its_own_and_is_found_by_it(client, judged):
    event = {"name": "<b>Fair</b>", "begins": "2030-01-01T00:00:00+01:00"}
    event["ends"] = "2030-01-02T00:00:00+01:00"
    number = give(client, "event", event=event).json()["action"]
    told = client.get(f"{ACTIONS}/{number}").json()
    id = told["order"]["event"]["id"]
    assert len(id) == 12
    assert give(client, "cancel_event", event=id).status_code == 201
    assert id not in judged[1].engineering.standing().events


def test_two_engineers_at_one_incident_are_told_apart(client):
    one = client.get("/api/v1/incidents/i1").json()
    assert one["members"] == ["stream 0", "stream 2"]  # the third row is of no stream here
    first = give(client, "acknowledge", incident="i1", seen=one["changed"])
    assert first.status_code == 201, first.text
    second = give(client, "resolve", incident="i1", seen=one["changed"])
    assert second.status_code == 409
    assert f"action {first.json()['action']} (acknowledge by address:127.0.0.1" in second.text
    listed = client.rows("/api/v1/incidents", state="acknowledged", kind="group")
    assert [(row["id"], row["changed"]) for row in listed] == [("i1", first.json()["action"])]
    assert client.rows("/api/v1/incidents", kind="model") == []
    assert client.get("/api/v1/incidents/nobody").status_code == 404


def test_incidents_come_as_csv_and_arrow(client):
    text = client.get("/api/v1/incidents", params={"format": "csv"}).text
    assert text.startswith("id,kind,scope,state,")
    assert "city=Ghent" in text
    arrow = client.get("/api/v1/incidents", params={"format": "arrow"})
    assert arrow.headers["content-type"] == "application/vnd.apache.arrow.stream"


def test_actions_are_listed_by_page_forwards_and_backwards(client, store):
    give(client, "pin", **ONE)
    give(client, "unpin", **ONE)
    numbers = [one.number for one in store.actions()]
    rows = client.rows(ACTIONS, limit=1)
    assert [row["number"] for row in rows] == numbers
    assert [row["number"] for row in client.rows(ACTIONS, limit=2, backwards=True)] == numbers[::-1]
    mine = client.rows(ACTIONS, kind=["pin", "unpin"], unique_id="stream 0", by="address:127.0.0.1")
    assert {row["kind"] for row in mine} == {"pin", "unpin"}
    assert {row["selector"] for row in mine} == {"stream 0"}
    assert client.rows(ACTIONS, by="nobody") == []
    tags = client.rows(ACTIONS, kind="tags", unique_id="stream 1")
    assert len(tags) == 1
    assert client.get(ACTIONS, params={"format": "csv"}).text.startswith("number,kind,at,by,why")
    assert client.get(f"{ACTIONS}/99999").status_code == 404


def test_exclusions_are_told_to_trainers(client):
    span = {"begins": "2024-01-02T05:00:00Z", "ends": "2024-01-02T09:00:00Z"}
    made = give(client, "label", **ONE, label="broken", **span)
    assert made.status_code == 201, made.text
    (row,) = client.rows("/api/v1/exclusions", unique_id="stream 0")
    assert row["spans"] == [
        {"begins": "2024-01-02T00:00:00+00:00", "ends": "2024-01-03T00:00:00+00:00"}
    ]
    assert row["train_from"] is None
    assert [row["unique_id"] for row in client.rows("/api/v1/exclusions")] == ["stream 0"]
    (free,) = client.rows("/api/v1/exclusions", unique_id="stream 3")
    assert free["spans"] == []
    assert client.get("/api/v1/exclusions", params={"unique_id": "x"}).status_code == 404


def test_the_budget_and_the_policy_of_the_fleet_take_an_admin():
    with serving(settings(keys=True)) as (client, service):
        service.store.register(["stream 0"])
        engineer, reader = key("engineer"), key("read")
        body = {"kind": "budget", "per_cycle": 3}
        assert client.post(ACTIONS, json=body, headers=engineer).status_code == 403
        fleet = {"kind": "policy", "policy": "never", "everything": True}
        assert client.post(ACTIONS, json=fleet, headers=engineer).status_code == 403
        freeze = {"kind": "freeze", **ONE}
        assert client.post(ACTIONS, json=freeze, headers=reader).status_code == 403
        made = client.post(ACTIONS, json=freeze, headers=engineer)
        assert made.status_code == 201
        assert service.store.actions()[-1].by == "key:key-engineer"
        number = service.engineering.carry_out(SetBudget(per_cycle=1), "key:boss")
        undo = client.post(f"{ACTIONS}/{number}/undo", headers=engineer)
        assert undo.status_code == 403
        assert client.get(ACTIONS, headers=reader).status_code == 200


def test_each_kind_is_described(client):
    described = client.get("/openapi.json").json()
    body = described["paths"][ACTIONS]["post"]["requestBody"]["content"]["application/json"]
    mapping = body["schema"]["discriminator"]["mapping"]
    assert set(mapping) == set(ORDERS)
    assert set(typing.get_args(Kind)) == {*ORDERS, "deployed", "failed", "tags"}
    for name in mapping.values():
        told = described["components"]["schemas"][name.rpartition("/")[2]]
        assert told["additionalProperties"] is False
        assert told["description"]
