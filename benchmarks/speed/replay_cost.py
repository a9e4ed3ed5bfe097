"""What a replay costs: all policies beside `always` alone, time and peak memory.

    python benchmarks/speed/replay_cost.py [--streams 1000] [--days 365] [--repeats 1] [--no-real]

Each measurement runs in a process of its own, whose memory and that of its workers is watched (sum
of resident pages, looked at twice a second, Linux only); `always` alone and all policies take
turns, so that a noisy machine strikes both. Seconds are of this machine: read
the ratio.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl

from real_data import real_files

RUN = """
import json, sys, time
import mlma
start = time.perf_counter()
result = mlma.replay(sys.argv[1], policies=json.loads(sys.argv[2]), progress=False)
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "fits": float(result.record.always.fits.sum())}))
"""

ALONE, ALL = ["always"], ["mlma(pool=1)"]


def measure(path: Path, policies: list[str]) -> dict[str, float]:
    command = [sys.executable, "-c", RUN, str(path), json.dumps(policies)]
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        while run.poll() is None:
            peak = max(peak, resident_mib(run.pid))
            time.sleep(0.5)
        told = run.stdout.read() if run.stdout else ""
    return {**json.loads(told), "mib": peak}


def resident_mib(root: int) -> float:
    """Return the resident memory of a process and all below it; shared pages count twice."""
    parents, pages = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:  # it ended meanwhile
                continue
            parents[int(folder.name)], pages[int(folder.name)] = int(stat[1]), int(stat[21])
    family = {root}
    for pid in sorted(parents):
        if parents[pid] in family:
            family.add(pid)
    return sum(pages.get(pid, 0) for pid in family) * resource.getpagesize() / 2**20


def synthetic(folder: Path, streams: int, days: int, seed: int = 0) -> Path:
    """Write hourly Poisson-gamma demand with a daily and weekly profile and level breaks."""
    rng = np.random.default_rng(seed)
    hours = np.arange(days * 24)
    daily = 1 + 0.8 * np.sin(2 * np.pi * (hours % 24 - 8) / 24)
    weekly = np.where(hours // 24 % 7 >= 5, 0.7, 1.0)
    ds = pl.Series(np.datetime64("2023-01-02", "us") + hours * np.timedelta64(3_600_000_000, "us"))
    frames = []
    for stream in range(streams):
        level = rng.gamma(2.0, 10.0) * np.where(hours > rng.integers(0, len(hours)), 1.3, 1.0)
        y = rng.poisson(level * daily * weekly * rng.gamma(20, 1 / 20, len(hours)))
        frames.append(pl.DataFrame({"unique_id": f"s{stream:05d}", "ds": ds, "y": y.astype(float)}))
    path = folder / "synthetic.parquet"
    pl.concat(frames).write_parquet(path)
    return path


def show(name: str, path: Path, repeats: int) -> None:
    alone, everything = [], []
    for _ in range(repeats):
        alone.append(measure(path, ALONE))
        everything.append(measure(path, ALL))
    first = min(alone, key=lambda run: run["seconds"])
    second = min(everything, key=lambda run: run["seconds"])
    print(
        f"| {name} | {first['fits']:.0f} | {first['seconds']:.1f} | {second['seconds']:.1f} "
        f"| {second['seconds'] / first['seconds']:.2f} "
        f"| {second['mib']:.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--no-real", action="store_true")
    asked = parser.parse_args()
    print("| history | fits of always | always alone, s | all policies, s | ratio | peak MiB |")
    print("|---|---|---|---|---|---|")
    for name, path in real_files().items():
        if name == "auckland" and not asked.no_real:
            show("21 streams x 7 years, hourly", path, asked.repeats)
    if asked.streams:
        with tempfile.TemporaryDirectory() as folder:
            path = synthetic(Path(folder), asked.streams, asked.days)
            name = f"{asked.streams} synthetic streams x {asked.days} days, hourly"
            show(name, path, asked.repeats)


if __name__ == "__main__":
    main()
