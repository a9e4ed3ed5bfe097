"""How often does each test reject where nothing has broken?

Plays seeded synthetic loss streams without a break, gives a Markdown table of the realised
rejection rates and their ratio to the nominal level. Run: ``python benchmarks/quality/level.py``.

The losses have gamma marginals and a Gaussian copula: AR(1) within the day, days independent, a
daily season of +-60 %, weekends 40 % higher. A "day effect" multiplies all losses of a day by one
lognormal factor, as weather does.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.stats.registry import TESTS

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

    @property
    def label(self) -> str:
        effect = f", day effect {self.day_effect:g}" if self.day_effect else ""
        return f"m {self.m}, shape {self.shape:g}, phi {self.phi:g}{effect}"


SCENARIOS = (
    *(Scenario(m, phi) for m in (14, 28) for phi in (0.0, 0.3, 0.6)),
    Scenario(28, 0.3, shape=2.0),
    Scenario(28, 0.3, shape=0.5),
    Scenario(14, 0.3, day_effect=0.3),
    Scenario(28, 0.3, day_effect=0.3),
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
    calendar = weekend.astype(np.int8)
    old = losses[:, :-1]
    reference = ReferenceBatch(old.mean(axis=2), calendar[:, :-1], old)
    return LossBatch(losses[:, -1], calendar[:, -1]), reference


def rejections(kind: Scenario, streams: int, seed: int) -> dict[str, Floats]:
    """Return the realised rejection rate of each test at each level, side ``greater``.

    The tests on single losses sort, and so see a fifth of the streams.
    """
    rng = np.random.default_rng(seed)
    counts = {name: np.zeros(len(LEVELS)) for name in TESTS}
    seen = dict.fromkeys(TESTS, 0)
    for start in range(0, streams, CHUNK):
        incoming, reference = draw(CHUNK, kind, rng)
        for name, test in TESTS.items():
            if test.memory != "means" and start >= streams / 5:
                continue
            p = test.function(incoming, reference, "greater").p_value
            counts[name] += [np.count_nonzero(p <= level) for level in LEVELS]
            seen[name] += CHUNK
    return {name: counts[name] / seen[name] for name in TESTS}


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
    print(f"\n{chosen.streams} streams (a fifth for the tests on single losses), ", end="")
    print(f"seed {chosen.seed}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
