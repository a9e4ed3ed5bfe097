"""Requests for re-training, a clock that stands still, and a real HTTP server on this machine."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from mlma.adapters.notify.documents import request_id
from mlma.ports import RetrainingRequest

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def request(name="stream 0", cycle=12, **evidence):
    return RetrainingRequest(
        id=request_id(name, 1, cycle, evidence.get("loss")),
        unique_id=name,
        reason="loss above the reference",
        version=1,
        cycle=cycle,
        asked_at=NOON,
        evidence=evidence,
    )


@dataclass
class Clock:
    """Tells the time that it was set to; sleeping moves it."""

    now: datetime = NOON
    slept: list[float] = field(default_factory=list)

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


@dataclass
class Receiver:
    """What a server was sent, and what it answers: one status (and headers) after the other."""

    port: int = 0
    answers: list = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    closing: Event = field(default_factory=Event)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


def handler_of(receiver):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            receiver.paths.append(self.path)
            receiver.headers.append(self.headers)
            receiver.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            answer = receiver.answers.pop(0) if receiver.answers else 200
            if answer == "silence":
                receiver.closing.wait(30)
                return
            if answer == "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
                while not receiver.closing.wait(0.01):
                    self.wfile.write(b"x")
                return
            if answer == "no http":
                self.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")
                return
            status, headers, body = answer if isinstance(answer, tuple) else (answer, {}, b"")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):  # only where somebody follows a redirect
            receiver.bodies.append(b"GET")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    return Handler


@contextmanager
def serving(*answers, context=None):
    """A server in a thread, which answers in this order and 200 ever after."""
    receiver = Receiver(answers=list(answers))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(receiver)) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.closing.set()
            server.shutdown()
            thread.join()
