"""How often does each test reject where nothing has broken?

Plays seeded synthetic loss streams without a break, gives a Markdown table of the realised
rejection rates and their ratio to the nominal level; and the rates on real streams, which hold
breaks, holidays and drift. Run: ``python benchmarks/quality/level.py`` (four minutes).

The losses have gamma marginals and a Gaussian copula: AR(1) within the day, days independent, a
daily season of +-60 %, weekends 40 % higher. A "day effect" multiplies all losses of a day by one
lognormal factor, as weather does; a "tail" multiplies each by an inverse gamma number, which has a
Pareto-type tail of this index. Real losses are absolute errors of the mean of the same slot in the
last four weeks, each day compared with the 28 before. A plain t does not take skewness out.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import special

from mlma.domain.batches import LossBatch, ReferenceBatch, TestOutcome
from mlma.stats import batch_mean
from mlma.stats.registry import TESTS, BatchTest
from real_data import real_files

Floats = NDArray[np.float64]

LEVELS = (0.05, 0.01, 0.001)
CHUNK = 5_000
SLOTS = 24


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of break-free streams."""

    m: int
    phi: float
    shape: float = 1.0
    day_effect: float = 0.0
    tail: float | None = None

    @property
    def label(self) -> str:
        effect = f", day effect {self.day_effect:g}" if self.day_effect else ""
        effect += f", tail {self.tail:g}" if self.tail else ""
        return f"m {self.m}, shape {self.shape:g}, phi {self.phi:g}{effect}"


def plain_t(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return `batch_t` with the reference's skewness left in."""
    with patch.object(batch_mean, "straightened", lambda t, skewness: t):
        return batch_mean.batch_t(incoming, reference, side)


PLAYED = {**TESTS, "plain t": BatchTest("plain t", plain_t, "means")}
REAL = ("moderated_t", "batch_t", "plain t")
SCENARIOS = (
    *(Scenario(m, phi) for m in (14, 28) for phi in (0.0, 0.3, 0.6)),
    Scenario(28, 0.3, shape=2.0),
    Scenario(28, 0.3, shape=0.5),
    Scenario(14, 0.3, day_effect=0.3),
    Scenario(28, 0.3, day_effect=0.3),
    *(Scenario(m, 0.3, tail=tail) for m in (14, 28) for tail in (4.0, 2.5)),
)


def draw(n: int, kind: Scenario, rng: np.random.Generator) -> tuple[LossBatch, ReferenceBatch]:
    """Return `n` break-free streams: incoming batch on a random weekday, `m` days before it."""
    grid = np.linspace(-6, 6, 4001)
    quantiles = special.gammaincinv(kind.shape, special.ndtr(grid)) / kind.shape
    days = kind.m + 1
    latent = rng.standard_normal((n, days, SLOTS))
    for slot in range(1, SLOTS):
        fresh = np.sqrt(1 - kind.phi**2) * latent[:, :, slot]
        latent[:, :, slot] = kind.phi * latent[:, :, slot - 1] + fresh
    losses = np.interp(latent, grid, quantiles)
    losses *= 1 + 0.6 * np.sin(2 * np.pi * np.arange(SLOTS) / SLOTS)
    weekend = (rng.integers(0, 7, (n, 1)) + np.arange(days)) % 7 >= 5
    losses *= np.where(weekend, 1.4, 1.0)[:, :, None]
    losses *= rng.lognormal(0, kind.day_effect, (n, days, 1))
    if kind.tail:
        losses /= rng.gamma(kind.tail, size=losses.shape)
    calendar = weekend.astype(np.int8)
    old = losses[:, :-1]
    reference = ReferenceBatch(old.mean(axis=2), calendar[:, :-1], old)
    return LossBatch(losses[:, -1], calendar[:, -1]), reference


def rejections(kind: Scenario, streams: int, seed: int) -> dict[str, Floats]:
    """Return the realised rejection rate of each test at each level, side ``greater``.

    The tests that read more than batch means are slow, and so see a fifth of the streams.
    """
    rng = np.random.default_rng(seed)
    counts = {name: np.zeros(len(LEVELS)) for name in PLAYED}
    seen = dict.fromkeys(PLAYED, 0)
    for start in range(0, streams, CHUNK):
        incoming, reference = draw(CHUNK, kind, rng)
        for name, test in PLAYED.items():
            if test.memory != "means" and start >= streams / 5:
                continue
            p = test.function(incoming, reference, "greater").p_value
            counts[name] += [np.count_nonzero(p <= level) for level in LEVELS]
            seen[name] += CHUNK
    return {name: counts[name] / seen[name] for name in PLAYED}


def real_rejections(path: Path) -> dict[str, float]:
    """Return the rejection rate at .001 of each test on batch means, on real streams."""
    frame = pl.read_parquet(path, columns=["unique_id", "ds", "y"])
    ds = frame["ds"].to_numpy()
    slot = np.diff(np.unique(ds)).min()
    first = ds.min().astype("datetime64[D]")
    slots = int(np.timedelta64(1, "D") / slot)
    place = ((ds - first) / slot).astype(np.int64)
    stream = frame["unique_id"].rank("dense").to_numpy() - 1
    days = place.max() // slots + 1
    y = np.full((stream.max() + 1, days * slots), np.nan)
    y[stream, place] = frame["y"].to_numpy()
    y = y.reshape(-1, days, slots)
    weeks = np.stack([np.roll(y, 7 * week, axis=1) for week in range(1, 5)])
    losses = np.abs(y - weeks.mean(axis=0))[:, 28:]
    there = np.isfinite(losses)
    mean = np.where(there, losses, 0.0).sum(axis=2) / np.maximum(there.sum(axis=2), 1)
    mean[there.mean(axis=2) < 0.5] = np.nan
    weekend = (((first + np.arange(28, days)).astype(np.int64) + 3) % 7 >= 5).astype(np.int8)
    told, counts = dict.fromkeys(REAL, 0), dict.fromkeys(REAL, 0)
    for day in range(28, mean.shape[1]):
        before = slice(day - 28, day)
        classes = np.broadcast_to(weekend[before], (len(mean), 28))
        reference = ReferenceBatch(mean[:, before], classes)
        incoming = LossBatch(mean[:, day, None], np.full(len(mean), weekend[day]))
        for name in REAL:
            p = PLAYED[name].function(incoming, reference, "greater").p_value
            told[name] += np.isfinite(p).sum()
            counts[name] += np.count_nonzero(p <= 0.001)
    return {name: counts[name] / told[name] for name in REAL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=100_000, help="streams for batch_t")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began = time.perf_counter()
    heads = [f"{level:g}" for level in LEVELS] + [f"ratio at {level:g}" for level in LEVELS]
    print("| streams | test | " + " | ".join(heads) + " |")
    print("|---" * (2 + len(heads)) + "|")
    for kind in SCENARIOS:
        for name, rates in rejections(kind, chosen.streams, chosen.seed).items():
            ratios = rates / np.array(LEVELS)
            cells = [f"{rate:.5f}" for rate in rates] + [f"{ratio:.2f}" for ratio in ratios]
            print(f"| {kind.label} | {name} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n| real streams, .001 | {' | '.join(REAL)} |\n|---" + "|---" * len(REAL) + "|")
    for data, path in real_files().items():
        cells = [f"{rate:.5f}" for rate in real_rejections(path).values()]
        print(f"| {data} | {' | '.join(cells)} |", flush=True)
    print(f"\n{chosen.streams} streams (a fifth for the slow tests), ", end="")
    print(f"seed {chosen.seed}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
