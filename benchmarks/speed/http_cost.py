"""Speed of the HTTP interface beside what it could not be faster than; all on this machine.

`python benchmarks/speed/http_cost.py` starts real servers on 127.0.0.1, one after the other:

- Arrow bodies of a million rows, plain and compressed with zstd, answered once they are durable,
  beside a bare append of the same rows as Parquet files with `fsync`;
- JSON bodies of a thousand rows, beside a bare FastAPI endpoint that parses the same bodies with a
  pydantic model and does nothing with them.

Prints rows per second and the ratios. Takes less than two minutes.
"""

import argparse
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import polars as pl

ARROW = "application/vnd.apache.arrow.stream"
STREAMS, SLOTS = 10_417, 96
LARGE, SMALL, AT_ONCE = 10, 300, 4


def serve(kind: str, port: int, folder: Path) -> None:
    """Run a server until it is told to end."""
    import uvicorn

    if kind == "bare":
        uvicorn.run(bare(), host="127.0.0.1", port=port, log_level="warning")
        return
    from mlma.service.bootstrap import build
    from mlma.service.settings import Settings
    from mlma.service.tables import AgentTable, ServerTable, StoreTable
    from mlma.web.app import create_app

    settings = Settings(
        agent=AgentTable(slot="15m"),
        store=StoreTable(url=f"sqlite:///{folder}/mlma.db"),
        server=ServerTable(max_body="256MiB", requests_per_minute=0),
    )
    with build(settings) as service:
        uvicorn.run(create_app(service), host="127.0.0.1", port=port, log_level="warning")


def bare():
    """An app that parses rows as FastAPI does, and drops them."""
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Row(BaseModel):
        unique_id: str
        ds: datetime
        y_hat: float

    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {}

    def forecasts(rows: list[Row]) -> dict[str, int]:
        return {"rows": len(rows)}

    forecasts.__annotations__ = {"rows": list[Row], "return": dict[str, int]}
    app.post("/api/v1/forecasts", status_code=201)(forecasts)
    return app


@contextmanager
def server(kind: str, folder: Path) -> Iterator[tuple[str, Callable[[], float]]]:
    """A server of its own process; gives its address, and the seconds it has computed so far."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = ["--serve", kind, "--port", str(port), "--folder", str(folder)]
    process = subprocess.Popen([sys.executable, __file__, *told])
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.get(f"{address}/health").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield address, lambda: computed(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def computed(pid: int) -> float:
    """Return the seconds of the processor that a process has used."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def frame(streams: int, slots: int, seed: int) -> pl.DataFrame:
    """Forecasts of the slots of yesterday, stream by stream."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    start = np.datetime64(today - timedelta(days=1), "us")
    times = start + np.arange(slots) * np.timedelta64(15, "m")
    ids = pl.Series("unique_id", [f"stream-{row:06d}" for row in range(streams)])
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "unique_id": ids.gather(np.repeat(np.arange(streams), slots)),
            "ds": np.tile(times, streams),
            "y_hat": rng.normal(10.0, 1.0, streams * slots),
        }
    )


def as_packed_arrow(rows: pl.DataFrame) -> bytes:
    made = io.BytesIO()
    rows.write_ipc_stream(made, compression="zstd")
    return made.getvalue()


def as_arrow(rows: pl.DataFrame) -> bytes:
    made = io.BytesIO()
    rows.write_ipc_stream(made)
    return made.getvalue()


def as_json(rows: pl.DataFrame) -> bytes:
    return rows.with_columns(pl.col("ds").dt.to_string("iso:strict")).write_json().encode()


def post(client: httpx.Client, address: str, body: bytes, media_type: str) -> None:
    answer = client.post(
        f"{address}/api/v1/forecasts", content=body, headers={"Content-Type": media_type}
    )
    if answer.status_code != 201:
        raise SystemExit(f"{answer.status_code} {answer.text[:500]}")


def pushed(address: str, bodies: list[bytes], media_type: str, at_once: int) -> float:
    """Return the seconds until all bodies are answered; each sender keeps its connection."""
    with httpx.Client(timeout=120) as client, ThreadPoolExecutor(at_once) as senders:
        post(client, address, bodies[0], media_type)  # the first is not counted
        begun = time.perf_counter()
        list(senders.map(lambda body: post(client, address, body, media_type), bodies[1:]))
        return time.perf_counter() - begun


def appended(frames: list[pl.DataFrame], folder: Path) -> float:
    """Return the seconds of a bare append: a file per frame, each durable before the next."""
    seconds = 0.0
    for number, rows in enumerate(frames):
        begun = time.perf_counter()
        with (folder / f"{number}.parquet").open("wb") as file:
            rows.write_parquet(file)
            file.flush()
            os.fsync(file.fileno())
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        seconds += (time.perf_counter() - begun) if number else 0.0
    return seconds


def rounds(measure: Callable[[], float], rows: int, n: int) -> float:
    """Return the rows per second of the median of some rounds."""
    return rows / median(measure() for _ in range(n))


def large(folder: Path) -> dict[str, float]:
    frames = [frame(STREAMS, SLOTS, seed) for seed in range(LARGE)]
    rows = sum(len(one) for one in frames[1:])
    bodies = [as_arrow(one) for one in frames]
    packed = [as_packed_arrow(one) for one in frames]
    with server("ours", folder) as (address, seconds):
        post_all = [rounds(lambda n=n: pushed(address, bodies, ARROW, n), rows, 1) for n in (1, 3)]
        spent = seconds() / (2 * len(frames))
        post_packed = [
            rounds(lambda n=n: pushed(address, packed, ARROW, n), rows, 1) for n in (1, 3)
        ]
    begun = time.process_time()
    parquet = rounds(lambda: appended(frames, folder), rows, 3)
    bare = (time.process_time() - begun) / (3 * len(frames))
    return {
        "rows_per_body": len(frames[0]),
        "bytes_per_body": len(bodies[0]),
        "arrow_rows_per_second": post_all[0],
        "arrow_rows_per_second_three_senders": post_all[1],
        "bytes_per_packed_body": len(packed[0]),
        "packed_arrow_rows_per_second": post_packed[0],
        "packed_arrow_rows_per_second_three_senders": post_packed[1],
        "parquet_rows_per_second": parquet,
        "arrow_to_parquet": max(post_all) / parquet,
        "packed_arrow_to_parquet": max(post_packed) / parquet,
        "arrow_processor_seconds_per_body_and_agent": spent,
        "parquet_processor_seconds_per_file": bare,
    }


def small(folder: Path) -> dict[str, float]:
    rows = [frame(1000, 1, seed) for seed in range(SMALL)]
    bodies, counted = [as_json(one) for one in rows], 1000 * (SMALL - 1)
    made: dict[str, float] = {}
    spent: dict[str, float] = {}
    for kind in ("ours", "bare"):
        with server(kind, folder) as (address, seconds):
            pushed(address, bodies[:20], "application/json", AT_ONCE)
            begun = seconds()
            made[kind] = rounds(
                lambda: pushed(address, bodies, "application/json", AT_ONCE), counted, 3
            )
            spent[kind] = (seconds() - begun) / (3 * SMALL)
    return {
        "json_rows_per_second": made["ours"],
        "bare_fastapi_rows_per_second": made["bare"],
        "json_to_bare_fastapi": made["ours"] / made["bare"],
        "json_processor_ms_per_body": spent["ours"] * 1000,
        "bare_processor_ms_per_body": spent["bare"] * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=["ours", "bare"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.port, asked.folder)
        return
    told: dict[str, float] = {}
    for measured in (large, small):
        with tempfile.TemporaryDirectory() as folder:
            told |= measured(Path(folder))
    print(json.dumps({name: float(f"{value:.4g}") for name, value in told.items()}, indent=2))


if __name__ == "__main__":
    main()
