"""How often does the accumulated evidence raise an alarm where nothing has broken?

Plays the whole cycle on seeded break-free streams, nobody re-trains, gives the Markdown tables of
``docs/statistics/cusum.md``, ``e_process.md``, ``audit.md`` and ``references.md``. Run:
``python benchmarks/quality/cusum.py`` (two minutes).

Losses have gamma marginals and a Gaussian copula: 24 a day, AR(1) within the day, days independent,
a daily season, weekends 40 % higher; a day effect multiplies all losses of a day by one lognormal
factor.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlma.agent.cycle import Cycled, new_state, run_cycle
from mlma.domain.batches import LossBatch
from mlma.domain.chance import stream_keys
from mlma.domain.fleet import FleetState
from mlma.domain.groups import FLEET, Groups
from mlma.domain.settings import MLMA
from mlma.domain.state import HeldOut, Waiting
from mlma.stats import dial
from mlma.steps.compare import Incoming
from mlma.steps.refer import deploy

Floats = NDArray[np.float64]

LEVELS = (0.05, 0.01, 0.001)
STREAMS, SLOTS, HELD_OUT, SETTLING, BATCHES = 4_000, 24, 28, 40, 160
DRIFT_ALONE = "drift alone"
WEEKEND = (np.arange(HELD_OUT + SETTLING + BATCHES) % 7 >= 5).astype(np.int8)
QUIET = MLMA(pool=1, follow_ups=(), review_age=None, max_age=None, common=False)
LIMBS: dict[str, dict[str, object]] = {
    "adaptive": {"drift": False},
    "adaptive and drift": {},
    DRIFT_ALONE: {},
    "`e_process`": {"drift": False, "accumulate": "e_process"},
    "`fixed`": {"drift": False, "reference": "fixed"},
    "`anchored`": {"drift": False, "reference": "anchored"},
    "adaptive and drift, common part out": {"common": True},
}


@dataclass(frozen=True, slots=True)
class World:
    """One kind of break-free streams, and the number of reference batches."""

    phi: float
    day_effect: float = 0.0
    m: int = HELD_OUT

    @property
    def label(self) -> str:
        effect = ", day effect" if self.day_effect else ""
        return f"phi {self.phi:g}{effect}" + (f", {self.m} batches" if self.m < HELD_OUT else "")


WORLDS = (World(0.0), World(0.3), World(0.6), World(0.3, 0.3), World(0.3, m=14))


def batch_means(world: World, rng: np.random.Generator) -> Floats:
    """Return mean losses, ``(n_batches, n_streams)``."""
    grid = np.linspace(-6, 6, 4001)
    quantiles = special.gammaincinv(1.0, special.ndtr(grid))
    season = 1 + 0.6 * np.sin(2 * np.pi * np.arange(SLOTS) / SLOTS)
    made = np.empty((len(WEEKEND), STREAMS))
    for day, weekend in enumerate(WEEKEND):
        latent = rng.standard_normal((SLOTS, STREAMS))
        for slot in range(1, SLOTS):
            latent[slot] = world.phi * latent[slot - 1] + np.sqrt(1 - world.phi**2) * latent[slot]
        mean = (np.interp(latent, grid, quantiles) * season[:, None]).mean(axis=0)
        made[day] = mean * (1.4 if weekend else 1.0) * rng.lognormal(0, world.day_effect, STREAMS)
    return made


def played(means: Floats, world: World, policy: MLMA, *, waits: bool = True) -> Iterator[Cycled]:
    """Yield each cycle; an alarm starts the evidence anew. Not ``waits``: suspects are dropped."""
    policy, everyone = replace(policy, reference_batches=world.m), np.arange(STREAMS)
    days = slice(HELD_OUT - world.m, HELD_OUT)
    calendar = np.broadcast_to(WEEKEND[days], (STREAMS, world.m))
    held_out = HeldOut(means[days].T[:, :, None], calendar, np.ones((STREAMS, world.m)))
    state = new_state(stream_keys(map(str, everyone)), policy, 1)
    state = deploy(state, everyone, held_out, policy, 0)
    fleet, nobody = FleetState.new((FLEET,)), np.zeros(STREAMS, dtype=np.bool_)
    for day in range(HELD_OUT, len(means)):
        incoming = Incoming(LossBatch(means[day][:, None], np.full(STREAMS, WEEKEND[day])))
        made = run_cycle(state, incoming, fleet, Groups(STREAMS), policy)
        state, fleet = replace(made.state, pending=nobody), made.fleet
        if not waits:
            dropped = replace(state.reference, waiting=Waiting.none(STREAMS))
            state = replace(state, reference=dropped)
        yield made


def tail_shares(means: Floats, world: World, reference: str) -> Floats:
    """Return the share of stream-batches whose evidence is at or below each level.

    No batch is degraded and nothing interrupts the evidence.
    """
    policy = replace(QUIET, reference=reference, drift=False, multiplicity="none")
    policy = replace(policy, false_retrainings=None, level=1e-12)
    settled = list(played(means, world, policy))[SETTLING:]
    return np.mean(
        [[(one.evidence.p_evidence <= at).mean() for at in LEVELS] for one in settled], 0
    )


def alarm_rate(means: Floats, world: World, policy: MLMA) -> float:
    """Return the alarms per 1,000 streams and week."""
    alarms = [int(one.record.alarm.sum()) for one in played(means, world, policy)]
    return sum(alarms) / (STREAMS / 1000 * len(alarms) / 7)


def bias(means: Floats, world: World, *, waits: bool) -> float:
    """Return how far the mean reference level ends from the truth, in sd of a log batch mean."""
    *_, last = played(means, world, QUIET, waits=waits)
    logs, moments = np.log(means), last.state.reference.moments
    truth = [logs[one == WEEKEND].mean() for one in (0, 1)]
    return float((moments.mean - truth).mean() / np.sqrt(moments.variance.mean()))


def audited(means: Floats, world: World) -> Floats:
    """Return the audit at a dial of 10: lower and upper shares per level, then alarm rates.

    The rates are those expected, of the mirror and realised, per 1,000 streams and week.
    """
    *_, last = played(means, world, replace(QUIET, false_retrainings=10.0))
    audit = last.fleet.audit
    shares = np.stack([audit.lower, audit.upper], axis=1).ravel() / audit.batches
    alarms = np.array([audit.expected_alarms, audit.mirror_alarms, audit.alarms])
    return np.concatenate([shares, 7000 * alarms / audit.watched])


def main() -> None:
    """Print the tables."""
    drawn = [(world, batch_means(world, np.random.default_rng(1))) for world in WORLDS]
    print("| streams | reference | .05 | .01 | .001 |\n|---|---|---|---|---|")
    for world, means in drawn:
        for reference in ("adaptive", "fixed", "anchored"):
            cells = " | ".join(f"{share:.4f}" for share in tail_shares(means, world, reference))
            print(f"| {world.label} | {reference} | {cells} |", flush=True)
    print("\n| streams | limbs | dial 1 | dial 10 |\n|---|---|---|---|")
    for world, means in drawn:
        for name, settings in LIMBS.items():
            with patch.object(dial, "UP_SHARE", 1e-9 if name == DRIFT_ALONE else dial.UP_SHARE):
                policies = (replace(QUIET, false_retrainings=at, **settings) for at in (1.0, 10.0))
                rates = [alarm_rate(means, world, one) for one in policies]
            cells = " | ".join(f"{rate:.2f}" for rate in rates)
            print(f"| {world.label} | {name} | {cells} |", flush=True)
    print("\n| streams | suspects wait | suspects are dropped |\n|---|---|---|")
    for world, means in drawn:
        cells = " | ".join(f"{bias(means, world, waits=waits):+.3f}" for waits in (True, False))
        print(f"| {world.label} | {cells} |", flush=True)
    heads = [f"{side} {level:g}" for level in LEVELS for side in ("mirror", "upper")]
    heads += ["expected", "mirror alarms", "alarms"]
    print(f"\n| streams | {' | '.join(heads)} |\n|---" + "|---" * len(heads) + "|")
    for rise in (1.0, 1.3, 0.7):
        for world, means in drawn if rise == 1.0 else drawn[1:2]:
            changed = means.copy()
            changed[len(means) // 2 :, : STREAMS // 10] *= rise
            cells = " | ".join(f"{figure:.3g}" for figure in audited(changed, world))
            label = world.label + (f", a tenth {rise - 1:+.0%}" if rise != 1.0 else "")
            print(f"| {label} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
