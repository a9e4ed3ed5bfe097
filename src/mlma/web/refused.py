"""What is not done, told in the form that the sender understands: a page, or a document.

Takes a request that is refused, gives the answer. A browser without a session is led to the page
where one signs in, and back from there.
"""

from typing import Any
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from mlma.web.errors import RefusedError, refusal

LOGIN, LOGOUT = "/login", "/logout"
DOORS = frozenset({LOGIN, LOGOUT})
INTERRUPTED = "/login/interrupted"
"""Where a form goes whose sender is not signed in any more; no request reaches it from outside."""

_BARE = frozenset({"/metrics", "/health", "/ready", "/openapi.json"})
_LONGEST = 2000


def is_page(path: str) -> bool:
    """Return whether a path is one for people.

    >>> [is_page(path) for path in ("/fleet", "/orders/freeze", "/api/v1/streams", "/metrics")]
    [True, True, False, False]
    """
    return path != "/api" and not path.startswith(("/api/", "/static/")) and path not in _BARE


def wants_page(scope: Scope) -> bool:
    """Return whether a person at a browser waits for the answer."""
    return is_page(scope["path"]) and "text/html" in Headers(scope=scope).get("accept", "")


def answer(scope: Scope, error: RefusedError) -> Response:
    """Return the answer to a request that is refused."""
    told = refusal(error)
    if not wants_page(scope):
        return told
    from mlma.web.pages.environment import page

    detail = error.detail
    words: dict[str, Any] = {"message": detail.message, "hint": detail.hint or "", "done": None}
    words["code"] = error.status
    if not scope["state"].get("person"):
        words["places"] = []  # how many incidents there are is for those who may read
    made = page(Request(scope), "refused.html", status=error.status, **words)
    if "retry-after" in told.headers:
        made.headers["Retry-After"] = told.headers["retry-after"]
    return made


def to_login(scope: Scope) -> Response:
    """Return the way to where one signs in, from where a browser wanted to go."""
    return RedirectResponse(f"{LOGIN}?{urlencode({'next': place_of(scope)})}", 303)


def place_of(scope: Scope) -> str:
    """Return the path and the parameters of a request, as an address of this server."""
    path, asked = quote(scope["path"]), scope.get("query_string", b"").decode("latin-1")
    whole = f"{path}?{asked}" if asked else path
    return whole if len(whole) <= _LONGEST else path


def interrupted(scope: Scope) -> Scope:
    """Return a request of a form as one to the page that keeps its fields."""
    state = {**scope["state"], "interrupted": place_of(scope)}
    path = INTERRUPTED.encode()
    return {**scope, "path": INTERRUPTED, "raw_path": path, "query_string": b"", "state": state}


def is_local(place: str) -> bool:
    r"""Return whether an address is a path of this server, whatever a browser makes of it.

    >>> [is_local(one) for one in ("/fleet?a=b", "//evil.example", "/\\evil.example", "fleet", "")]
    [True, False, False, False, False]
    """
    plain = place.startswith("/") and len(place) <= _LONGEST and place.isprintable()
    return plain and not place.startswith("//") and "\\" not in place
