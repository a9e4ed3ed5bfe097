"""What becomes of a shock that hits all streams, and of a break that half of a city has?

Plays the cycle on seeded losses of 1,000 streams that move together more or less, gives the tables
of ``docs/statistics/common.md``. Run: ``python benchmarks/quality/shocks.py`` (less than a minute).

Shock: all losses 1.5 times as high for two days. Break: losses of half of the largest city 1.4
times as high, for good. Nobody re-trains; from the planted day on, four weeks are looked at.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# This folder itself leaves the path, so that its modules hide no others of the same names.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mlma.agent.cycle import Cycled, new_state, run_cycle
from mlma.domain.batches import LossBatch
from mlma.domain.chance import stream_keys
from mlma.domain.fleet import Finding, FleetState
from mlma.domain.groups import groups_of
from mlma.domain.settings import MLMA
from mlma.domain.state import HeldOut
from mlma.domain.verdicts import Reason
from mlma.steps.compare import Incoming
from mlma.steps.refer import deploy
from quality.worlds import Size, World, loss_world

STREAMS, HELD_OUT, BATCHES, START, SEEDS = 1000, 28, 84, 56, range(8)
QUIET = MLMA(pool=1, follow_ups=(), review_age=None, max_age=None)
COMMON = {"taken out": True, "left in": False}


@dataclass(frozen=True, slots=True)
class Played:
    """Alarms, all and alone, ``(n_days, n_streams) bool``; findings by day; whom it hits."""

    alarm: NDArray[np.bool_]
    own: NDArray[np.bool_]
    findings: list[Sequence[Finding]]
    hit: NDArray[np.bool_]

    def days(self, state: str) -> list[int]:
        """Return the days on which a finding changed to this state."""
        told = enumerate(self.findings)
        return [day for day, found in told for one in found if one.state == state]


def cycles(world: World, policy: MLMA) -> Iterator[Cycled]:
    """Yield the cycle of each day after the held-out ones."""
    groups, everyone = groups_of(STREAMS, {"city": world.city.tolist()}), np.arange(STREAMS)
    first = world.losses[:HELD_OUT].transpose(1, 0, 2).astype(np.float64)
    calendar = np.broadcast_to(world.calendar[:HELD_OUT], first.shape[:2])
    held_out = HeldOut(first, calendar, np.ones(first.shape[:2]))
    state = new_state(stream_keys(map(str, everyone)), policy, first.shape[2])
    state, fleet = deploy(state, everyone, held_out, policy, 0), FleetState.new(groups.names())
    for losses, kind in zip(world.losses[HELD_OUT:], world.calendar[HELD_OUT:], strict=True):
        incoming = Incoming(LossBatch(losses, np.full(STREAMS, kind)))
        made = run_cycle(state, incoming, fleet, groups, policy)
        state = replace(made.state, pending=np.zeros(STREAMS, dtype=np.bool_))
        fleet = made.fleet
        yield made


def played(world: World, policy: MLMA, kind: str) -> Played:
    """Return what the agent says of a world with something planted in it."""
    cities, sizes = np.unique(world.city, return_counts=True)
    mine, losses = world.city == cities[sizes.argmax()], world.losses.copy()
    hit = mine & (mine.cumsum() % 2 == 1) if kind == "break" else np.ones(STREAMS, np.bool_)
    days = slice(HELD_OUT + START, HELD_OUT + START + 2 if kind == "shock" else len(losses))
    losses[days, hit] *= {"calm": 1.0, "shock": 1.5, "break": 1.4}[kind]
    made = list(cycles(replace(world, losses=losses), policy))
    alarm = np.stack([one.record.alarm for one in made])
    common = np.stack([one.record.reason == Reason.COMMON for one in made])
    return Played(alarm, alarm & ~common, [one.findings for one in made], hit)


def row(made: Played) -> list[float]:
    """Return days until opened, closed, and the median alarm; shares alone, alarmed, others."""
    alarm, own, hit = made.alarm[START:], made.own[START:], made.hit
    first = np.where(alarm.any(axis=0), alarm.argmax(axis=0) + 1.0, np.inf)
    told = ([day for day in made.days(state) if day >= START] for state in ("opened", "closed"))
    after = [min(days) - START + 1 if days else np.inf for days in told]
    shares = [own.any(axis=0)[hit].mean(), alarm.any(axis=0)[hit].mean()]
    others = alarm.any(axis=0)[~hit].mean() if not hit.all() else np.nan
    return [*after, float(np.median(first[hit])), *shares, others]


def main() -> None:
    """Print both tables; days are medians over the fleets, shares are means."""
    heads = ["opened", "closed", "median alarm", "alone", "alarmed", "others"]
    calm = ["| together | common part | findings | alarms | most |\n|---|---|---|---|---|"]
    print(f"| together | | common part | {' | '.join(heads)} |\n" + "|---" * 9 + "|")
    for together in (0.0, 0.3, 0.77):
        sizes = [Size(STREAMS, BATCHES, seed=seed) for seed in SEEDS]
        worlds = [loss_world("", size, phi=0.3, together=together) for size in sizes]
        for name, common in COMMON.items():
            policy = replace(QUIET, common=common)
            for kind in ("shock", "break"):
                told = np.array([row(played(world, policy, kind)) for world in worlds])
                figures = [*np.median(told[:, :3], axis=0), *told[:, 3:].mean(axis=0)]
                cells = (f"{one:.3g}" if np.isfinite(one) else "-" for one in figures)
                print(f"| {together:g} | {kind} | {name} | {' | '.join(cells)} |", flush=True)
            quiet = [played(world, policy, "calm") for world in worlds]
            opened = sum(len(one.days("opened")) for one in quiet) / len(SEEDS) / BATCHES
            rates = [one.alarm.sum() / (STREAMS / 1000 * BATCHES / 7) for one in quiet]
            cells = " | ".join(f"{one:.2g}" for one in (100 * opened, np.mean(rates), max(rates)))
            calm.append(f"| {together:g} | {name} | {cells} |")
    print("\n".join(["", *calm]))


if __name__ == "__main__":
    main()
