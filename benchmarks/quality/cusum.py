"""How often does the accumulated evidence reach a level where nothing has broken?

Plays the whole chain (batch_t, scores, cusum, reference) on seeded break-free streams, gives the
Markdown tables of ``docs/statistics/cusum.md``. Run: ``python benchmarks/quality/cusum.py``
(two minutes).

Losses have gamma marginals and a Gaussian copula: 24 a day, AR(1) within the day, days independent,
a daily season, weekends 40 % higher; a day effect multiplies all losses of a day by one lognormal
factor.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlma.agent.cycle import run_cycle
from mlma.domain.batches import LossBatch
from mlma.domain.chance import stream_keys
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState, HeldOut
from mlma.domain.verdicts import Reason
from mlma.steps.refer import deploy

Floats = NDArray[np.float64]

LEVELS = (0.05, 0.01, 0.001)
STREAMS, SLOTS, HELD_OUT, SETTLING, BATCHES = 4000, 24, 28, 40, 100
WEEKEND = (np.arange(HELD_OUT + SETTLING + BATCHES) % 7 >= 5).astype(np.int8)


@dataclass(frozen=True, slots=True)
class World:
    """One kind of break-free streams."""

    phi: float
    day_effect: float

    @property
    def label(self) -> str:
        return f"phi {self.phi:g}" + (", day effect" if self.day_effect else "")


WORLDS = (World(0.0, 0.0), World(0.3, 0.0), World(0.6, 0.0), World(0.3, 0.3))


def batch_means(world: World, rng: np.random.Generator) -> Floats:
    """Return mean losses, ``(n_batches, n_streams)``."""
    grid = np.linspace(-6, 6, 4001)
    quantiles = special.gammaincinv(1.0, special.ndtr(grid))
    season = 1 + 0.6 * np.sin(2 * np.pi * np.arange(SLOTS) / SLOTS)
    made = np.empty((len(WEEKEND), STREAMS))
    for day, weekend in enumerate(WEEKEND):
        latent = rng.standard_normal((STREAMS, SLOTS))
        for slot in range(1, SLOTS):
            fresh = np.sqrt(1 - world.phi**2) * latent[:, slot]
            latent[:, slot] = world.phi * latent[:, slot - 1] + fresh
        mean = (np.interp(latent, grid, quantiles) * season).mean(axis=1)
        made[day] = mean * (1.4 if weekend else 1.0) * rng.lognormal(0, world.day_effect, STREAMS)
    return made


def realised(means: Floats, reference: str, level: float) -> tuple[Floats, float]:
    """Return the share of stream-batches at or below each level, and alarms per 1,000.

    An alarm starts the evidence anew; no model is re-trained. Degraded batches stay out of the
    reference; with a level near 0 every batch enters and no alarm interrupts the evidence.
    """
    policy = MLMA(
        reference=reference,
        level=level,
        multiplicity="none",
        follow_ups=(),
        review_age=None,
        max_age=None,
    )
    everyone = np.arange(STREAMS)
    weekends = np.broadcast_to(WEEKEND[:HELD_OUT], (STREAMS, HELD_OUT))
    losses = means[:HELD_OUT].T[:, :, None]
    held_out = HeldOut(losses, weekends, np.ones((STREAMS, HELD_OUT)))
    state = AgentState.new(stream_keys(map(str, everyone)), HELD_OUT, None)
    state = deploy(state, everyone, held_out, policy, 0)
    shares, alarms = np.zeros(len(LEVELS)), 0
    for day in range(HELD_OUT, len(means)):
        batch = LossBatch(means[day][:, None], np.full(STREAMS, WEEKEND[day]))
        state, seen = run_cycle(state, batch, np.ones(STREAMS), policy, 0)
        state = replace(state, pending=np.zeros(STREAMS, dtype=np.bool_))
        if day >= HELD_OUT + SETTLING:
            shares += [(seen.p_evidence <= one).mean() for one in LEVELS]
            alarms += int((seen.reason == Reason.ALARM).sum())
    return shares / BATCHES, 1000 * alarms / (STREAMS * BATCHES)


def main() -> None:
    """Print one row per world and reference rule."""
    print("| streams | reference | .05 | .01 | .001 | alarms per 1,000 at .001 |")
    print("|---|---|---|---|---|---|")
    for world in WORLDS:
        means = batch_means(world, np.random.default_rng(1))
        for reference in ("adaptive", "fixed", "anchored"):
            shares, _ = realised(means, reference, 1e-12)
            _, alarms = realised(means, reference, 0.001)
            cells = " | ".join(f"{share:.4f}" for share in shares)
            print(f"| {world.label} | {reference} | {cells} | {alarms:.1f} |", flush=True)


if __name__ == "__main__":
    main()
