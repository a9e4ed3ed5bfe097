"""Attacks on a real server over real connections, as `mlma serve` sets it up."""

import gzip
import json
import socket
import time
from contextlib import contextmanager
from threading import Thread

import httpx
import pytest

from http_client import JSON, SECRETS, settings
from mlma.cli.connections import MOST_HEAD, Connection
from mlma.cli.listening import configured
from mlma.service.bootstrap import build
from mlma.web.app import create_app

KEY = f"Host: 127.0.0.1\r\nX-API-Key: {SECRETS['engineer']}\r\n".encode()
ACTUALS = b"POST /api/v1/actuals HTTP/1.1\r\n" + KEY + b"Content-Type: application/json\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@contextmanager
def served(**changed):
    """A server as the command runs it, with other limits; yields its port."""
    import uvicorn

    service = build(settings(keys=True))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = configured(create_app(service))
    config.http = type("Changed", (Connection,), changed)
    config.log_level = "critical"
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        service.stop(5.0)
        listener.close()


@pytest.fixture(scope="module")
def port():
    with served(head_seconds=0.5) as found:
        yield found


def sent(port, *parts, pause=0.0, patience=3.0):
    """Send parts one after the other; return all that is answered until the other side closes."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(patience)
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(pause)
        except OSError:
            pass
        return rest_of(client)


def rest_of(client):
    answer = b""
    try:
        while part := client.recv(65536):
            answer += part
    except ConnectionError:
        pass
    return answer


def status(answer):
    """The status of the only answer, or None where the connection was closed without one."""
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    return int(answer.split(b" ", 2)[1]) if answer else None


def rows(n):
    return json.dumps([{"unique_id": "a", "ds": "2024-01-01T00:00:00", "y": 1.0}] * n).encode()


SMUGGLED = b"0\r\n\r\nGET /api/v1/streams HTTP/1.1\r\n" + KEY + b"\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 0\r\n",
        b"Content-Length: 5, 0\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length: 18446744073709551616\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"X-A: b\r\n Transfer-Encoding: chunked\r\n",
        b"X-A: b\0c\r\n",
        b"X-A: b\rTransfer-Encoding: chunked\r\n",
    ],
)
def test_a_request_whose_length_can_be_read_in_two_ways_is_refused(port, head):
    assert status(sent(port, ACTUALS + head + b"\r\n" + SMUGGLED)) == 400


def test_a_part_longer_than_any_body_is_refused(port):
    head = ACTUALS + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status(sent(port, head + b"fffffffffffffffff\r\nabc")) in {400, None}


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "HEAD", "PROPFIND", "CONNECT", "DELETE"])
def test_other_methods_do_nothing_and_send_nothing_back(port, method):
    head = f"{method} /api/v1/streams HTTP/1.1\r\n".encode() + KEY + b"Connection: close\r\n\r\n"
    answer = sent(port, head)
    assert status(answer) in {400, 405}
    assert SECRETS["engineer"].encode() not in answer


@pytest.mark.parametrize(
    "path",
    [
        *("//api/v1/streams", "/api/v1/streams/", "/docs/../api/v1/streams", "/API/v1/streams"),
        *("/api/v1/streams%00", "/%61pi/v1/streams", "/docs%2f..%2fmetrics", "/health;/metrics"),
        *("http://127.0.0.1/api/v1/streams", "http://docs/metrics", "*", "/metrics?/health"),
    ],
)
def test_no_way_to_write_a_path_gets_past_the_keys(port, path):
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    assert status(sent(port, head)) in {400, 401}


def test_an_upgrade_opens_no_other_door(port):
    for protocol in (b"websocket", b"h2c"):
        more = b"Connection: Upgrade, close\r\nUpgrade: " + protocol + b"\r\n\r\n"
        answer = sent(port, b"GET /api/v1/streams HTTP/1.1\r\nHost: 127.0.0.1\r\n" + more)
        assert answer.startswith(b"HTTP/1.1 401")


HUGE = {
    "one header": [HEALTH + b"X-A: ", *[b"a" * 2**16] * 40],
    "many headers": [HEALTH, *[b"X-A: b\r\n" * 8192] * 40],
    "address": [b"GET /health?", *[b"a" * 2**16] * 40],
    "lines before": [*[b"\r\n" * 2**15] * 40],
    "headers after the body": [
        ACTUALS + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n0\r\n",
        *[b"X-A: " + b"b" * 2**16 + b"\r\n"] * 40,
    ],
    "names of parts": [
        ACTUALS + b"Transfer-Encoding: chunked\r\n\r\n1;",
        *[b"a" * 2**16] * 40,
    ],
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_head_is_cut_off(port, name):
    taken = 0
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(3.0)
        try:
            for part in HUGE[name]:
                client.sendall(part)
                taken += len(part)
                time.sleep(0.005)
        except ConnectionError:
            pass
        assert status(rest_of(client)) in {400, 431, None}
    assert taken < 2**20


def test_a_large_head_in_one_piece_is_refused_too(port):
    head = HEALTH + b"X-A: " + b"a" * (MOST_HEAD + 1) + b"\r\nConnection: close\r\n\r\n"
    assert status(sent(port, head)) in {400, 431}
    fits = HEALTH + b"X-A: " + b"a" * (MOST_HEAD - 1000) + b"\r\nConnection: close\r\n\r\n"
    assert status(sent(port, fits)) == 200


def test_what_follows_an_upgrade_is_no_request(port):
    more = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    hidden = b"GET /api/v1/streams HTTP/1.1\r\n" + KEY + b"\r\n"
    begun = time.monotonic()
    answer = sent(port, HEALTH + more + hidden, *[hidden] * 10, pause=0.1, patience=10)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert time.monotonic() - begun < 5.0


def test_a_head_that_comes_drop_by_drop_is_given_up(port):
    begun = time.monotonic()
    drops = [bytes([letter]) for letter in HEALTH + b"X-A: b\r\n\r\n"]
    assert status(sent(port, *drops, pause=0.05)) in {408, None}
    assert time.monotonic() - begun < 4.0


def test_the_second_head_of_a_connection_is_given_up_too(port):
    answer = sent(port, HEALTH + b"\r\n", HEALTH, pause=0.3)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1 408") == 1


def test_a_refused_body_that_drips_on_does_not_keep_its_connection(port):
    head = b"POST /api/v1/actuals HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
    begun = time.monotonic()
    answer = sent(port, head, *[b"["] * 40, pause=0.05)
    assert time.monotonic() - begun < 2.5
    assert answer.startswith(b"HTTP/1.1 401")


def test_a_body_in_the_smallest_parts_is_taken(port):
    body = rows(20)
    parts = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body) + b"0\r\n\r\n"
    head = ACTUALS + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert (
        status(sent(port, head, *[parts[at : at + 500] for at in range(0, len(parts), 500)])) == 201
    )


def test_requests_one_after_the_other_in_one_packet_are_all_answered(port):
    length = f"Content-Length: {len(rows(2))}\r\n\r\n".encode()
    answer = sent(port, (ACTUALS + length + rows(2)) * 20 + HEALTH + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 201") == 20
    assert answer.count(b"HTTP/1.1 200") == 1


def test_a_large_body_that_takes_its_time_is_taken(port):
    body = rows(20_000)
    cut = [body[at : at + 2**17] for at in range(0, len(body), 2**17)]
    length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    assert status(sent(port, ACTUALS + length, *cut, pause=0.1, patience=10)) == 201


def test_more_connections_than_there_is_room_for_are_sent_away_and_room_comes_back():
    with served(most=20, head_seconds=0.5) as port:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        time.sleep(0.1)
        assert status(sent(port, HEALTH + b"\r\n")) in {503, None}
        for one in idle:
            one.settimeout(3.0)
            assert status(rest_of(one)) == 408
            one.close()
        assert status(sent(port, HEALTH + b"Connection: close\r\n\r\n")) == 200


def test_bombs_at_once_are_refused_and_the_server_answers_meanwhile(port):
    bomb = b"".join([gzip.compress(b" " * 900_000)] * 80)
    head = JSON | {"Content-Encoding": "gzip", "X-API-Key": SECRETS["ingest"]}
    answers = []

    def attack():
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            answers.append(client.post("/api/v1/actuals", content=bomb, headers=head).status_code)

    attackers = [Thread(target=attack) for _ in range(12)]
    for one in attackers:
        one.start()
    begun = time.monotonic()
    assert status(sent(port, HEALTH + b"Connection: close\r\n\r\n")) == 200
    assert time.monotonic() - begun < 2.0
    for one in attackers:
        one.join()
    assert answers == [413] * 12
