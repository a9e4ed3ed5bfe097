"""What it costs to pull one period out of files, beside polars' own read of the same file.

    python benchmarks/speed/pulling.py [--streams 100000] [--slots 96] [--days 10] [--repeats 5]

Prints a Markdown table: seconds and million rows per second of `FolderSource`, seconds and CPU
seconds per row as a ratio of `polars.read_parquet`, and how much memory the process needed at most
beyond what it had. Each row
is measured in a process of its own. A folder of `--days` files is read whole too, to see that
memory does not grow with it. Seconds are of this machine: read the ratios. It takes well under a
minute.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import polars as pl

from mlma.adapters.sources.columns import columns_of
from mlma.adapters.sources.folder import FolderSource
from mlma.adapters.sources.messages import Message, decoded

FIRST = np.datetime64("2025-03-01", "us")
DAY = np.timedelta64(1, "D")
SLOT = np.timedelta64(15, "m")
MESSAGES = 100_000


def main() -> None:
    asked = _asked()
    if asked.measure:
        print(json.dumps(_measured(asked.measure, Path(asked.folder), asked)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, asked)
        print(f"{asked.streams:,} streams x {asked.slots} slots a day, {os.cpu_count()} cores\n")
        print("| what | million rows | seconds | million rows / s | ratio | CPU ratio | MB |")
        print("|---|---|---|---|---|---|---|")
        bare: dict[str, float] = {}
        for what in CASES:
            told = _in_a_process(what, folder)
            bare = bare or told
            share = bare["rows"] / told["rows"]
            ratio, cpu = (told[key] / bare[key] * share for key in ("seconds", "cpu"))
            speed = told["rows"] / told["seconds"] / 1e6
            print(
                f"| {what} | {told['rows'] / 1e6:.1f} | {told['seconds']:.3f} | {speed:.1f} "
                f"| {ratio:.2f} | {cpu:.2f} | {told['memory']:.0f} |"
            )


def _asked() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--slots", type=int, default=96)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5, help="reads that are timed; the best")
    parser.add_argument("--measure", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def _write(folder: Path, asked: argparse.Namespace) -> None:
    """Write one file of one day, links to it as more days, and a small CSV file."""
    stream = np.repeat(np.arange(asked.streams), asked.slots)
    slot = np.tile(FIRST + SLOT * np.arange(asked.slots), asked.streams)
    value = np.random.default_rng(0).normal(size=len(stream))
    frame = pl.DataFrame({"number": stream, "ds": slot, "y": value})
    frame = frame.select(pl.format("stream-{}", "number").alias("unique_id"), "ds", "y")
    (folder / "days").mkdir()
    frame.write_parquet(folder / "day.parquet")
    for day in range(asked.days):
        os.link(folder / "day.parquet", folder / "days" / f"{day:03d}.parquet")
    frame.head(1_000_000).write_csv(folder / "day.csv")


def _in_a_process(what: str, folder: Path) -> dict[str, float]:
    given = [sys.executable, __file__, *sys.argv[1:], "--measure", what, "--folder", str(folder)]
    run = subprocess.run(given, capture_output=True, text=True, check=True)
    told: dict[str, float] = json.loads(run.stdout)
    return told


def _measured(what: str, folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    before, times, busy, rows = _peak(), [], [], 0
    for _ in range(asked.repeats):
        start, worked = perf_counter(), process_time()
        rows = CASES[what](folder)
        times.append(perf_counter() - start)
        busy.append(process_time() - worked)
    return {"seconds": min(times), "cpu": min(busy), "rows": rows, "memory": _peak() - before}


def _peak() -> float:
    """Return the most memory that this process had, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # the figure of the operating system may be that of the parent process
        told = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(told.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _bare(folder: Path) -> int:
    return pl.read_parquet(folder / "day.parquet").height


def _period(path: Path, days: int = 1) -> int:
    source = FolderSource("f", "actuals", path)
    return sum(frame.height for frame in source.frames(FIRST, FIRST + days * DAY))


def _stamped(folder: Path) -> int:
    """Look at a new file as the agent does: first for its stamp, then for its rows."""
    source = FolderSource("f", "actuals", folder / "day.parquet")
    source.stamp(FIRST, FIRST + DAY)
    return sum(frame.height for frame in source.frames(FIRST, FIRST + DAY))


def _decoded(_: Path) -> int:
    """Read messages of one row each, without a broker."""
    body = json.dumps({"unique_id": "stream-7", "ds": "2025-03-01T12:00:00", "y": 1.5}).encode()
    messages = [Message("t", 0, at, body) for at in range(MESSAGES)]
    return decoded(messages, columns_of("actuals"), None).frame.height


CASES: dict[str, Callable[[Path], int]] = {
    "polars.read_parquet": _bare,
    "FolderSource, one file": lambda folder: _period(folder / "day.parquet"),
    "FolderSource, one file, with its stamp": _stamped,
    "FolderSource, a folder of days": lambda folder: _period(folder / "days"),
    "FolderSource, CSV": lambda folder: _period(folder / "day.csv"),
    "messages of one row, JSON": _decoded,
}


if __name__ == "__main__":
    main()
