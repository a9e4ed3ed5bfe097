"""A client of the HTTP interface without a network, and an agent on a simulated clock behind it."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import anyio.from_thread
import httpx
import numpy as np

from mlma.service.bootstrap import build
from mlma.service.entries import KeyTable, WebhookTable
from mlma.service.keys import key_hash
from mlma.service.settings import Settings
from mlma.service.tables import AgentTable, BatchesTable, ClockTable, ServerTable, StoreTable
from mlma.web.app import create_app

START = datetime(2024, 1, 1, tzinfo=UTC)
SECRETS = {role: f"mlma_{role}_{'x' * 32}" for role in ("read", "ingest", "engineer", "admin")}


def settings(*, keys=False, users=(), server=None, webhooks=(), clock="simulated", **agent):
    return Settings(
        agent=AgentTable(**({"slot": "1h", "policy": "mlma(level=0.01)"} | agent)),
        batches=BatchesTable(reopen="7d"),
        store=StoreTable(url="memory://"),
        clock=ClockTable(kind=clock),
        server=ServerTable(**(server or {})),
        keys=tuple(
            KeyTable(name=f"key-{role}", hash=key_hash(secret), role=role)
            for role, secret in SECRETS.items()
            if keys
        ),
        users=tuple(users),
        webhooks=tuple(WebhookTable(**one) for one in webhooks),
    )


class Client:
    """Sends requests to an app in this process; one event loop for all of them."""

    def __init__(self, app, portal, base="http://127.0.0.1:8321", address="127.0.0.1"):
        self.app, self._portal = app, portal
        transport = httpx.ASGITransport(app=app, client=(address, 50000))
        self._client = httpx.AsyncClient(transport=transport, base_url=base)

    async def send(self, method, path, **asked):
        return await self._client.request(method, path, **asked)

    def call(self, function):
        return self._portal.call(function)

    def request(self, method, path, **asked):
        return self.call(lambda: self.send(method, path, **asked))

    def get(self, path, **asked):
        return self.request("GET", path, **asked)

    def post(self, path, **asked):
        return self.request("POST", path, **asked)

    def rows(self, path, **asked):
        """All rows of a listing, page after page."""
        rows, cursor = [], None
        while True:
            page = self.get(path, params={**asked, **({"cursor": cursor} if cursor else {})})
            assert page.status_code == 200, page.text
            rows += page.json()["rows"]
            cursor = page.json()["next"]
            if cursor is None:
                return rows


@contextmanager
def serving(told=None, **asked):
    """A client of a new app, and the service behind it."""
    service = build(told or settings())
    with anyio.from_thread.start_blocking_portal() as portal:
        try:
            yield Client(create_app(service), portal, **asked), service
        finally:
            service.stop(5.0)


def key(role):
    return {"Authorization": f"Bearer {SECRETS[role]}"}


def names(n):
    return [f"stream {row}" for row in range(n)]


def day_rows(rng, day, streams, broken=()):
    """Forecasts and actuals of one day, as bodies of columns; a broken stream is off by more."""
    start = START + timedelta(days=day)
    times = [(start + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%S") for hour in range(24)]
    ids = [name for name in streams for _ in times]
    scale = np.array([4.0 if name in broken else 1.0 for name in ids])
    y = rng.normal(10.0, 1.0, len(ids))
    y_hat = y + scale * rng.gamma(4.0, 0.25, len(ids)) * rng.choice([-1, 1], len(ids))
    keys = {"unique_id": ids, "ds": times * len(streams)}
    return {**keys, "y_hat": y_hat.tolist()}, {**keys, "y": y.tolist()}


def clock_at(day, hours=1):
    return {"now": (START + timedelta(days=day, hours=hours)).isoformat()}


def lived(client, days, streams, *, broken=(), since=10**9, first=0, seed=7, headers=None):
    """Push days one after the other, and have each judged."""
    rng = np.random.default_rng(seed)
    for day in range(first, first + days):
        forecasts, actuals = day_rows(rng, day, streams, broken if day >= since else ())
        for kind, body in (("forecasts", forecasts), ("actuals", actuals)):
            made = client.post(f"/api/v1/{kind}", content=json.dumps(body), headers=JSON)
            assert made.status_code == 201, made.text
        assert client.post("/api/v1/clock", json=clock_at(day + 1)).status_code == 200
        made = client.post("/api/v1/cycle")
        assert made.status_code == 200, made.text
        assert len(made.json()["cycles"]) == 1, made.text


JSON = {"Content-Type": "application/json"}
