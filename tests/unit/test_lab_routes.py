"""`/api/v1/lab`: runs are started, read and cancelled over HTTP."""

from types import SimpleNamespace

import anyio.from_thread
import pytest
from fastapi import FastAPI

from http_client import Client
from lab_worlds import LabWorld, recorded_history
from mlma.service.lab import Lab
from mlma.web.errors import add_handlers
from mlma.web.routes import lab as routes


@pytest.fixture(scope="module")
def desk():
    store, live, _, _ = recorded_history(LabWorld(streams=4, cycles=8), "mlma(pool=1)")
    lab = Lab(store, "memory://", live)
    return SimpleNamespace(service=SimpleNamespace(lab=lab, store=store))


@pytest.fixture
def client(desk):
    app = FastAPI()
    app.state.desk = desk
    app.include_router(routes.router, prefix="/api/v1")
    add_handlers(app)

    with anyio.from_thread.start_blocking_portal() as portal:
        yield Client(named(app), portal)


def named(app):
    """The app as the guard hands requests on: with the name of the key."""

    async def handed_on(scope, receive, send):
        scope.setdefault("state", {})["key"] = "key:ann"
        await app(scope, receive, send)

    return handed_on


def test_a_run_is_started_read_and_listed(desk, client):
    asked = {"policy": "never", "per_cycle": 5, "first": 2, "last": 7}
    answer = client.post("/api/v1/lab", json=asked)
    assert answer.status_code == 202
    run = answer.json()
    assert (run["status"], run["by"], run["result"]) == ("waiting", "key:ann", {})
    assert asked.items() <= run.items()
    desk.service.lab._step()
    made = client.get(f"/api/v1/lab/{run['id']}").json()
    assert (made["status"], made["progress"]) == ("done", 1.0)
    assert {"real", "tried", "by_cycle", "rows", "rule"} <= made["result"].keys()
    (row,) = client.get("/api/v1/lab?limit=1").json()["rows"]
    assert row["id"] == run["id"]
    assert "result" not in row


def test_a_run_that_waits_is_cancelled(client):
    run = client.post("/api/v1/lab", json={"policy": "always"}).json()
    assert client.post(f"/api/v1/lab/{run['id']}/cancel").json()["status"] == "cancelled"
    assert client.get(f"/api/v1/lab/{run['id']}").json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"policy": "mlma(pool=8)"}, "`pool` of `mlma`"),
        ({"policy": "mlma(levle=1)"}, "Unknown setting"),
        ({"policy": "__import__('os')"}, "policy"),
        ({"policy": "never", "first": 99}, "`first` of a lab run"),
        ({"policy": "never", "per_cycle": -1}, "per_cycle"),
        ({"policy": "never", "per_cycle": 2.5}, "per_cycle"),
        ({"policy": ""}, "policy"),
        ({}, "policy"),
        ({"policy": "never", "pool": 3}, "pool"),
    ],
)
def test_what_cannot_be_tried_is_refused(client, asked, says):
    answer = client.post("/api/v1/lab", json=asked)
    assert answer.status_code == 422
    assert says in str(answer.json()["error"])


def test_a_run_that_there_is_not_is_not_found(client):
    assert client.get("/api/v1/lab/nothing").status_code == 404
    assert client.post("/api/v1/lab/nothing/cancel").status_code == 404
