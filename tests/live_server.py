"""A real server on the loopback, for tests: uvicorn in a thread, the service behind it."""

import socket
import time
from contextlib import contextmanager
from threading import Thread

import httpx
import uvicorn

from mlma.service.bootstrap import build
from mlma.service.settings import Settings
from mlma.web.app import create_app


def settings_of(**tables):
    """Return settings out of tables of plain values, as mlma.toml would hold them."""
    return Settings(**tables)


@contextmanager
def serving(settings, prepare=lambda app: None):
    """Serve what settings describe; yields the service and a client of it.

    ``prepare`` is called with the app before it is served.
    """
    service = build(settings)
    app = create_app(service)
    prepare(app)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    service.start()
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield service, client
    finally:
        server.should_exit = True
        thread.join(10)
        service.stop()
        listener.close()
