"""An end to a connection that takes too long in all, however lively it is.

Takes the events of a connection, shuts its socket when the time is over: a receiver that answers
one byte at a time cannot hold up the sender. Time-outs of single reads do not see that.
"""

import socket
from threading import Timer
from types import TracebackType
from typing import Any

_OPENED = (".connect_tcp.complete", ".start_tls.complete")


class Deadline:
    """Shuts the connection whose events it is told, after some seconds.

    ``passed`` tells whether the time was over. Use it as a context; `trace` goes into the
    extensions of a request.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = Timer(seconds, self._end)
        self._timer.daemon = True

    def trace(self, event: str, about: dict[str, Any]) -> None:
        """Take note of the socket that is in use."""
        if event.endswith(_OPENED):
            self._socket = about["return_value"].get_extra_info("socket")
            if self.passed:
                self._shut()

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._timer.join()

    def _end(self) -> None:
        self.passed = True
        self._shut()

    def _shut(self) -> None:
        if self._socket is None:
            return
        try:
            # Of the plain socket: the one of TLS would drop its state under the reader's hands.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return  # closed meanwhile
