"""What reference and benchmark adjustment do to alarms, on seeded synthetic streams.

Plays the cycle without re-training on gamma-type losses, gives the two Markdown tables of
``docs/statistics/references.md`` and ``difficulty.md``. Run:
``python benchmarks/quality/references.py`` (less than a minute).
"""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from mlma.agent.cycle import new_state, run_cycle
from mlma.agent.play import difficulties
from mlma.domain.batches import LossBatch
from mlma.domain.chance import stream_keys
from mlma.domain.fleet import FleetState
from mlma.domain.groups import FLEET, Groups
from mlma.domain.settings import MLMA
from mlma.domain.state import HeldOut
from mlma.steps import refer
from mlma.steps.compare import Incoming
from mlma.steps.refer import deploy

Floats = NDArray[np.float64]

SLOTS, HELD_OUT, BATCHES, BREAK = 12, 28, 112, 56
ALONE = MLMA(pool=1, common=False, review_age=None, max_age=None)

NOTHING_WAITS = "default, no batch waits"
REFERENCES: dict[str, dict[str, object]] = {
    "`adaptive`": {"drift": False},
    "`adaptive` and drift (default)": {},
    "default, `e_process`": {"accumulate": "e_process"},
    "`anchored`": {"drift": False, "reference": "anchored"},
    "`fixed`": {"drift": False, "reference": "fixed"},
    "default, from `production`": {"reference_from": "production"},
    "default, common part taken out": {"common": True},
    NOTHING_WAITS: {},
}


def losses(rng: np.random.Generator, *shape: int) -> Floats:
    """Return independent losses of mean 1; the log of a mean of 12 has a deviation of .14."""
    return rng.gamma(4.0, 1 / 4.0, (*shape, SLOTS))


def first_alarms(policy: MLMA, y: Floats, hard: Floats) -> NDArray[np.int64]:
    """Return the batch of each stream's first alarm, -1 = none, ``(n_streams,)``.

    ``y (n_streams, HELD_OUT + BATCHES, SLOTS)``, ``hard (n_streams, HELD_OUT + BATCHES)``.
    """
    n = len(y)
    none = np.zeros((n, HELD_OUT), np.int8)
    brought = HeldOut(y[:, :HELD_OUT], none, hard[:, :HELD_OUT])
    held_out = brought if policy.reference_from == "held_out" else None
    state = new_state(stream_keys(map(str, range(n))), policy, SLOTS)
    state = deploy(state, np.arange(n), held_out, policy, 0)
    fleet, first = FleetState.new((FLEET,)), np.full(n, -1)
    for batch in range(BATCHES):
        at = HELD_OUT + batch
        incoming = Incoming(LossBatch(y[:, at], np.zeros(n, np.int8)), hard[:, at])
        made = run_cycle(state, incoming, fleet, Groups(n), policy)
        state, fleet = made.state, made.fleet
        first[made.record.alarm & (first < 0)] = batch
    return first


def references(n: int = 1000) -> None:
    """Print what the kinds of reference find, and what they raise an alarm of."""
    number = np.arange(BATCHES)
    worlds = {
        "no break": np.ones(BATCHES),
        "drift of .4 % a batch": 1.004**number,
        "drift of 1 % a batch": 1.01**number,
        "+30 % on day 56": np.where(number >= BREAK, 1.3, 1.0),
    }
    print(f"| | {' | '.join(worlds)} |\n|---|{'---|' * len(worlds)}")
    for name, settings in REFERENCES.items():
        cells = []
        for level in worlds.values():
            y = losses(np.random.default_rng(5), n, HELD_OUT + BATCHES)
            y[:, HELD_OUT:] *= level[:, None]
            with patch.object(refer, "RISING", 1e-300 if name == NOTHING_WAITS else refer.RISING):
                first = first_alarms(replace(ALONE, **settings), y, np.ones(y.shape[:2]))
            early = (first >= 0) & (first < BREAK)
            broken = level[-1] == 1.3
            counted = first[~early] if broken else first
            found = counted[counted >= 0]
            middle = np.median(found) if len(found) else np.nan
            told = f"day {middle + 1:.0f}"
            if broken:
                told = f"{middle - BREAK + 1:.0f} batches"
            elif len(found) and level[-1] > 1:
                told = f"day {middle + 1:.0f}, {level[int(middle)] - 1:.0%}"
            cells.append(f"{len(found) / len(counted):.3f} ({told})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def adjustments(n: int = 500) -> None:
    """Print what the power of the benchmark's loss does."""
    rng = np.random.default_rng(8)
    shock = np.exp(rng.normal(0, 0.3, (n, HELD_OUT + BATCHES)))
    y = losses(rng, n, HELD_OUT + BATCHES) * shock[:, :, None]
    benchmark = 1.3 * losses(rng, n, HELD_OUT + BATCHES).mean(axis=2) * shock
    rise = np.where(np.arange(HELD_OUT + BATCHES) >= HELD_OUT + BREAK, 1.3, 1.0)[:, None]
    print("\n| adjustment | sd of the log | healthy | broken | batches |\n|---|---|---|---|---|")
    for power in (0.0, 0.25, 0.5, 0.75, 1.0):
        hard, policy = difficulties(benchmark, power), replace(ALONE, adjustment=power)
        deviation = np.log(y.mean(axis=2) / hard).std(axis=1, ddof=1).mean()
        healthy = (first_alarms(policy, y, hard) >= 0).mean()
        first = first_alarms(policy, y * rise, hard)
        first = first[(first < 0) | (first >= BREAK)]
        found = first[first >= 0]
        print(
            f"| {power} | {deviation:.2f} | {healthy:.3f} | {len(found) / len(first):.2f} "
            f"| {np.median(found) - BREAK + 1:.0f} |",
        )


if __name__ == "__main__":
    references()
    adjustments()
