"""The agent as the platform knows it: what it pushes and asks over HTTP.

Takes frames and times, gives receipts, cycles, decisions and evidence as the server tells them.
"""

import io
from collections.abc import Callable
from datetime import datetime
from time import monotonic, sleep
from typing import Any, TypeVar

import polars as pl

from mlma.domain.errors import MissingExtraError
from mlma.library.live_demo.server import Server, ServerError

T = TypeVar("T")

_ARROW = "application/vnd.apache.arrow.stream"
_WAIT_SECONDS = 120.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.03, 0.3
_OUTSTANDING = {"status": ["open", "claimed"]}
_PAGE = 10_000
_PIECE_ROWS = 500_000


class Remote:
    """The agent behind a server.

    Raises
    ------
    ServerError
        The server refuses what is asked, or ended; of all calls.
    """

    def __init__(self, server: Server) -> None:
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise MissingExtraError("`mlma serve-demo`", "serve") from error
        self._server, self._error = server, httpx.HTTPError
        self._client = httpx.Client(base_url=server.address, timeout=60.0, trust_env=False)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def is_new(self) -> bool:
        """Whether the agent knows no stream yet."""
        return not self._asked("GET", "streams", params={"limit": 1})["rows"]

    def push(self, kind: str, frame: pl.DataFrame) -> int:
        """Push rows; return how many the server stored for good."""
        stored = 0
        for piece in frame.iter_slices(_PIECE_ROWS):
            body = io.BytesIO()
            piece.write_ipc_stream(body)
            headers = {"Content-Type": _ARROW}
            told = self._asked("POST", kind, content=body.getvalue(), headers=headers)
            stored += int(told["rows"])
        return stored

    def tag(self, tags: dict[str, dict[str, str]]) -> None:
        """Tell the tags of streams: values by tag and stream."""
        self._asked("POST", "tags", json={"tags": tags})

    def deployed(self, losses: pl.DataFrame, why: str) -> None:
        """Tell that versions are live, with their held-out losses ``unique_id, ds, loss``."""
        columns = losses.with_columns(pl.col("ds").dt.to_string("iso:strict")).to_dict(
            as_series=False
        )
        names = losses["unique_id"].unique(maintain_order=True).to_list()
        document = {"unique_ids": names, "status": "live", "why": why, "held_out": columns}
        self._asked("POST", "models", json=document)

    def set_clock(self, now: datetime) -> None:
        """Set the simulated clock."""
        self._asked("POST", "clock", json={"now": now.isoformat()})

    def look(self) -> list[dict[str, Any]]:
        """Have the agent look for batches now; return the cycles that it judged."""
        made: list[dict[str, Any]] = self._asked("POST", "cycle")["cycles"]
        return made

    def newest_cycle(self) -> dict[str, Any] | None:
        """Return the head of the newest cycle; None = there is none."""
        rows = self._asked("GET", "cycles", params={"limit": 1})["rows"]
        return rows[0] if rows else None

    def cycle_of(self, start: datetime) -> dict[str, Any]:
        """Wait until the day that starts then is judged; return the head of its cycle."""
        wanted = f"{start:%Y-%m-%dT%H:%M:%S}"

        def judged() -> dict[str, Any] | None:
            newest = self.newest_cycle()
            return newest if newest is not None and newest["ds"][:19] == wanted else None

        return self._until(judged, f"the cycle of {wanted}")

    def fitted(self, running: Callable[[int], None]) -> None:
        """Wait until no re-training is open or running; ``running`` is told how many are."""

        def none() -> bool:
            left = len(
                self._asked("GET", "requests", params={**_OUTSTANDING, "limit": _PAGE})["rows"]
            )
            running(left)
            return not left

        self._until(none, "re-trainings")

    def requests(self, status: str) -> list[dict[str, Any]]:
        """Return the requests for re-training of a status."""
        return self._pages("requests", {"status": status})

    def decisions(self, cycle: int) -> list[dict[str, Any]]:
        """Return the decisions of a cycle, in all its revisions."""
        return self._pages("decisions", {"first": cycle, "last": cycle})

    def evidence(self, cycle: int) -> pl.DataFrame:
        """Return the evidence of a cycle, a row per stream."""
        rows = self._pages("evidence", {"cycle": cycle})
        return pl.DataFrame(rows, infer_schema_length=None)

    def _pages(self, path: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            page = self._asked("GET", path, params={**asked, "limit": _PAGE, **more})
            rows += page["rows"]
            cursor = page["next"]
            if cursor is None:
                return rows

    def _until(self, ask: Callable[[], T | None], what: str) -> T:
        until, pause = monotonic() + _WAIT_SECONDS, _FIRST_PAUSE
        while monotonic() < until:
            if found := ask():
                return found
            sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        raise ServerError(
            f"The server of the demo did not bring {what} within {_WAIT_SECONDS:g} seconds. "
            f"Hint: see {self._server.log}."
        )

    def _asked(self, method: str, path: str, **told: Any) -> Any:
        try:
            answer = self._client.request(method, f"/api/v1/{path}", **told)
        except self._error as error:
            self._server.check()
            raise ServerError(f"The server of the demo does not answer: {error}.") from error
        if answer.is_error:
            raise ServerError(
                f"The server of the demo refuses {method} /api/v1/{path} "
                f"({answer.status_code}): {_message(answer)}"
            )
        return answer.json()


def _message(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.text)[:300]
