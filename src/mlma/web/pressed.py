"""Pages, their tables and their style come compressed; the interface for programs does not.

Programs are near by as a rule, and each millisecond of theirs counts. Lengths of pages tell no
secret: the token of a form is another one on each page, other sites may not load pages as parts of
theirs, and the cookie is no part of a page.
"""

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

LEAST = 1_000
LEVEL = 5
"""Level 9 takes twice as long for a twentieth less (docs/decisions/0018-pages.md)."""


class Pressed:
    """ASGI layer that compresses what people look at."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._pressing = GZipMiddleware(app, minimum_size=LEAST, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on; compress the answer where it is a page."""
        page = scope["type"] == "http" and not scope["path"].startswith("/api/")
        await (self._pressing if page else self._app)(scope, receive, send)
