"""How soon a server is ready on a store with history, and what it takes.

    python benchmarks/speed/serve_ready.py [--streams 10000] [--days 365] [--starts 3]
        [--json FILE]

Judges a history into an SQLite file first, then starts `mlma serve` on it several times: seconds
until /ready says yes, memory then, and seconds of the first and second look at its pages. The
yardstick is a Python that imports FastAPI, uvicorn and SQLAlchemy and does nothing, started in the
same run.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np

START = datetime(2024, 1, 1, tzinfo=UTC)
SLOTS = 4
POLICY = "mlma(pool=1)"
PAGES = (
    "/api/v1/streams?limit=100",
    "/api/v1/evidence?unique_id=stream-004242",
    "/api/v1/evidence?limit=1000",
    "/api/v1/decisions?limit=100",
    "/api/v1/metrics",
)


def main() -> None:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ready-") as folder:
        history(Path(folder), asked.streams, asked.days)
        made = [one_start(Path(folder)) for _ in range(asked.starts)]
        made[0]["store_mb"] = (Path(folder) / "mlma.db").stat().st_size / 2**20
        bare = [bare_start() for _ in range(asked.starts)]
    print(table(made, bare, asked))
    if asked.json:
        asked.json.write_text(json.dumps({"starts": made, "bare": bare}) + "\n")


def history(folder: Path, streams: int, days: int) -> None:
    """Judge a history into a store: the same cycle as a server runs."""
    from mlma.adapters.store import open_store
    from mlma.agent.live import LiveAgent
    from mlma.domain.inbox import Parcel, Rows
    from mlma.domain.live import LiveSettings
    from mlma.domain.periods import Periods, instant_of
    from mlma.domain.settings import policy_from

    class Clock:
        time = START

        def now(self) -> datetime:
            return self.time

    day = np.timedelta64(24 * 3600 * 10**6, "us")
    settings = LiveSettings(policy_from(POLICY), Periods(day, day // SLOTS))
    store, clock = open_store(f"sqlite:///{folder}/mlma.db"), Clock()
    store.register([f"stream-{at:06d}" for at in range(streams)])
    agent = LiveAgent(settings, store, clock)
    first = settings.periods.at(instant_of(START))
    stream = np.repeat(np.arange(streams, dtype=np.int32), SLOTS)
    place = np.tile(np.arange(SLOTS, dtype=np.int32), streams)
    rng = np.random.default_rng(1)
    for number in range(days):
        y = rng.gamma(8.0, 0.125, streams * SLOTS)
        kinds = (("forecasts", np.zeros(len(y))), ("actuals", y))
        store.accept(
            [Parcel(kind, first + number, Rows(stream, place, value)) for kind, value in kinds]
        )
        clock.time = START + timedelta(days=number + 1)
        (info,) = agent.tick()
        assert info.streams == streams
        store.forget(first + number - 14)
        if number % 50 == 0:
            print(f"day {number} of {days}", file=sys.stderr)
    agent.surrender()
    store.remember("clock", (START + timedelta(days=days)).isoformat())
    store.close()


def one_start(folder: Path) -> dict[str, float]:
    """Start a server, wait until it is ready, look at its pages, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "mlma.toml"
    config.write_text(
        f'[agent]\nslot = "6h"\npolicy = "{POLICY}"\n'
        f'[store]\nurl = "sqlite:///{folder}/mlma.db"\n'
        f'[clock]\nkind = "simulated"\n[server]\nport = {port}\n'
    )
    command = [sys.executable, "-m", "mlma", "serve", "--config", str(config)]
    began = time.perf_counter()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            ready = until_ready(client, process) - began
            rss = memory_mb(process.pid)
            looks = {page: (look(client, page), look(client, page)) for page in PAGES}
            return {"ready": ready, "rss_mb": rss, "rss_after_mb": memory_mb(process.pid), **looks}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def until_ready(client: httpx.Client, process: subprocess.Popen) -> float:
    while True:
        assert process.poll() is None, "the server ended"
        try:
            if client.get("/ready").status_code == 200:
                return time.perf_counter()
        except httpx.TransportError:
            pass
        time.sleep(0.02)


def look(client: httpx.Client, page: str) -> float:
    began = time.perf_counter()
    client.get(page).raise_for_status()
    return time.perf_counter() - began


def bare_start() -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import fastapi, uvicorn, sqlalchemy, polars, numpy"], check=True
    )
    return time.perf_counter() - began


def memory_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def table(made, bare, asked) -> str:
    ready = np.median([one["ready"] for one in made])
    lines = [
        f"{asked.streams:,} streams, {asked.days} cycles, store {made[0]['store_mb']:.0f} MB.",
        "",
        "| | |",
        "|---|---|",
        f"| ready after | {ready:.1f} s |",
        f"| imports alone | {np.median(bare):.1f} s |",
        f"| memory, ready and after the pages | {made[-1]['rss_mb']:.0f}, "
        f"{made[-1]['rss_after_mb']:.0f} MB |",
    ]
    for page in PAGES:
        first, second = np.median([one[page] for one in made], axis=0)
        lines.append(f"| `{page}`, first and second look | {first:.3f}, {second:.3f} s |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
