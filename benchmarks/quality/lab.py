"""How near the guesses of the policy lab come to the truth, where the truth is known.

    python benchmarks/quality/lab.py [--streams 300] [--cycles 182] [--json FILE]

Fleets are simulated whose losses under any policy are known: the same chance, breaks and trainer,
whoever decides. The history under the default policy is recorded; the lab guesses what other
policies would have done; then these are really played. Told are losses relative to the real ones.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from lab_worlds import LabWorld, finished, recorded_history
from mlma.agent.lab import Question, played

REAL = "mlma(pool=1)"
POLICIES = (
    *("mlma(pool=1, false_retrainings=0.1)", "mlma(pool=1, false_retrainings=10.0)"),
    *("mlma(pool=1, follow_ups=())", "periodic(every=28)", "never"),
)
MEASURES = ("retrainings", "alarms", "incidents")


def worlds(streams: int, cycles: int) -> dict[str, LabWorld]:
    """Return the fleets, by what is special about them."""
    size = {"streams": streams, "cycles": cycles}
    return {
        "versions bring held-out losses": LabWorld(**size, brings=28),
        "they do not": LabWorld(**size),
        "half of the breaks go by themselves": LabWorld(**size, brings=28, returns=0.5, lasts=5),
        "few breaks, versions grow stale": LabWorld(**size, brings=28, breaks=0.3, stale=0.001),
    }


def main() -> None:
    """Play all, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--cycles", type=int, default=182)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    made = []
    for name, world in worlds(asked.streams, asked.cycles).items():
        made += compared(name, world)
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=1) + "\n")


def compared(name: str, world: LabWorld) -> list[dict[str, Any]]:
    """Return guess and truth of every policy in a world; each is printed as it is known."""
    store, settings, real, _ = recorded_history(world, REAL)
    made = []
    for policy in POLICIES:
        guess = finished(played(store, settings, Question(policy)))[0]
        there, own, true, _ = recorded_history(world, policy)
        same = finished(played(there, own, Question(policy)))[0]["real"]
        tried = guess["tried"]
        losses = ("loss", "loss_low", "loss_high")
        row: dict[str, Any] = {"world": name, "policy": policy}
        row |= {one: tried[one] / float(real.mean()) - 1 for one in losses}
        row |= {"true_loss": float(true.mean() / real.mean()) - 1}
        row |= {one: tried[one] for one in MEASURES}
        row |= {f"true_{one}": same[one] for one in MEASURES}
        row |= {"counterfactual_share": guess["counterfactual_share"]}
        made.append(row)
        print(_line(row), flush=True)
    return made


def _line(row: dict[str, Any]) -> str:
    counts = ", ".join(f"{one} {row[one]} ({row[f'true_{one}']})" for one in MEASURES)
    return (
        f"{row['world']} | {row['policy']} | loss {row['loss']:+.2%} ({row['true_loss']:+.2%}), "
        f"range {row['loss_low']:+.2%} to {row['loss_high']:+.2%} | {counts} | "
        f"{row['counterfactual_share']:.0%}"
    )


if __name__ == "__main__":
    main()
