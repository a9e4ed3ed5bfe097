"""The receiver: what a server under test posts to, and where its fits tell that they begin.

Takes messages, keeps their ids and bodies. Now and then it answers that it has too much to do.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Lock, Thread
from time import sleep
from typing import Any

HICCUPS = 0.03
"""Share of the messages that are answered with 503."""


@dataclass
class Receiver:
    """What was received.

    told
        called with ``fit`` or ``delivery`` before the message is answered.
    bodies
        what came under an id; more than one body under one id is a fault of the sender.
    """

    seed: int = 0
    told: Callable[[str], None] = lambda _: None
    bodies: dict[str, set[bytes]] = field(default_factory=dict)
    arrivals: Counter[str] = field(default_factory=Counter)
    fits: int = 0
    url: str = ""
    _lock: Lock = field(default_factory=Lock)
    _chance: Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)

    def fit(self) -> int:
        """Take note of a fit."""
        with self._lock:
            self.fits += 1
        self.told("fit")
        return 204

    def hook(self, key: str, body: bytes) -> int:
        """Take a message; return the status of the answer."""
        self.told("delivery")
        with self._lock:
            if self._chance.random() < HICCUPS:
                return 503
            pause = self._chance.random() * 0.01
            self.bodies.setdefault(key, set()).add(body)
            self.arrivals[key] += 1
        sleep(pause)
        return 204

    @property
    def duplicates(self) -> int:
        """How many messages came more than once."""
        return sum(count - 1 for count in self.arrivals.values())


@contextmanager
def receiving(seed: int) -> Iterator[Receiver]:
    """Receive on a free port of the loopback."""
    receiver = Receiver(seed)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                length = int(self.headers.get("content-length", "0"))
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # the sender was killed between head and body: nothing was told
                if self.path == "/fit":
                    status = receiver.fit()
                else:
                    status = receiver.hook(self.headers["idempotency-key"], body)
                self.send_response(status)
                self.end_headers()
            except ConnectionError:
                pass  # the sender was killed meanwhile

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # a sender that was killed

    server = Quiet(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
