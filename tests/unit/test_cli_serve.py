"""``mlma serve``: refuses before anything is opened, serves, and ends in order."""

import json
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from commands import CommandLine, started
from live_stores import rows, settings_file
from mlma.adapters.store import open_store
from mlma.service.listeners import address_of, bound

SECONDS = 60.0


@pytest.fixture
def mlma(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


@contextmanager
def running(folder, *words, **environ):
    """A server as a process of its own, and a client of it; ended for good afterwards."""
    process = started("serve", *words, cwd=folder, **environ)
    try:
        line = process.stdout.readline()
        assert line.startswith("mlma serves at http://127.0.0.1:"), process.stderr.read()
        with httpx.Client(base_url=line.split()[-1], timeout=SECONDS, trust_env=False) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


def push(client, days=2):
    for kind, value in (("forecasts", "y_hat"), ("actuals", "y")):
        frame = rows(value, days)
        told = {"unique_id": frame["unique_id"].to_list(), "ds": [str(at) for at in frame["ds"]]}
        answer = client.post(f"/api/v1/{kind}", json={**told, value: frame[value].to_list()})
        assert answer.status_code < 300, answer.text


def until(true):
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def held(store):
    lease = store.lease()
    return lease is not None and lease.expires_at > datetime.now(UTC)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host", "0.0.0.0"], "must be a loopback address while there are no keys"),
        (["--host", "::"], "must be a loopback address while there are no keys"),
        (["--port", "65536"], "`port` of [server] in the command line must be at most 65535"),
        (["--config", "none.toml"], "none.toml cannot be read"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_opened(mlma, words, told):
    settings_file()
    answer = mlma("serve", *words)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert not Path("mlma.db").exists()


def test_without_a_slot_nothing_is_opened(mlma):
    Path("mlma.toml").write_text("")
    answer = mlma("serve")
    assert answer.code == 2
    assert "`slot` of [agent] must be set" in answer.err
    assert not Path("mlma.db").exists()


def test_a_port_that_is_taken_is_refused_before_anything_is_opened(mlma):
    settings_file()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = mlma("serve", "--port", taken.getsockname()[1])
    assert (answer.code, answer.out) == (2, "")
    assert "`port` of [server] must be one to listen on" in answer.err
    assert "Address already in use" in answer.err
    assert not Path("mlma.db").exists()


def test_a_store_that_cannot_be_opened_frees_the_port(mlma):
    settings_file()
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    answer = mlma("serve", "--port", port, "--store", "sqlite:///nowhere/mlma.db")
    assert (answer.code, answer.out) == (1, "")
    assert "nowhere" in answer.err
    bound("127.0.0.1", port).close()


def test_the_address_is_shown_as_people_type_it():
    with bound("127.0.0.1", 0) as listener:
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_it_serves_judges_and_ends_in_order_at_sigterm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings_file()
    text = (
        Path("mlma.toml").read_text().replace('level = "warning"', 'level = "info"\nlog = "json"')
    )
    Path("mlma.toml").write_text(text)
    with running(tmp_path) as (process, client):
        assert client.get("/health").status_code == 200
        push(client)
        store = open_store("sqlite:///mlma.db")
        until(lambda: len(store.cycles()) == 2)
        assert held(store)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert not held(store)
        store.close()
    assert out == ""
    events = [json.loads(line) for line in err.splitlines()]
    assert any("/api/v1/forecasts" in one["event"] for one in events)
    assert not [one for one in events if one["level"] in {"warning", "error"}]


def test_sigint_ends_it_too_and_a_second_instance_takes_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = settings_file()
    path.write_text(path.read_text().replace('lease = "3s"', 'lease = "5m"'))
    store = open_store("sqlite:///mlma.db")
    with running(tmp_path) as (first, one), running(tmp_path) as (second, other):
        until(lambda: held(store))
        assert f":{first.pid}:" in store.lease().holder
        push(other)  # rows may come in through any instance
        until(lambda: len(store.cycles()) == 2)
        assert f":{first.pid}:" in store.lease().holder
        assert one.get("/ready").status_code == other.get("/ready").status_code == 200
        first.send_signal(signal.SIGINT)
        assert first.wait(SECONDS) == 0
        # long before the lease would have ended
        until(lambda: held(store) and f":{second.pid}:" in store.lease().holder)
    store.close()


def test_what_was_accepted_survives_a_kill_and_is_judged_after_the_next_start(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = settings_file()
    path.write_text(path.read_text().replace('every = "1s"', 'every = "2s"'))
    with running(tmp_path) as (process, client):
        push(client, days=1)
        process.kill()
        process.wait(SECONDS)
    with running(tmp_path):
        store = open_store("sqlite:///mlma.db")
        until(lambda: len(store.cycles()) == 1)
        store.close()


def test_a_second_signal_ends_it_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings_file()
    with running(tmp_path) as (process, client):
        host, port = client.base_url.host, client.base_url.port
        with socket.create_connection((host, port)) as slow:
            slow.sendall(
                b"POST /api/v1/actuals HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n["
            )
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.0)  # the request is waited for
            process.send_signal(signal.SIGTERM)
            assert process.wait(10.0) == 128 + signal.SIGTERM
