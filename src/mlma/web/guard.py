"""The guard: who may do what, how often, and from where.

Takes every request before its body is read, hands it on or refuses it. Without keys and users the
agent is open to this machine, and to nobody else: not to other hosts, and not to pages of other
sites that a browser of this machine shows. With them programs show a key, and people sign in.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlma.domain.errors import MlmaError
from mlma.domain.inbox import KINDS
from mlma.service.keys import KeyRing
from mlma.service.roles import Right
from mlma.service.sessions import Session
from mlma.service.tables import is_loopback
from mlma.web.buckets import Buckets
from mlma.web.errors import RefusedError, refusal_of
from mlma.web.forms import LARGEST, token_fits
from mlma.web.people import People, Person, address_of, check_may
from mlma.web.refused import DOORS, answer, interrupted, is_page, to_login, wants_page

OPEN_PATHS = DOORS | {"/health", "/ready", "/docs", "/docs.css", "/favicon.ico", "/openapi.json"}
OPEN_FOLDER = "/static/"
ROW_PATHS = frozenset(f"/api/v1/{kind}" for kind in KINDS)
INGEST_PATHS = ROW_PATHS | {"/api/v1/models"}
ADMIN_PATHS = frozenset({"/api/v1/clock", "/api/v1/webhooks/test", "/api/v1/alerts/test"})
ADMIN_PAGES = frozenset({"/alerts"})
FAILURES_PER_MINUTE = 10

LARGE, LARGE_PER_MINUTE = 64 * 2**10, 30
"""Bytes of a large form, and how many an address may send a minute that nobody is known at."""

_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
_FRAMES = frozenset({"iframe", "frame", "object", "embed", "fencedframe"})
_HINT = "Authorization: Bearer mlma_..."


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Limits of the guard; 0 = no limit."""

    requests_per_minute: int = 6000
    failures_per_minute: int = FAILURES_PER_MINUTE
    metrics_open: bool = False


class UnknownError(RefusedError):
    """Nobody knows who sends this: no key, and nobody is signed in."""


def needed(method: str, path: str) -> Right | None:
    """Return the right that a request needs; None = everybody may.

    >>> needed("GET", "/api/v1/streams"), needed("POST", "/api/v1/actuals"), needed("GET", "/ready")
    ('read', 'ingest', None)
    """
    if path in OPEN_PATHS or path.startswith(OPEN_FOLDER):
        return None
    if path in ADMIN_PAGES:
        return "admin"
    if method in _LOOKS:
        return "read"
    if path in ADMIN_PATHS:
        return "admin"
    return "ingest" if path in INGEST_PATHS else "engineer"


class Guard:
    """ASGI layer that lets through who may pass."""

    def __init__(
        self, app: ASGIApp, keys: KeyRing, people: People, settings: GuardSettings
    ) -> None:
        self._app, self._keys, self._people, self._settings = app, keys, people, settings
        self._calls = Buckets(settings.requests_per_minute)
        self._failures = Buckets(settings.failures_per_minute)
        self._large = Buckets(LARGE_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        try:
            session = await self._session(scope)
            self._admit(scope, session)
        except UnknownError as error:
            await self._unknown(scope, receive, send, error)
        except RefusedError as error:
            await answer(scope, error)(scope, receive, send)
        else:
            await self._app(scope, receive, self._renewing(scope, session, send))

    async def _unknown(
        self, scope: Scope, receive: Receive, send: Send, error: RefusedError
    ) -> None:
        """Answer who is not known: a browser is led to where one signs in, a program is told."""
        if not wants_page(scope):
            await answer(scope, error)(scope, receive, send)
        elif scope["method"] in _LOOKS:
            await to_login(scope)(scope, receive, send)
        else:  # a form that somebody filled in while the session ended: nothing of it gets lost
            await self._app(interrupted(scope), receive, send)

    def _admit(self, scope: Scope, session: Session | None) -> None:
        headers, path, looks = Headers(scope=scope), scope["path"], scope["method"] in _LOOKS
        if not self._people.locked:
            _refuse_other_hosts(headers)
            _refuse_other_machines(scope)
        if not looks:
            _refuse_other_sites(headers)
        right = needed(scope["method"], path)
        if looks and right:
            _refuse_embedding(headers)
        if path == "/metrics" and self._settings.metrics_open:
            right = None
        person = self._person(scope, headers, session, right)
        who = person.who if person else address_of(scope)
        scope["state"] |= {"key": who, "person": person}
        if is_page(path) and not (looks or person):
            self._refuse_large(headers, who)
        if (right or path in DOORS) and (wait := self._calls.take(who)):
            raise _too_many(
                f"More than {self._settings.requests_per_minute} requests a minute.", wait
            )
        if right and person is None:
            raise UnknownError(401, "This needs a key.", hint=_HINT)
        if right and person:
            check_may(person, right)
            _check_meant(scope, person)

    def _refuse_large(self, headers: Headers, address: str) -> None:
        """Refuse what somebody who is not known sends, where it is more than a form.

        Forms are kept for whoever signs in next, and are shown again: large ones have their number.
        """
        size = headers.get("content-length", "")
        if "transfer-encoding" in headers:
            raise RefusedError(411, "What is sent without a key must tell its `Content-Length`.")
        plain = size.isascii() and size.isdigit() and len(size) < 10
        told = int(size) if plain else 0
        if size and (not plain or told > 4 * LARGEST):
            raise RefusedError(413, f"A form must be at most {LARGEST} bytes.")
        if told > LARGE and (wait := self._large.take(address)):
            raise _too_many("Too many large forms of somebody who is not signed in.", wait)

    def _person(
        self, scope: Scope, headers: Headers, session: Session | None, right: Right | None
    ) -> Person | None:
        """Return who sends a request; None = nobody who is known."""
        address = address_of(scope)
        if not self._people.locked:
            return Person(address, "admin")
        secret = _secret(headers)
        if secret and right:
            return self._holder(secret, address)
        return Person(session.user.name, session.user.role, session.id) if session else None

    def _holder(self, secret: str, address: str) -> Person:
        """Return whose key it is.

        Who guesses is slowed down; a good key passes whoever else guesses at the same address.

        Raises
        ------
        RefusedError
            It is unknown.
        """
        key = self._keys.role_of(secret)
        if key is None:
            if wait := self._failures.take(address):
                raise _too_many("Too many requests with a wrong key.", wait)
            raise RefusedError(401, "This key is not known.", hint=_HINT)
        return Person(f"key:{key.name}", key.role)

    async def _session(self, scope: Scope) -> Session | None:
        """Return the session of a request; None = it has none that lives.

        The store is asked at the first time, and where a cookie does not fit; in a thread, so that
        others do not wait.
        """
        sessions, path = self._people.sessions, scope["path"]
        page = is_page(path) and (path in DOORS or needed("GET", path) is not None)
        if not page and not (self._people.locked and "cookie" in Headers(scope=scope)):
            return None
        try:
            if not sessions.ready:
                await to_thread.run_sync(sessions.refresh)
            found = self._people.session_of(scope)
            if found is None and self._people.cookie_of(scope) and sessions.may_be_old():
                await to_thread.run_sync(sessions.refresh)
                found = self._people.session_of(scope)
        except MlmaError as error:
            raise refusal_of(error) from error
        return found

    def _renewing(self, scope: Scope, session: Session | None, send: Send) -> Send:
        """Return a ``send`` that writes the cookie anew, once it is a little old."""
        if session is None or not self._people.sessions.wants_renewal(session):
            return send

        async def renewed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "set-cookie" not in headers:
                    headers.append("Set-Cookie", self._people.kept(scope, session))
            await send(message)

        return renewed


def _secret(headers: Headers) -> str:
    scheme, _, told = headers.get("authorization", "").partition(" ")
    return told.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()


def _host(text: str) -> str:
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def _refuse_other_hosts(headers: Headers) -> None:
    if not is_loopback(_host(headers.get("host", ""))):
        raise RefusedError(
            403,
            "Without keys and users only this machine is served, under a name of its own such as "
            "127.0.0.1.",
            hint="`mlma key` makes a key, `mlma user` a user",
        )


def _refuse_other_machines(scope: Scope) -> None:
    """Refuse who comes from elsewhere under whatever host: the name of a host is only told."""
    client = scope.get("client")
    if client and not is_loopback(client[0]):
        raise RefusedError(
            403,
            "Without keys and users only this machine is served.",
            hint="`mlma key` makes a key, `mlma user` a user",
        )


def _refuse_other_sites(headers: Headers) -> None:
    """Refuse what a page of another site makes a browser send."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    foreign = site is not None and site not in {"same-origin", "none"}
    if origin is not None and site is None:
        foreign = origin.partition("://")[2].lower() != headers.get("host", "").lower()
    if foreign:
        raise RefusedError(403, "Pages of other sites may not send this.")


def _refuse_embedding(headers: Headers) -> None:
    """Refuse what a page of another site loads as a part of itself; links to here may be followed.

    It could not read the answer, but it could measure it, and have us work.
    """
    foreign = headers.get("sec-fetch-site") in {"cross-site", "same-site"}
    followed = headers.get("sec-fetch-mode", "navigate") == "navigate"
    if foreign and not (followed and headers.get("sec-fetch-dest") not in _FRAMES):
        raise RefusedError(403, "Pages of other sites may not load this.")


def _too_many(message: str, wait: float) -> RefusedError:
    return RefusedError(429, message, retry_after=wait, hint="wait as `Retry-After` says")


def _check_meant(scope: Scope, person: Person) -> None:
    """Check that what changes something by the cookie of a browser was meant.

    Forms of pages carry a token among their fields, which the route of the page looks at.
    """
    changes = scope["method"] not in _LOOKS and not is_page(scope["path"])
    if changes and person.session and not token_fits(Request(scope), person):
        raise RefusedError(
            403,
            "With the session of a browser this needs the token of a page of yours.",
            hint="X-CSRF-Token: ..., or a key",
        )
