"""The process of `mlma serve`: an address, signals, a server that ends in order.

Takes settings, runs the service behind its HTTP interface until a signal comes. The first signal
ends it in order: no new connections, answers that are being given are given, the running cycle or
commit is finished, the lease is given back, the store is closed. The second one ends the process
at once; the store does not mind, as every write of it is one transaction.
"""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from mlma.cli.connections import Connection
from mlma.service.listeners import address_of, bound
from mlma.service.settings import Settings

log = logging.getLogger(__name__)

ANSWER_SECONDS = 20
"""So long a request that runs when the end is asked for may still take."""


@dataclass(slots=True)
class Signals:
    """What was asked of the process."""

    asked: bool = False

    @contextmanager
    def heard(self) -> Iterator["Signals"]:
        """Listen to SIGTERM and SIGINT until left."""
        kinds = (signal.SIGTERM, signal.SIGINT)
        before = {kind: signal.signal(kind, self._hear) for kind in kinds}
        try:
            yield self
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _hear(self, kind: int, _: FrameType | None) -> None:
        if self.asked:
            os._exit(128 + kind)
        self.asked = True


class Server(uvicorn.Server):
    """Serves until a signal was heard; tells where when it is ready."""

    def __init__(self, config: uvicorn.Config, signals: Signals, address: str) -> None:
        super().__init__(config)
        self._signals, self._address = signals, address

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `Signals`, which hears them before and after the server, too."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell where."""
        await super().startup(sockets=sockets)
        if self.started:
            print(f"mlma serves at {self._address}", flush=True)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end."""
        return self._signals.asked or await super().on_tick(counter)


def configured(app: ASGIApp) -> uvicorn.Config:
    """Return how the server is set up."""
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,  # the app tells of each request itself
        server_header=False,
        timeout_graceful_shutdown=ANSWER_SECONDS,
    )


def run(settings: Settings) -> None:
    """Serve until a signal comes.

    Raises
    ------
    SettingsError
        The address cannot be listened on; nothing was opened.
    """
    from mlma.service.bootstrap import build
    from mlma.web.app import create_app
    from mlma.web.warming import kept_warm

    with bound(settings.server.host, settings.server.port) as listener, Signals().heard() as heard:
        service = build(settings)
        try:
            service.start()
            app = create_app(service)
            with kept_warm(app):
                server = Server(configured(app), heard, address_of(listener))
                server.run(sockets=[listener])
        finally:
            service.stop()
