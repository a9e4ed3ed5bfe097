"""Does the test `profile` keep its level, and what does it find, beside `batch_t`?

Plays seeded synthetic loss streams, gives two Markdown tables: false-alarm rates on streams
without a break, and the share of +30 % rises found on the first day and within ten days. Run:
``python benchmarks/quality/profile_level.py`` (about four minutes).

Streams as in ``level.py``: a daily season of +-60 %, weekends 40 % higher, AR(1) within the day
through a Gaussian copula. The reference stays as it was before the break.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlma.domain.batches import LossBatch, ReferenceBatch, mean_losses
from mlma.stats.batch_mean import batch_t
from mlma.stats.profile import profile_of, profile_test, profile_updated

Floats = NDArray[np.float64]

LEVELS = (0.05, 0.01, 0.001)
DAYS = 10
CHUNK = 2_500
SLOTS = 24


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of streams.

    ``marginal`` is a gamma shape, or ``lognormal`` with log sd .8. ``mixed``: phi is 0, .3 or .6
    and the day effect 0 or .3, by stream. ``part`` and ``missing``: the slots of the incoming
    batch that are there, and the share of single losses that is missing.
    """

    m: int
    phi: float
    marginal: float | str = 1.0
    day_effect: float = 0.0
    part: tuple[int, int] = (0, SLOTS)
    missing: float = 0.0
    slots: int = SLOTS
    mixed: bool = False
    note: str = ""

    @property
    def label(self) -> str:
        if self.mixed:
            return f"{self.m}, mixed fleet"
        effect = f", day effect {self.day_effect:g}" if self.day_effect else ""
        kind = "" if self.marginal == 1.0 else f", {self.marginal}"
        size = "" if self.slots == SLOTS else f", {self.slots} slots"
        return f"{self.m}, phi {self.phi:g}{kind}{effect}{size}{self.note}"


SCENARIOS = tuple(
    scenario
    for m in (14, 28)
    for scenario in (
        *(Scenario(m, phi) for phi in (0.0, 0.3, 0.6)),
        Scenario(m, 0.3, day_effect=0.3),
        Scenario(m, 0.3, marginal="lognormal"),
        Scenario(m, 0.6, marginal="lognormal"),
        Scenario(m, 0.3, part=(6, 12), note=", 6 hours"),
        Scenario(m, 0.6, part=(6, 12), note=", 6 hours"),
        Scenario(m, 0.3, day_effect=0.3, part=(6, 12), note=", 6 hours"),
        Scenario(m, 0.3, missing=0.2, note=", a fifth missing"),
        Scenario(m, 0.3, mixed=True),
    )
)


QUARTERLY = tuple(Scenario(28, phi, slots=96) for phi in (0.0, 0.3, 0.6))


def draw(n: int, days: int, kind: Scenario, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return losses ``(n, days, slots)`` without a break, and calendar classes ``(n, days)``."""
    phi = rng.choice([0.0, 0.3, 0.6] if kind.mixed else [kind.phi], (n, 1))
    effect = rng.choice([0.0, 0.3] if kind.mixed else [kind.day_effect], (n, 1))
    losses = rng.standard_normal((n, days, kind.slots))
    for slot in range(1, kind.slots):
        losses[:, :, slot] *= np.sqrt(1 - phi**2)
        losses[:, :, slot] += phi * losses[:, :, slot - 1]
    if isinstance(kind.marginal, str):
        losses = np.exp(0.8 * losses)
    else:
        grid = np.linspace(-6, 6, 4001)
        losses = np.interp(losses, grid, special.gammaincinv(kind.marginal, special.ndtr(grid)))
    losses *= 1 + 0.6 * np.sin(2 * np.pi * np.arange(kind.slots) / kind.slots)
    weekend = (rng.integers(0, 7, (n, 1)) + np.arange(days)) % 7 >= 5
    losses *= np.where(weekend, 1.4, 1.0)[:, :, None]
    losses *= np.exp(effect * rng.standard_normal((n, days)))[:, :, None]
    losses[rng.random(losses.shape) < kind.missing] = np.nan
    return losses, weekend.astype(np.int8)


def p_values(kind: Scenario, rise: float, days: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Return the p-values ``(n, days)`` of the days after the reference, by test."""
    losses, calendar = draw(CHUNK, kind.m + days, kind, rng)
    losses[:, kind.m :] *= 1 + rise
    shown = np.full_like(losses[:, kind.m :], np.nan)
    first, last = kind.part if kind.part != (0, SLOTS) else (0, kind.slots)
    shown[:, :, first:last] = losses[:, kind.m :, first:last]
    old, classes = losses[:, : kind.m], calendar[:, : kind.m]
    reference = ReferenceBatch(mean_losses(old), classes)
    moments, nobody = profile_of(old, classes, 2), np.zeros(CHUNK, dtype=np.bool_)
    found: dict[str, list[Floats]] = {"batch_t": [], "profile": []}
    for day in range(days):
        incoming = LossBatch(shown[:, day], calendar[:, kind.m + day])
        found["batch_t"].append(batch_t(incoming, reference, "greater").p_value)
        found["profile"].append(profile_test(incoming, moments, "greater").p_value)
        moments = profile_updated(moments, incoming, nobody, kind.m)
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def many(kind: Scenario, rise: float, days: int, streams: int, seed: int) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    parts = [p_values(kind, rise, days, rng) for _ in range(0, streams, CHUNK)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def levels(scenarios: list[Scenario], streams: int, seed: int) -> None:
    """Print the share of break-free batches that are rejected; fewer streams of 96 slots."""
    print("| reference batches, losses | test | at .05 | at .01 | at .001 |\n|---|---|---|---|---|")
    for kind in scenarios:
        fewer = streams * SLOTS // kind.slots
        for name, p in many(kind, 0.0, 1, fewer, seed).items():
            cells = [f"{(p <= level).mean():.4f}" for level in LEVELS]
            print(f"| {kind.label} | {name} | " + " | ".join(cells) + " |", flush=True)


def power(scenarios: list[Scenario], streams: int, seed: int) -> None:
    print("\n| reference batches, losses | test | first day, .01 | first day, .001 | ", end="")
    print("ten days, .01 | ten days, .001 | ten days without a break, .01 | the same, .001 |")
    print("|---" * 8 + "|")
    for kind in scenarios:
        if kind.part != (0, SLOTS) or kind.missing:
            continue
        calm = many(kind, 0.0, DAYS, streams, seed)
        for name, p in many(kind, 0.3, DAYS, streams, seed).items():
            cells = [f"{(p[:, 0] <= level).mean():.2f}" for level in LEVELS[1:]]
            cells += [f"{(p.min(axis=1) <= level).mean():.2f}" for level in LEVELS[1:]]
            cells += [f"{(calm[name].min(axis=1) <= level).mean():.3f}" for level in LEVELS[1:]]
            print(f"| {kind.label} | {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=30_000, help="streams for the levels")
    parser.add_argument("--batches", type=int, choices=(14, 28), help="this reference only")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began = time.perf_counter()
    scenarios = [kind for kind in (*SCENARIOS, *QUARTERLY) if chosen.batches in (None, kind.m)]
    levels(scenarios, chosen.streams, chosen.seed)
    power(scenarios, chosen.streams // 10, chosen.seed)
    print(f"\n{chosen.streams} streams, seed {chosen.seed}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
