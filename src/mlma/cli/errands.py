"""Errands: an order is looked at and carried out, in a store or by a running server.

Takes an order in plain values, gives what it would change and the number of its action. Next is
whoever shows it.
"""

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlma.cli.extras import needs_serve, settings_of
from mlma.domain.errors import ConflictError, DataError, SettingsError, StoreError

if TYPE_CHECKING:
    import httpx

    from mlma.domain.incidents import Incident
    from mlma.service.engineering import EngineersDesk

_SECONDS = 120.0
_WIDEST = 60

Plain = Mapping[str, Any]


class Counter(Protocol):
    """Where errands are run."""

    def rehearse(self, kind: str, order: Plain) -> dict[str, Any]:
        """Return what an order would do, as `POST /api/v1/actions` tells it."""
        ...

    def carry_out(self, kind: str, order: Plain, why: str, after: int) -> int:
        """Carry an order out; return the number of its action."""
        ...

    def incidents(self, states: list[str], limit: int) -> list[dict[str, Any]]:
        """Return incidents, the newest first, as `GET /api/v1/incidents` tells them."""
        ...


@contextmanager
def counter(
    what: str, config: Path | None, store: str | None, url: str | None
) -> Iterator[Counter]:
    """Give the place where errands are run: the server at ``url``, else the store."""
    if url is not None:
        with needs_serve(what):
            import httpx
        key = os.environ.get("MLMA_KEY", "")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        try:
            with httpx.Client(
                base_url=url, headers=headers, timeout=_SECONDS, trust_env=False
            ) as client:
                yield OfServer(client)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise SettingsError(
                "`--url` must be the address of a server, such as http://127.0.0.1:8321."
            ) from error
        except httpx.HTTPError as error:
            raise StoreError(f"The server does not answer as mlma does: {error}.") from error
        return
    settings = settings_of(what, config, {"store": {"url": store}})
    with needs_serve(what):
        from mlma.adapters.store import schema_version
        from mlma.service.engineering import EngineersDesk
        from mlma.service.standing import onlooker
    if schema_version(settings.store.url.get_secret_value()) is None:
        raise SettingsError(
            f"There is no store at {settings.store.url}. Hint: `mlma serve` makes one."
        )
    with onlooker(settings) as service:
        desk = EngineersDesk(
            service.store,
            service.live,
            service.clock,
            trains=bool(settings.retraining.function),
            reads=bool(settings.sources),
        )
        yield OfStore(desk, service.store)


@dataclass(frozen=True, slots=True)
class OfStore:
    """Errands in a store: a running server sees them with its next look."""

    desk: "EngineersDesk"
    store: Any

    def rehearse(self, kind: str, order: Plain) -> dict[str, Any]:
        """Return what an order would do."""
        from mlma.domain.orders import order_from

        return self.desk.rehearse(order_from(kind, order), _me()).plain()

    def carry_out(self, kind: str, order: Plain, why: str, after: int) -> int:
        """Carry an order out; return the number of its action."""
        from mlma.domain.orders import order_from

        return self.desk.carry_out(order_from(kind, order), _me(), why, after=after)

    def incidents(self, states: list[str], limit: int) -> list[dict[str, Any]]:
        """Return incidents, the newest first."""
        found = self.store.incidents(states=states or None, limit=limit)
        return [_incident(one) for one in found]


@dataclass(frozen=True, slots=True)
class OfServer:
    """Errands of a running server."""

    client: "httpx.Client"

    def rehearse(self, kind: str, order: Plain) -> dict[str, Any]:
        """Return what an order would do."""
        body = {"kind": kind, **order, "dry_run": True}
        return _answer(self.client.post("/api/v1/actions", json=body))

    def carry_out(self, kind: str, order: Plain, why: str, after: int) -> int:
        """Carry an order out; return the number of its action."""
        body = {"kind": kind, **order, "why": why, "after": after}
        return int(_answer(self.client.post("/api/v1/actions", json=body))["action"])

    def incidents(self, states: list[str], limit: int) -> list[dict[str, Any]]:
        """Return incidents, the newest first."""
        asked: dict[str, Any] = {"state": states, "limit": limit}
        told = _answer(self.client.get("/api/v1/incidents", params=asked))
        rows: list[dict[str, Any]] = told["rows"]
        return rows


def _incident(one: "Incident") -> dict[str, Any]:
    moments = {
        name: None if (moment := getattr(one, name)) is None else moment.isoformat()
        for name in ("opened_at", "closed_at", "snoozed_until")
    }
    told = asdict(one) | moments
    return {name: value for name, value in told.items() if name not in {"members", "evidence"}}


def _me() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return f"cli:{os.getuid()}"  # an account without a name, as containers have them


def _answer(response: "httpx.Response") -> dict[str, Any]:
    """Return what a server said.

    Raises
    ------
    SettingsError, ConflictError, DataError, StoreError
        It refused, and why.
    """
    try:
        told: dict[str, Any] = response.json()
    except ValueError as error:
        raise StoreError("The server does not answer as mlma does.") from error
    if response.is_success:
        return told
    detail = told.get("error", {})
    hint = f" Hint: {detail['hint']}." if detail.get("hint") else ""
    message = f"{detail.get('message', 'The server refused.')}{hint}"
    kinds = {401: SettingsError, 403: SettingsError, 409: ConflictError}
    kind = kinds.get(response.status_code, DataError if response.status_code < 500 else StoreError)
    if response.status_code == 401:
        message += " The key stands in the variable MLMA_KEY."
    raise kind(message)


def plain_cell(value: Any) -> Any:
    """Return a cell that leaves the table and the terminal whole."""
    if not isinstance(value, str):
        return "" if value is None else value
    plain = "".join(one if one.isprintable() else "?" for one in value)
    return plain if len(plain) <= _WIDEST else f"{plain[: _WIDEST - 3]}..."
