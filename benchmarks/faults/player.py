"""The player: a client that sends a history day by day, until all of it is acknowledged.

Takes the days of a history and a server that may die at any moment, gives what was acknowledged.
It behaves as clients should: what was not acknowledged is sent again.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from threading import Lock
from typing import Any

import httpx

from faults.histories import START, Body, Day
from faults.servers import Server

HOURS_LATER = 2.0
"""The clock is set to so long after the end of a day: rows that are missing then are late."""

PATIENCE_SECONDS = 400.0
SENDERS = 3


class GaveUpError(Exception):
    """The server did something that no client expects, or nothing for too long."""


@dataclass
class Player:
    """Plays a history to a server, or to several on one store in turn.

    at
        told what happens just now: ``body``, ``clock``, ``cycle``.
    acknowledged
        bodies that were acknowledged.
    refused
        answers with 503, by what they said.
    """

    servers: list[Server]
    at: Callable[[str], None] = lambda _: None
    acknowledged: list[Body] = field(default_factory=list)
    resent: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    _turn: int = 0
    _lock: Lock = field(default_factory=Lock)
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20))

    def play(self, days: list[Day], *, since: int = 0) -> None:
        """Play days, the first of which is day ``since``."""
        for day, sent in enumerate(days, start=since):
            self.push(sent.bodies)
            if sent.late is not None:
                self.settle(day)
                self.push([sent.late])
                self.settle(day)
            self.set_clock(day + 1)
            self.settle(day + 1)

    def push(self, bodies: "list[Body] | tuple[Body, ...]") -> None:
        """Send bodies, some at a time, until all are acknowledged."""
        with ThreadPoolExecutor(SENDERS) as senders:
            for made in [senders.submit(self._send, body) for body in bodies]:
                made.result()

    def _send(self, body: Body) -> None:
        headers = {"content-type": body.media}
        for moment in ("stop", "body"):
            self.at(moment)
        answer = self.insist("POST", f"/api/v1/{body.kind}", content=body.content, headers=headers)
        if answer["rows"] != len(body.rows):
            raise GaveUpError(f"{answer['rows']} of {len(body.rows)} rows were acknowledged")
        with self._lock:
            self.acknowledged.append(body)

    def set_clock(self, day: int) -> None:
        """Set the clock past the end of the day before."""
        now = START.replace(tzinfo=UTC) + timedelta(days=day, hours=HOURS_LATER)
        self.at("clock")
        self.insist("POST", "/api/v1/clock", json={"now": now.isoformat()})
        self.at("cycle")

    def settle(self, cycles: int) -> None:
        """Wait until there are so many cycles, no fit is open, and there is nothing to judge."""
        until = time.monotonic() + PATIENCE_SECONDS
        state: Any = None
        while time.monotonic() < until:
            for server in self.servers:
                look = self.insist("POST", "/api/v1/cycle", server=server)
                if look["cycles"] or not look["leads"]:
                    continue
                asked, newest = self._standing(server)
                state = [one["unique_id"] for one in asked], newest, look
                if not asked and newest == cycles:
                    again = self.insist("POST", "/api/v1/cycle", server=server)
                    if again["leads"] and not again["cycles"]:
                        return
            time.sleep(0.1)
        raise GaveUpError(f"cycle {cycles} did not settle; it stands at {state}")

    def _standing(self, server: Server) -> tuple[list[Any], int]:
        """Return the requests that are open, and the number of the newest cycle."""
        asked = self.insist("GET", "/api/v1/requests?status=open&status=claimed", server=server)[
            "rows"
        ]
        newest = self.insist("GET", "/api/v1/cycles?limit=1", server=server)["rows"]
        return asked, newest[0]["cycle"] if newest else 0

    def delivered(self) -> None:
        """Wait until no message waits."""
        until = time.monotonic() + PATIENCE_SECONDS
        while self.insist("GET", "/api/v1/deliveries?status=waiting&limit=1")["rows"]:
            if time.monotonic() > until:
                raise GaveUpError("messages are still waiting")
            time.sleep(0.1)

    def insist(self, method: str, path: str, *, server: Server | None = None, **sent: Any) -> Any:
        """Ask until there is an answer, and return it; ``server`` None = one after the other.

        Raises
        ------
        GaveUpError
            The answer is a refusal that a client cannot mend, or there is none for too long.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        last: Any = None
        while time.monotonic() < until:
            now = server or self.servers[self._turn % len(self.servers)]
            try:
                answer = self._client.request(method, now.base + path, **sent)
            except httpx.TransportError as error:
                last = error
                now.revive()
                time.sleep(0.03)
            else:
                if answer.is_success:
                    return answer.json()
                last = f"{answer.status_code} {answer.text[:500]}"
                lost = answer.status_code == 409 and path == "/api/v1/cycle"  # the lease
                if answer.status_code != 503 and not lost:
                    raise GaveUpError(f"{method} {path} was answered with {last}")
                if not lost:
                    self._note_refusal(answer)
                time.sleep(0.05)
            with self._lock:
                self.resent += method == "POST"
                self._turn += 1
        raise GaveUpError(f"{method} {path} has no answer: {last}")

    def _note_refusal(self, answer: httpx.Response) -> None:
        said = "?"
        with suppress(ValueError, KeyError, TypeError):
            said = str(answer.json()["error"]["message"])
        with self._lock:
            self.refused[said] = self.refused.get(said, 0) + 1

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()
