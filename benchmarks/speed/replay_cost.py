"""What a replay costs: all policies beside `always` alone, time and peak memory.

    python benchmarks/speed/replay_cost.py [--streams 1000] [--days 365] [--repeats 1]

Each measurement runs in a process of its own, so that peak memory is that run's; `always` alone and
all policies take turns, so that a noisy machine strikes both. Seconds are of this machine: read
the ratio.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
from real_data import real_files

RUN = """
import json, resource, sys, time
import mlma
start = time.perf_counter()
result = mlma.replay(sys.argv[1], policies=json.loads(sys.argv[2]), progress=False)
seconds = time.perf_counter() - start
own, workers = (resource.getrusage(who).ru_maxrss for who in (0, -1))
always = result.record.always
print(json.dumps({
    "seconds": seconds, "mib": own / 1024, "worker_mib": workers / 1024,
    "streams": len(result.record.ids), "fits": float(always.fits.sum()),
    "policies": len(result.record.runs),
}))
"""

ALONE, ALL = ["always"], ["mlma"]


def measure(path: Path, policies: list[str]) -> dict[str, float]:
    command = [sys.executable, "-c", RUN, str(path), json.dumps(policies)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


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
        f"| {second['mib']:.0f} + {second['worker_mib']:.0f} a worker |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--repeats", type=int, default=1)
    asked = parser.parse_args()
    print("| history | fits of always | always alone, s | all policies, s | ratio | peak MiB |")
    print("|---|---|---|---|---|---|")
    for name, path in real_files().items():
        if name == "auckland":
            show("21 streams x 7 years, hourly", path, asked.repeats)
    if asked.streams:
        with tempfile.TemporaryDirectory() as folder:
            path = synthetic(Path(folder), asked.streams, asked.days)
            name = f"{asked.streams} synthetic streams x {asked.days} days, hourly"
            show(name, path, asked.repeats)


if __name__ == "__main__":
    main()
