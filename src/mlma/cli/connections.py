"""Connections of the server: what may be asked of it before anybody has shown a key.

Takes the bytes of a client, gives requests to the app. The parser below believes in the good will
of a client: heads may have any size and come as slowly as they like. Here both have an end, and
so has the number of connections.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD = 32 * 1024
"""Bytes of a request beside its body: address, headers, what frames the parts of a body."""
HEAD_SECONDS = 10.0
"""For which a head may be on its way, and the rest of a body that is answered already."""
_OF_A_PART = 8
"""Bytes of frame that each byte of a body may have: six are the most that a sane client needs."""

_ANSWER = "\r\n".join(
    (
        "HTTP/1.1 {told}",
        "content-type: text/plain",
        "content-length: 0",
        "connection: close",
        "",
        "",
    )
)


def most_connections() -> int:
    """Return how many connections there may be: files and the store need descriptors, too."""
    try:
        import resource
    except ImportError:  # there is no such limit on Windows
        return 1000
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1000 if soft == resource.RLIM_INFINITY else max(min(1000, soft // 2), 16)


class Connection(HttpToolsProtocol):
    """A connection that is given up where its client asks for too much without saying anything."""

    most = most_connections()
    head_seconds = HEAD_SECONDS

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head = True  # a head is awaited or on its way
        self._beside = self._of_body = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, where there is room."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._refuse("503 Service Unavailable")
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read bytes; refuse where too many are no body."""
        if self.transport.is_closing():
            return
        self._beside += len(data)
        if self._head:
            self._wait()
        super().data_received(data)
        if self._beside > MOST_HEAD + _OF_A_PART * self._of_body:
            self._refuse("431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._beside = self._of_body = 0

    def on_headers_complete(self) -> None:
        """Have the request answered, if its head is of a reasonable size.

        Raises
        ------
        ValueError
            It is not; the parser makes a bad request of that.
        """
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MOST_HEAD:
            raise ValueError("the head is too large")
        self._head = False
        self._stop()
        super().on_headers_complete()
        if self.parser.should_upgrade():  # a proxy may take what follows for another protocol
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Hand on a part of the body."""
        self._beside -= len(body)
        self._of_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Await the next request."""
        self._head, self._beside, self._of_body = True, 0, 0
        self._stop()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request; what comes of a refused body has to come soon."""
        super().on_response_complete()
        if not self._head:
            self._wait()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self._over)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait()  # an earlier request is being answered
            return
        self._refuse("408 Request Timeout")

    def _refuse(self, told: str) -> None:
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering:
            self.transport.write(_ANSWER.format(told=told).encode())
        self.transport.close()
