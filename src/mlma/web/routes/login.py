"""`/login` and `/logout`: people come and go, and a form that was interrupted is kept for them.

Takes a name and a password, gives the cookie of a session. A form whose sender was signed out in
the meantime comes along through the sign-in, and is shown again afterwards with a button: nothing
of it is lost, and nothing is done that nobody clicked for.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import ImmutableMultiDict

from mlma.domain.errors import MlmaError
from mlma.service.sessions import Session
from mlma.service.users import UserInfo
from mlma.web.buckets import Buckets
from mlma.web.errors import RefusedError, refusal_of
from mlma.web.forms import (
    LARGEST,
    MOST_FIELDS,
    Fields,
    StaleFormError,
    checked_form,
    posted,
    without_token,
)
from mlma.web.pages.environment import page
from mlma.web.people import People, Person, address_of, people, person_of
from mlma.web.refused import DOORS, INTERRUPTED, LOGIN, LOGOUT, is_local, is_page, place_of

log = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)

HOME = "/fleet"
PER_ADDRESS, PER_NAME = 10, 30
"""Wrong passwords a minute; more of a name than of an address: one guesser locks nobody out."""
_HASHES_AT_ONCE = 2
_MOST_WAITING = 20
_WRONG = "Name or password is not right."


class Attempts:
    """Sign-ins that are being tried: how often, and how many at once."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._addresses, self._names = Buckets(PER_ADDRESS, clock), Buckets(PER_NAME, clock)
        self._threads = ThreadPoolExecutor(_HASHES_AT_ONCE, thread_name_prefix="mlma-password")
        self._waiting = 0

    async def signed_in(
        self, at: People, address: str, name: str, password: str
    ) -> UserInfo | None:
        """Return who shows this name and password; None = nobody.

        Raises
        ------
        RefusedError
            Too many wrong ones were shown, or too many are looked at.
        """
        if self._waiting >= _MOST_WAITING:
            raise RefusedError(503, "Too many sign in at once.", retry_after=5)
        self._spend(address, name)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._threads, _looked_at, at, name, password)
        finally:
            self._waiting -= 1
        if found is not None:
            self._addresses.charge(address, -1)
            self._names.charge(name, -1)
        return found

    def _spend(self, address: str, name: str) -> None:
        """Count an attempt before it is looked at, so that many at once are counted, too."""
        wait = self._addresses.take(address) or self._names.take(name)
        if wait:
            raise RefusedError(429, "Too many wrong passwords.", retry_after=wait)


def _looked_at(at: People, name: str, password: str) -> UserInfo | None:
    at.sessions.refresh()  # all servers of a store sign with the secret that is there now
    return at.users.signed_in(name, password)


def attempts(request: Request) -> Attempts:
    """Return the attempts of the app that a request came to."""
    state = request.app.state
    if not hasattr(state, "attempts"):
        state.attempts = Attempts()
    found: Attempts = state.attempts
    return found


@router.get(LOGIN)
async def login_page(
    request: Request, to: Annotated[str, Query(alias="next")] = "", out: str = ""
) -> Response:
    """Return the page where one signs in."""
    at = people(request)
    if not at.locked or person_of(request):
        return RedirectResponse(_destination(to), 303)
    return _door(request, to=to, message="You are signed out." if out else "")


@router.post(LOGIN)
async def login(request: Request) -> Response:
    """Sign somebody in, and lead back to where they wanted to go."""
    at = people(request)
    if not at.locked:
        return RedirectResponse(HOME, 303)
    form = ImmutableMultiDict(await posted(request, 4 * LARGEST))
    name, password = form.get("name", "")[:80].strip(), form.get("password", "")
    to, kept = form.get("next", ""), form.get("kept", "")
    address = address_of(request.scope)
    try:
        user = await attempts(request).signed_in(at, address, name, password)
    except RefusedError as error:
        return _again(request, error, name, to, kept)
    except MlmaError as error:
        return _again(request, refusal_of(error), name, to, kept)
    known = name if at.users.user(name) else "a name that nobody has"  # it may be a password
    if user is None:
        log.warning("a sign-in as %s from %s was refused", known, address)
        return _again(request, RefusedError(401, _WRONG), name, to, kept)
    log.info("%s signed in from %s", known, address)
    return _let_in(request, at, at.sessions.begin(user), to, kept)


@router.post(LOGOUT)
async def logout(request: Request) -> Response:
    """Sign somebody out."""
    if person_of(request) is None:
        return RedirectResponse(LOGIN, 303)
    await checked_form(request)
    answer = RedirectResponse(f"{LOGIN}?out=1", 303)
    answer.headers.append("Set-Cookie", people(request).dropped(request.scope))
    return answer


@router.post(INTERRUPTED)
async def interrupted(request: Request) -> Response:
    """Return the page where one signs in, with all that was posted kept.

    Only the guard leads here, with a form whose sender is not signed in any more.
    """
    to = getattr(request.state, "interrupted", "")
    if not to:
        raise RefusedError(404, "There is nothing here.")
    fields = without_token(await posted(request))
    return _door(
        request,
        status=401,
        to=to,
        kept=json.dumps(fields, ensure_ascii=False),
        message="You were signed out in the meantime. Nothing was done yet, and nothing is lost: "
        "sign in, and you can send the form again.",
    )


async def stale_form(request: Request, error: Exception) -> Response:
    """Return the page that shows again what was posted with the token of an earlier session."""
    assert isinstance(error, StaleFormError)
    return _kept_form(request, place_of(request.scope), error.fields, status=409)


def _let_in(request: Request, at: People, session: Session, to: str, kept: str) -> Response:
    """Return the answer to who signed in: the page they wanted, or the form they had filled in."""
    fields = _fields(kept)
    user = session.user
    path = to.partition("?")[0]
    if fields is not None and is_local(to) and is_page(path) and path not in DOORS:
        request.state.person = Person(user.name, user.role, session.id)
        answer: Response = _kept_form(request, to, fields)
    else:
        answer = RedirectResponse(_destination(to), 303)
    answer.headers.append("Set-Cookie", at.kept(request.scope, session))
    return answer


def _kept_form(request: Request, to: str, fields: Fields, status: int = 200) -> Response:
    return page(request, "login_kept.html", status=status, done=None, to=to, fields=fields)


def _again(request: Request, error: RefusedError, name: str, to: str, kept: str) -> Response:
    message = error.detail.message
    answer = _door(request, status=error.status, to=to, kept=kept, name=name, wrong=message)
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(max(int(error.retry_after + 0.999), 1))
    return answer


def _door(request: Request, status: int = 200, **told: Any) -> Response:
    """Return the page where one signs in, or that says that nobody can yet."""
    context = {"to": "", "kept": "", "name": "", "message": "", "wrong": ""} | told
    nobody = not len(people(request).users)
    return page(
        request, "login.html", status=status, places=[], done=None, nobody=nobody, **context
    )


def _destination(to: str) -> str:
    """Return where to go after signing in: a page of this server, and no other."""
    path = to.partition("?")[0]
    return to if is_local(to) and path not in DOORS else HOME


def _fields(kept: str) -> Fields | None:
    """Return the fields of a form that was kept; None = there was none."""
    try:
        told = json.loads(kept) if kept else None
        if told is None or len(told) > MOST_FIELDS:
            return None
        return without_token((str(name), str(value)) for name, value in told)
    except (ValueError, TypeError, RecursionError):
        return None
