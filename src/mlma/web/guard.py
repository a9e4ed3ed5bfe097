"""The guard: who may do what, how often, and from where.

Takes every request before its body is read, hands it on or refuses it. Without keys the agent is
open to this machine, and to nobody else: not to other hosts, and not to pages of other sites that
a browser of this machine shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mlma.domain.inbox import KINDS
from mlma.service.keys import KeyRing
from mlma.service.tables import is_loopback
from mlma.web.buckets import Buckets
from mlma.web.errors import RefusedError, refusal

OPEN_PATHS = frozenset(
    {"/", "/health", "/ready", "/docs", "/docs.css", "/favicon.ico", "/openapi.json"}
)
ROW_PATHS = frozenset(f"/api/v1/{kind}" for kind in KINDS)
INGEST_PATHS = ROW_PATHS | {"/api/v1/models"}
PERMITTED: Mapping[str, frozenset[str]] = {
    "read": frozenset({"read"}),
    "ingest": frozenset({"ingest"}),
    "engineer": frozenset({"read", "ingest", "engineer"}),
}
FAILURES_PER_MINUTE = 10


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Limits of the guard; 0 = no limit."""

    requests_per_minute: int = 6000
    failures_per_minute: int = FAILURES_PER_MINUTE
    metrics_open: bool = False


def needed(method: str, path: str) -> str | None:
    """Return the right that a request needs; None = everybody may.

    >>> needed("GET", "/api/v1/streams"), needed("POST", "/api/v1/actuals"), needed("GET", "/ready")
    ('read', 'ingest', None)
    """
    if path in OPEN_PATHS:
        return None
    if method in {"GET", "HEAD", "OPTIONS"}:
        return "read"
    return "ingest" if path in INGEST_PATHS else "engineer"


class Guard:
    """ASGI layer that lets through who may pass."""

    def __init__(self, app: ASGIApp, keys: KeyRing, settings: GuardSettings) -> None:
        self._app, self._keys, self._settings = app, keys, settings
        self._calls = Buckets(settings.requests_per_minute)
        self._failures = Buckets(settings.failures_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._admit(scope)
        except RefusedError as error:
            await refusal(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if not len(self._keys):
            _refuse_other_hosts(headers)
            _refuse_other_machines(scope)
        if scope["method"] not in {"GET", "HEAD", "OPTIONS"}:
            _refuse_other_sites(headers)
        path = scope["path"]
        right = needed(scope["method"], path)
        who = _address(scope)
        if self._keys and right and not (path == "/metrics" and self._settings.metrics_open):
            who = self._holder(headers, right, who)
        scope.setdefault("state", {})["key"] = who
        if path not in OPEN_PATHS and (wait := self._calls.take(who)):
            raise _too_many(
                f"More than {self._settings.requests_per_minute} requests a minute.", wait
            )

    def _holder(self, headers: Headers, right: str, address: str) -> str:
        """Return the name of the key of a request.

        Who guesses is slowed down; a good key passes whoever else guesses at the same address.

        Raises
        ------
        RefusedError
            There is none, it is unknown, or it lacks the right.
        """
        secret = _secret(headers)
        key = self._keys.role_of(secret) if secret else None
        if key is None:
            if secret and (wait := self._failures.take(address)):
                raise _too_many("Too many requests with a wrong key.", wait)
            raise _unknown(bool(secret))
        if right not in PERMITTED[key.role]:
            raise RefusedError(
                403,
                f"The key `{key.name}` may not do this: it needs the right `{right}`, and the role "
                f"of the key is `{key.role}`.",
            )
        return f"key:{key.name}"


def _secret(headers: Headers) -> str:
    scheme, _, told = headers.get("authorization", "").partition(" ")
    return told.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()


def _address(scope: Scope) -> str:
    """Return where a request comes from; a proxy may have put any text there."""
    client = scope.get("client")
    try:
        return f"address:{ip_address(client[0])}" if client else "address:?"
    except ValueError:
        return "address:?"


def _host(text: str) -> str:
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def _refuse_other_hosts(headers: Headers) -> None:
    if not is_loopback(_host(headers.get("host", ""))):
        raise RefusedError(
            403,
            "Without keys only this machine is served, under a name of its own such as 127.0.0.1.",
            hint="`mlma key` makes a key",
        )


def _refuse_other_machines(scope: Scope) -> None:
    """Refuse who comes from elsewhere under whatever host: the name of a host is only told."""
    client = scope.get("client")
    if client and not is_loopback(client[0]):
        raise RefusedError(
            403, "Without keys only this machine is served.", hint="`mlma key` makes a key"
        )


def _refuse_other_sites(headers: Headers) -> None:
    """Refuse what a page of another site makes a browser send."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    foreign = site is not None and site not in {"same-origin", "none"}
    if origin is not None and not foreign:
        foreign = origin.partition("://")[2].lower() != headers.get("host", "").lower()
    if foreign:
        raise RefusedError(403, "Pages of other sites may not send this.")


def _too_many(message: str, wait: float) -> RefusedError:
    return RefusedError(429, message, retry_after=wait, hint="wait as `Retry-After` says")


def _unknown(told: bool) -> RefusedError:
    message = "This key is not known." if told else "This needs a key."
    return RefusedError(401, message, hint="Authorization: Bearer mlma_...")
