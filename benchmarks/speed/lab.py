"""What a run of the policy lab costs: the recorded history of a fleet under another policy.

    python benchmarks/speed/lab.py [--streams 10000] [--cycles 182] [--policy TEXT ...]
        [--json FILE]

A fleet with breaks, and a trainer that answers a cycle later, writes its history into an SQLite
file in the working folder; then each policy is tried on it. Told are the seconds of a whole run,
the reading of the history apart, and the peak of the memory of the process.
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from lab_worlds import LabWorld, recorded_history
from mlma.agent.lab import Question, played

POLICIES = ("mlma", "mlma(false_retrainings=0.1)", "never", "periodic(every=28)")


def main() -> None:
    """Write a history, try policies, print a table."""
    asked = _asked()
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir=asked.folder))
    try:
        made = _measured(asked, f"sqlite:///{folder.resolve()}/lab.db")
    finally:
        shutil.rmtree(folder)
    print(_table(made))
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=1) + "\n")


def _asked() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--cycles", type=int, default=182)
    parser.add_argument("--policy", nargs="+", default=list(POLICIES))
    parser.add_argument("--folder", default=".", help="where the store lies meanwhile")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _measured(asked: argparse.Namespace, url: str) -> list[dict[str, Any]]:
    world = LabWorld(streams=asked.streams, cycles=asked.cycles, breaks=0.2)
    begun = time.perf_counter()
    store, settings, _, _ = recorded_history(world, "mlma(pool=1)", url)
    print(f"history written in {time.perf_counter() - begun:.1f} s", file=sys.stderr)
    try:
        return [_run(store, settings, policy) | vars_of(asked) for policy in asked.policy]
    finally:
        store.close()


def vars_of(asked: argparse.Namespace) -> dict[str, int]:
    """Return the size of the fleet."""
    return {"streams": asked.streams, "cycles": asked.cycles}


def _run(store: Any, settings: Any, policy: str) -> dict[str, Any]:
    begun, cpu, read = time.perf_counter(), time.process_time(), 0.0
    steps = played(store, settings, Question(policy))
    try:
        while True:
            share = next(steps)
            if share <= 0.1:
                read = time.perf_counter() - begun
    except StopIteration as end:
        result = end.value
    return {
        "policy": policy,
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - cpu,
        "reading": read,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "retrainings": result["tried"]["retrainings"],
        "counterfactual_share": result["counterfactual_share"],
        "result_kb": len(json.dumps(result)) / 1024,
    }


def _table(made: list[dict[str, Any]]) -> str:
    lines = ["policy                            seconds  CPU s  reading  peak MB  result kB"]
    lines += [
        f"{one['policy']:32s} {one['seconds']:8.1f} {one['cpu_seconds']:6.1f} "
        f"{one['reading']:8.1f} {one['peak_mb']:8.0f} {one['result_kb']:9.0f}"
        for one in made
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
