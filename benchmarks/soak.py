"""Half an hour of traffic: does memory stay flat, does the store grow as it should?

    python benchmarks/soak.py [--minutes 30] [--streams 2000] [--slots 24] [--json FILE]

A real server (its own process, SQLite, simulated clock) is pushed a day of forecasts and actuals
after another, as fast as it takes them, some of them late, revised or twice. Its memory and its
store are measured after every tenth day. The first third is warm-up: caches, the inbox and the
snapshots fill up to what they keep. Prints the drift of the memory over the rest, as a line fitted
through it, and the growth of the store per stream-batch beside what is promised.
"""

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import polars as pl

START = datetime(2000, 1, 1)
"""A day takes a second or less: years pass, and no day may lie in the future."""
PROMISED = 83
"""Bytes per stream-batch in the store, as `speed/live_cycle.py` measures with 100,000 streams."""

TOML = """
[agent]
policy = "mlma(level=0.001)"
slot = "{slot}"
[batches]
timeout = "6h"
reopen = "2d"
[store]
url = "sqlite:///{folder}/mlma.db"
[retention]
rows = "3d"
superseded = "5d"
snapshots = "14d"
[clock]
kind = "simulated"
[server]
port = {port}
requests_per_minute = 0
[scheduler]
every = "5s"
"""


def main() -> None:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=24)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, serving(folder, asked.slots) as at:
        process, client = at
        told = play(process, client, Path(folder) / "mlma.db", asked)
    print(table(told, asked))
    if asked.json:
        asked.json.write_text(json.dumps(told) + "\n")


@contextmanager
def serving(folder: str, slots: int):
    """Run a server for as long as the block; yields its process and a client."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = Path(folder) / "mlma.toml"
    slot = f"{24 * 60 // slots}m"
    config.write_text(TOML.format(slot=slot, folder=folder, port=port))
    command = [sys.executable, "-m", "mlma", "serve", "--config", str(config)]
    with open(Path(folder) / "log", "wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_until_ready(client, process)
            yield process, client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_until_ready(client: httpx.Client, process: subprocess.Popen) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the server did not become ready")


def play(process, client, database, asked):
    """Push day after day until the time is over; return what was measured."""
    rng = np.random.default_rng(7)
    names = [f"stream-{at:05d}" for at in range(asked.streams)]
    began, day, told, rows = time.monotonic(), 0, [], 0
    late = None
    while time.monotonic() - began < asked.minutes * 60:
        today = a_day(names, day, asked.slots, rng)
        rows += push(client, "forecasts", today.select("unique_id", "ds", "y_hat", "cutoff"))
        actuals = today.select("unique_id", "ds", "y")
        held = actuals.sample(fraction=0.005, seed=day)
        day += 1
        now = (START + timedelta(days=day, hours=1)).replace(tzinfo=UTC)
        client.post("/api/v1/clock", json={"now": now.isoformat()}).raise_for_status()
        rows += push(client, "actuals", actuals.join(held, on=["unique_id", "ds"], how="anti"))
        if late is not None:  # late, and some of it twice
            rows += push(client, "actuals", pl.concat([late, late.head(20)]))
        late = held
        client.post("/api/v1/cycle").raise_for_status()
        if day % 10 == 0:
            told.append(
                {
                    "seconds": time.monotonic() - began,
                    "day": day,
                    "rows": rows,
                    "rss_mb": rss_mb(process.pid),
                    "store_mb": size_mb(database),
                }
            )
            print(told[-1], file=sys.stderr)
    newest = client.get("/api/v1/cycles", params={"limit": 1}).json()["rows"][0]
    assert newest["cycle"] >= day - 1, newest
    return told


def a_day(names: list[str], day: int, slots: int, rng: np.random.Generator) -> pl.DataFrame:
    n = len(names)
    first = START + timedelta(days=day)
    ds = [first + timedelta(days=1) * slot / slots for slot in range(slots)]
    y_hat = rng.gamma(20, 1.0, n * slots)
    level = 1.0 + (rng.random(n) < 0.002) * 2.0
    loss = rng.gamma(8, 1 / 8, (n, slots)) * level[:, None] * rng.choice([-1, 1], (n, slots))
    return pl.DataFrame(
        {
            "unique_id": np.repeat(names, slots),
            "ds": ds * n,
            "y_hat": y_hat,
            "y": y_hat + loss.ravel(),
        },
        schema_overrides={"ds": pl.Datetime("us")},
    ).with_columns(cutoff=pl.lit(first))


def push(client: httpx.Client, path: str, frame: pl.DataFrame) -> int:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer)
    media = {"Content-Type": "application/vnd.apache.arrow.stream"}
    client.post(f"/api/v1/{path}", content=buffer.getvalue(), headers=media).raise_for_status()
    return len(frame)


def rss_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def size_mb(database: Path) -> float:
    return database.stat().st_size / 2**20


def table(told, asked) -> str:
    steady = told[len(told) // 3 :]
    seconds = np.array([one["seconds"] for one in steady])
    memory = np.array([one["rss_mb"] for one in steady])
    slope, level = np.polyfit(seconds - seconds[0], memory, 1)
    drift = slope * (seconds[-1] - seconds[0]) / level
    batches = (steady[-1]["day"] - steady[0]["day"]) * asked.streams
    growth = (steady[-1]["store_mb"] - steady[0]["store_mb"]) * 2**20 / batches
    return "\n".join(
        [
            "| minutes | days | rows | memory, MB | drift | bytes per stream-batch | promised |",
            "|---|---|---|---|---|---|---|",
            f"| {told[-1]['seconds'] / 60:.0f} | {told[-1]['day']:,} | {told[-1]['rows']:,} "
            f"| {memory.min():.0f}-{memory.max():.0f} | {drift:+.1%} | {growth:.0f} | {PROMISED} |",
        ]
    )


if __name__ == "__main__":
    main()
