"""Who looks at a page or sends an order: a person who signed in, a key, or this machine.

Takes what the guard found out about a request, gives it to pages and routes; and reads and writes
the cookie of a session.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, cast

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from mlma.domain.orders import Order
from mlma.service.bootstrap import Service
from mlma.service.roles import Right, Role, needs_admin, permits
from mlma.service.sessions import Session, Sessions
from mlma.service.users import UserBook
from mlma.web.errors import RefusedError


@dataclass(frozen=True, slots=True)
class Person:
    """Who it is.

    name
        for the eye: ``ann``, ``key:trainer``, ``address:127.0.0.1``.
    session
        what forms are bound to; empty = it did not sign in.
    """

    name: str
    role: Role
    session: str = ""

    @property
    def who(self) -> str:
        """What stands with actions and in the log: ``user:ann``, ``key:trainer``, ..."""
        return f"user:{self.name}" if self.session else self.name

    @property
    def by_key(self) -> bool:
        """Whether a key opened the door: no browser sends one by itself."""
        return not self.session and self.name.startswith("key:")


@dataclass(frozen=True, slots=True)
class People:
    """Who may sign in, and their sessions.

    locked
        there are users or keys; else this machine is served, and nobody else.
    """

    users: UserBook
    sessions: Sessions
    locked: bool

    def session_of(self, scope: Scope) -> Session | None:
        """Return the session that the cookie of a request tells of; None = none that lives."""
        told = self.cookie_of(scope)
        return self.sessions.read(told) if told else None

    def cookie_of(self, scope: Scope) -> str:
        """Return the cookie of a request; empty = there is none."""
        cookies: Mapping[str, str] = cookie_parser(Headers(scope=scope).get("cookie", ""))
        return cookies.get(self.sessions.cookie_name(is_secure(scope)), "") if cookies else ""

    def kept(self, scope: Scope, session: Session) -> str:
        """Return the header that makes a browser keep a session.

        ``Lax``: a link in a mail finds who follows it signed in; what pages of other sites post
        comes without the cookie.
        """
        value = self.sessions.cookie(self.sessions.renewed(session))
        return self._header(scope, value, self.sessions.seconds(session))

    def dropped(self, scope: Scope) -> str:
        """Return the header that makes a browser forget its session."""
        return self._header(scope, "", 0)

    def _header(self, scope: Scope, value: str, seconds: int) -> str:
        secure = is_secure(scope)
        name = self.sessions.cookie_name(secure)
        told = f"{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax"
        return f"{told}; Secure" if secure else told


def people_of(service: Service) -> People:
    """Return the people of a service."""
    settings = service.settings
    users = UserBook(settings.users)
    sessions = Sessions(service.store, users, settings.server.session)
    return People(users, sessions, locked=bool(settings.keys or settings.users))


def people(request: Request) -> People:
    """Return the people of the app that a request came to."""
    return cast("People", request.app.state.people)


def person_of(request: Request) -> Person | None:
    """Return who sent a request; None = nobody who is known."""
    return cast("Person | None", getattr(request.state, "person", None))


def person(request: Request) -> Person:
    """Return who sent a request.

    Raises
    ------
    RefusedError
        Nobody who is known; the guard lets no such request through to a page.
    """
    found = person_of(request)
    if found is None:
        raise RefusedError(401, "This needs a key, or somebody who is signed in.")
    return found


AtPeople = Annotated[People, Depends(people)]
AtPerson = Annotated[Person, Depends(person)]


def may(who: Person | None, right: Right) -> bool:
    """Return whether somebody has a right: read, ingest, engineer or admin.

    >>> may(Person("ann", "engineer", "s1"), "engineer"), may(None, "read")
    (True, False)
    """
    return who is not None and permits(who.role, right)


def check_may(who: Person, right: Right) -> None:
    """Check that somebody has a right.

    Raises
    ------
    RefusedError
        No.
    """
    if not may(who, right):
        kind = "key" if who.by_key else "user"
        name = who.name.removeprefix("key:")
        raise RefusedError(
            403,
            f"The {kind} `{name}` may not do this: it needs the right `{right}`, and the role of "
            f"the {kind} is `{who.role}`.",
        )


def check_order(who: Person, order: Order, undone: Order | None = None) -> None:
    """Check that somebody may give an order; ``undone`` is the one that an `Undo` takes back.

    Raises
    ------
    RefusedError
        No.
    """
    check_may(who, "admin" if needs_admin(order, undone) else "engineer")


def is_secure(scope: Scope) -> bool:
    """Return whether a request came over an encrypted connection.

    The server puts here what ``X-Forwarded-Proto`` says where a proxy that it trusts sent it.
    """
    return scope.get("scheme") == "https"


def address_of(scope: Scope) -> str:
    """Return where a request comes from; a proxy may have put any text there."""
    client = scope.get("client")
    try:
        return f"address:{ip_address(client[0])}" if client else "address:?"
    except ValueError:
        return "address:?"
