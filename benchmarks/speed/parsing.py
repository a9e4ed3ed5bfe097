"""How many rows a second come through the door, by format, beside what others need for them.

    python benchmarks/speed/parsing.py [--rows 200000] [--streams 100000] [--repeats 3]
        [--json FILE]

Prints two Markdown tables. The first: a small JSON body of 1,000 rows beside FastAPI's own parse of
it into pydantic models, in process and without a client. The second: large bodies of every format
beside polars reading the same bytes without a look at what they hold (JSON columns: beside
json.load), and the door alone on a frame of a day of 100,000 streams. Rates are of this machine and
vary with its neighbours: read the ratios.
"""

import argparse
import asyncio
import io
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter

from mlma.adapters.bodies import BodyLimits, read_body
from mlma.adapters.frames.rows import Door, named_rows
from mlma.domain.periods import Periods

SLOTS = 96
START = np.datetime64("2025-03-01", "us")
SLOT = np.timedelta64(15 * 60 * 10**6, "us")
PERIODS = Periods(np.timedelta64(86_400 * 10**6, "us"), SLOT)
DOOR = Door(PERIODS, np.datetime64("2025-03-02T12:00", "us"))
LIMITS = BodyLimits(bytes=2**30, unpacked=2**32)
SMALL = 1000

JSON, LINES, CSV = "application/json", "application/x-ndjson", "text/csv"
STREAM, FILE = "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"

Row = dict[str, Any]


class Pushed(BaseModel):
    """A row as a web service would declare it."""

    unique_id: str
    ds: datetime
    y: float


def main() -> None:
    asked = _asked()
    report = {
        "small": list(small(asked.repeats)),
        "large": list(large(asked.rows, asked.repeats)),
        "door": list(door_alone(asked.streams, min(asked.repeats, 3))),
    }
    print(table(report["small"]), table(report["large"] + report["door"]), sep="\n\n")
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")


def _asked() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--rows", type=int, default=200_000, help="rows of a large body")
    parser.add_argument("--streams", type=int, default=100_000, help="streams of the frame")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many is told")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def frame_of(streams: int, *, by_slot: bool) -> pl.DataFrame:
    """A day of streams; ``by_slot``: slot after slot, else stream after stream."""
    names = pl.Series([f"store-{n // 300:04d}/item-{n % 300:05d}" for n in range(streams)])
    stream, slot = np.arange(streams, dtype=np.uint32), START + np.arange(SLOTS) * SLOT
    at = np.tile(stream, SLOTS) if by_slot else np.repeat(stream, SLOTS)
    ds = np.repeat(slot, streams) if by_slot else np.tile(slot, streams)
    y = np.random.default_rng(0).random(len(at)).round(3)
    return pl.DataFrame({"unique_id": names.gather(at), "ds": ds, "y": y})


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("ds").dt.strftime("%Y-%m-%dT%H:%M:%S"))


def written(frame: pl.DataFrame, write: Callable[..., Any], **options: Any) -> bytes:
    out = io.BytesIO()
    write(frame, out, **options)
    return out.getvalue()


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """The best of some runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def ours(body: bytes, media_type: str) -> Callable[[], Any]:
    return lambda: read_body(io.BytesIO(body), media_type, "actuals", DOOR, LIMITS)


def small(repeats: int) -> Iterator[Row]:
    """A JSON body of 1,000 rows, and what FastAPI takes for it."""
    text = as_text(frame_of(-(-SMALL // SLOTS), by_slot=False).head(SMALL))
    rows = json.dumps(text.to_dicts()).encode()
    columns = json.dumps(text.to_dict(as_series=False)).encode()
    times = max(repeats * 20, 20)
    models = TypeAdapter(list[Pushed])
    with asyncio.Runner() as runner:
        call = endpoint(runner, rows)
        base = seconds(call, times)
    parse = seconds(lambda: models.validate_python(json.loads(rows)), times)
    yield entry("FastAPI: a list of models", "a request", SMALL, base, base)
    yield entry("json.loads and pydantic", "the parse", SMALL, parse, base)
    for name, body, form in (
        ("rows", rows, JSON),
        ("columns", columns, JSON),
        ("lines", text.write_ndjson().encode(), LINES),
    ):
        yield entry(
            f"mlma: JSON {name}", "checked rows", SMALL, seconds(ours(body, form), times), base
        )


def endpoint(runner: asyncio.Runner, body: bytes) -> Callable[[], None]:
    """A request to a FastAPI application, without a client and a server."""
    app = FastAPI()

    @app.post("/actuals")
    async def actuals(rows: list[Pushed]) -> int:
        return len(rows)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/actuals"}
    scope |= {"raw_path": b"/actuals", "root_path": "", "scheme": "http", "query_string": b""}
    scope |= {"headers": headers, "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)}
    told: list[Any] = []

    async def receive() -> Row:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Row) -> None:
        told.append(message.get("body", message.get("status")))

    def call() -> None:
        told.clear()
        runner.run(app(dict(scope), receive, send))
        assert told == [200, b"%d" % SMALL], told

    return call


def large(n: int, repeats: int) -> Iterator[Row]:
    """Large bodies of every format, and what polars takes to read the same bytes."""
    frame = frame_of(-(-n // SLOTS), by_slot=True).head(n)
    text = as_text(frame)
    read_stream, read_file, read_parquet = pl.read_ipc_stream, pl.read_ipc, pl.read_parquet
    coded = frame.with_columns(pl.col("unique_id").cast(pl.Categorical))
    stream, file = pl.DataFrame.write_ipc_stream, pl.DataFrame.write_ipc
    for name, form, body, read in (
        ("JSON rows", JSON, json.dumps(text.to_dicts()).encode(), pl.read_json),
        ("JSON columns", JSON, json.dumps(text.to_dict(as_series=False)).encode(), json.load),
        ("JSON lines", LINES, text.write_ndjson().encode(), pl.read_ndjson),
        ("CSV", CSV, text.write_csv().encode(), pl.read_csv),
        ("Arrow stream", STREAM, written(frame, stream), read_stream),
        ("Arrow stream, coded ids", STREAM, written(coded, stream), read_stream),
        ("Arrow file, zstd", FILE, written(frame, file, compression="zstd"), read_file),
        ("Parquet, zstd", PARQUET, written(frame, pl.DataFrame.write_parquet), read_parquet),
    ):
        base = seconds(lambda read=read, body=body: read(io.BytesIO(body)), repeats)
        took = seconds(ours(body, form), repeats)
        yield entry(name, f"{len(body) / 2**20:.1f} MiB", n, took, base)


def door_alone(streams: int, repeats: int) -> Iterator[Row]:
    """The door on a frame that is read already, beside polars summing and sorting nothing."""
    for by_slot in (False, True):
        frame = frame_of(streams, by_slot=by_slot)
        order = "slot after slot" if by_slot else "stream after stream"
        base = seconds(lambda frame=frame: frame["unique_id"].n_unique(), repeats)
        check = lambda frame=frame: named_rows(frame, "actuals", DOOR, strict=True)  # noqa: E731
        yield entry(
            f"the door alone, {order}",
            "beside n_unique of the ids",
            len(frame),
            seconds(check, repeats),
            base,
        )


def entry(name: str, what: str, n: int, took: float, base: float) -> Row:
    return {"name": name, "what": what, "rows": n, "seconds": took, "base": base}


def table(rows: list[Row]) -> str:
    """A Markdown table; the last column is our rate as a share of the rate beside it."""
    lines = ["| | | rows | seconds | million rows a second | rate / rate of the base |"]
    lines.append("|---|---|--:|--:|--:|--:|")
    lines += [
        f"| {row['name']} | {row['what']} | {row['rows']:,} | {row['seconds']:.4f} | "
        f"{row['rows'] / row['seconds'] / 1e6:.2f} | {row['base'] / row['seconds']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
