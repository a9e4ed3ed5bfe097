"""An engineer gives orders over HTTP and by commands, beside and through a real server."""

import json

import numpy as np
import pytest

from commands import CommandLine
from http_client import clock_at, day_rows, names
from live_server import serving
from mlma.service.keys import key_hash, new_key
from mlma.service.settings import read_settings

STREAMS = names(4)
SETTINGS = """
[agent]
slot = "1h"
policy = "mlma(level=0.01, pool=1, max_age=None, review_age=None, min_reference_batches=5)"
[batches]
reopen = "13d"
[store]
url = "sqlite:///mlma.db"
[clock]
kind = "simulated"
[server]
port = 0
level = "warning"
requests_per_minute = 0
[scheduler]
every = "1s"
lease = "3s"
"""


@pytest.fixture
def mlma(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlma.toml").write_text(SETTINGS)
    return CommandLine(monkeypatch, capsys)


def settings():
    return read_settings(None, {})


def lived(client, days, *, first=0, since=8):
    """Push and judge days; the first stream breaks."""
    rng = np.random.default_rng(3)
    for day in range(first, first + days):
        bodies = day_rows(rng, day, STREAMS, STREAMS[:1] if day >= since else ())
        for kind, body in zip(("forecasts", "actuals"), bodies, strict=True):
            assert client.post(f"/api/v1/{kind}", json=body).status_code == 201
        assert client.post("/api/v1/clock", json=clock_at(day + 1)).status_code == 200
        client.post("/api/v1/cycle")


def verdicts(client, first=9):
    rows = client.get("/api/v1/evidence", params={"unique_id": STREAMS[0], "limit": 100}).json()
    return {row["cycle"]: row["verdict"] for row in rows["rows"] if row["cycle"] >= first}


def judged_anew(client, cycle, revision):
    for _ in range(50):
        client.post("/api/v1/cycle")
        heads = client.get("/api/v1/cycles", params={"limit": 100}).json()["rows"]
        if {row["cycle"]: row["revision"] for row in heads}[cycle] >= revision:
            return
    raise AssertionError(f"cycle {cycle} was not judged anew")


def test_a_broken_sensor_is_labelled_judged_anew_and_taken_back(mlma):
    with serving(settings()) as (_, client):
        lived(client, 11)
        before = verdicts(client)
        assert "degraded" in before.values()
        span = ("--begins", "2024-01-09T00:00:00Z", "--ends", "2024-01-12T00:00:00Z")
        url = ("--url", str(client.base_url))
        words = ("act", "label", "broken", "--stream", STREAMS[0], *span, *url)
        dry = json.loads(mlma(*words, "--dry-run", "--json").out)
        assert dry["counts"]["cycles judged anew"] == 3
        made = mlma(*words, "--why", "sensor", "--yes", "--json")
        assert made.code == 0, made.err
        number = json.loads(made.out)["action"]
        judged_anew(client, 9, 1)
        labelled = verdicts(client)
        assert "degraded" not in labelled.values()
        told = {(one["cycle"], one["what"]): one["after"] for one in dry["changes"]}
        for (cycle, what), after in told.items():
            if what == "verdict":
                assert after.startswith(labelled[cycle])
        # Taken back beside the server, in its store: it sees it with its next look.
        assert mlma("act", "undo", number, "--yes").code == 0
        judged_anew(client, 9, 2)
        assert verdicts(client) == before
        kinds = [row["kind"] for row in client.get("/api/v1/actions").json()["rows"]]
        assert kinds == ["label", "undo"]


def test_a_retraining_is_asked_for_carried_out_and_gone_back_from(mlma):
    with serving(settings()) as (_, client):
        lived(client, 3, since=99)
        one = {"selector": {"unique_ids": [STREAMS[1]]}}
        assert client.post("/api/v1/actions", json={"kind": "retrain", **one}).status_code == 201
        (asked,) = client.get("/api/v1/requests", params={"status": "open"}).json()["rows"]
        body = {"unique_ids": [STREAMS[1]], "status": "live", "request": asked["id"]}
        assert client.post("/api/v1/models", json=body).status_code == 202
        lived(client, 2, first=3, since=99)
        undo = client.post("/api/v1/actions/1/undo")
        assert undo.status_code == 422
        assert "roll back" in undo.text
        back = client.post("/api/v1/actions", json={"kind": "roll_back", **one})
        assert back.status_code == 201, back.text
        (asked,) = client.get("/api/v1/requests", params={"status": "open"}).json()["rows"]
        body["request"] = asked["id"]
        assert client.post("/api/v1/models", json=body).status_code == 202
        lived(client, 1, first=5, since=99)
        rows = client.get("/api/v1/models", params={"search": STREAMS[1]}).json()["rows"]
        assert rows[0]["version"] == 3


def test_through_a_server_the_key_says_who_it_is_and_what_it_may(mlma, monkeypatch):
    keys = {role: new_key() for role in ("read", "engineer", "admin")}
    entries = [
        f'[[keys]]\nname = "k-{role}"\nhash = "{key_hash(key)}"\nrole = "{role}"\n'
        for role, key in keys.items()
    ]
    with open("mlma.toml", "a", encoding="utf-8") as file:
        file.write("\n".join(entries))
    with serving(settings()) as (service, client):
        service.store.register(STREAMS)
        url = ("--url", str(client.base_url), "--yes")
        freeze = ("act", "freeze", "--stream", STREAMS[0], *url)
        monkeypatch.delenv("MLMA_KEY", raising=False)
        nobody = mlma(*freeze)
        assert (nobody.code, "MLMA_KEY" in nobody.err) == (2, True)
        monkeypatch.setenv("MLMA_KEY", keys["read"])
        assert "needs the right `engineer`" in mlma(*freeze).err
        monkeypatch.setenv("MLMA_KEY", keys["engineer"])
        assert mlma(*freeze).code == 0
        assert "needs the right `admin`" in mlma("act", "budget", 3, *url).err
        monkeypatch.setenv("MLMA_KEY", keys["admin"])
        assert mlma("act", "budget", 3, *url).code == 0
        assert [one.by for one in service.store.actions()] == ["key:k-engineer", "key:k-admin"]
        assert mlma("incidents", "--url", str(client.base_url)).out == "No incidents.\n"
        unknown = mlma("act", "freeze", "--stream", "x", *url)
        assert (unknown.code, "not known: x" in unknown.err) == (2, True)
