"""The outermost layer: an id for each request, headers for browsers, a line in the log, counters.

Takes every request, hands it on. What goes wrong inside without an answer gets one here, which
tells nothing but the id under which the log has the rest.
"""

import logging
import re
import secrets
from collections.abc import Container, Mapping
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlma.web.errors import RefusedError, refusal
from mlma.web.refused import answer
from mlma.web.telemetry import Telemetry

log = logging.getLogger(__name__)

_SENT_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # without it browsers do not tell whence a form comes
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",  # who opened a page of ours learns nothing of it
    "Cache-Control": "no-store",
}


class Access:
    """ASGI layer around everything else; ``paths`` are those that are counted by name."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, paths: Container[str]) -> None:
        self._app, self._telemetry, self._paths = app, telemetry, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and tell of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, number = perf_counter(), _request_id(scope)
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(_headers(scope["path"]))
                headers["X-Request-ID"] = number
            await send(message)

        scope.setdefault("state", {})["request_id"] = number
        try:
            await self._app(scope, receive, told)
        except ClientDisconnect:
            status = status or 499
        except Exception:
            log.exception("request %s failed", number)
            if status:
                raise
            await _answer(scope, _unexpected(number))(scope, receive, told)
        finally:
            self._note(scope, status, perf_counter() - begun, number)

    def _note(self, scope: Scope, status: int, seconds: float, number: str) -> None:
        route = scope["path"] if scope["path"] in self._paths else "other"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._telemetry.requests.labels(route, method, str(status)).inc()
        self._telemetry.seconds.labels(route).observe(seconds)
        if status >= 400:
            self._telemetry.refused.labels(str(status)).inc()
        who = scope["state"].get("key", "-")
        log.info(
            "%s %s %d %.1f ms",
            *(method, route, status, seconds * 1000),
            extra={"request_id": number, "by": who, "status": status, "route": route},
        )


def _request_id(scope: Scope) -> str:
    """Return the id that the sender gave, where it is harmless, or a new one."""
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if _SENT_ID.fullmatch(sent) else secrets.token_hex(8)


def _headers(path: str) -> Mapping[str, str]:
    """Return the headers of an answer: files of the pages are kept, and asked for again."""
    cached = {"Cache-Control": "no-cache"} if path.startswith("/static/") else {}
    return {**SECURITY_HEADERS, **cached}


def _answer(scope: Scope, error: RefusedError) -> Response:
    """Return the answer to what went wrong; where not even a page can be made, a document."""
    try:
        return answer(scope, error)
    except Exception:
        log.exception("the page that tells of an error failed, too")
        return refusal(error)


def _unexpected(number: str) -> RefusedError:
    return RefusedError(
        500, f"Something went wrong here; nothing of it is your fault. Request {number}."
    )
