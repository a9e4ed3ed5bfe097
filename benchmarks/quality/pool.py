"""What a pool of versions is worth: beside one model, other windows, other algorithms.

    python benchmarks/quality/pool.py [--parts policies windows algorithms global] [--quick]

Prints Markdown tables; progress goes to stderr. Histories that are not found are left out. See
`pool_policies`, `yardsticks` and `algorithms` beside this file for what is measured and how.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

# This folder itself leaves the path, so that its modules hide no others of the same names.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quality import algorithms, histories, pool_policies, yardsticks

PARTS = ("policies", "windows", "algorithms", "global")
SLOWEST = ("muenster", "auckland", "simulated", "departures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--histories", nargs="+", help="auckland muenster departures simulated")
    parser.add_argument("--algorithms", nargs="+", choices=algorithms.ALGORITHMS)
    parser.add_argument("--seeds", type=int, default=3, help="random phases of the policies")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument(
        "--keep", help="folder of figures: a run that was cut short goes on from them"
    )
    parser.add_argument("--quick", action="store_true", help="three streams of 200 days")
    asked = parser.parse_args()
    asked.seeds = 1 if asked.quick else asked.seeds
    asked.algorithms = asked.algorithms or list(algorithms.ALGORITHMS)
    asked.histories = asked.histories or histories.names()
    if asked.keep:
        Path(asked.keep).mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    with ProcessPoolExecutor(asked.jobs) as workers:
        for text in [told for part in asked.parts for told in _begun(part, asked, workers.submit)]:
            print(f"{text()}\n", flush=True)
    print(f"{time.perf_counter() - begun:.0f} s", file=sys.stderr)


def _begun(
    part: str, asked: argparse.Namespace, submit: Callable[..., Future[Any]]
) -> Iterator[Callable[[], str]]:
    """Yield what waits for the tables of a part, all of it begun."""
    names = sorted(asked.histories, key=SLOWEST.index)
    if part == "policies":
        yield lambda: "## Policies at equal fits"
        for name in names:
            yield submit(pool_policies.tables, name, asked.seeds, asked.quick, asked.keep).result
    elif part == "windows":
        yield lambda: "## Other windows, and always combined"
        for name in names:
            yield submit(yardsticks.table, name, asked.quick, 1).result
    elif part == "algorithms" and "auckland" in histories.names():
        yield lambda: "## Algorithm and procedure\n\nLoss / ridge always (fits / own always)"
        yield _algorithms(asked, submit)
    elif part == "global" and "auckland" in histories.names():
        yield lambda: "## One global model"
        yield submit(algorithms.global_table, asked.quick, 1).result


def _algorithms(asked: argparse.Namespace, submit: Callable[..., Future[Any]]) -> Callable[[], str]:
    made = {
        name: submit(algorithms.played, name, asked.quick, 1, asked.keep)
        for name in sorted(asked.algorithms, key="random forest".__ne__)
    }
    return lambda: algorithms.table({name: made[name].result() for name in asked.algorithms})


if __name__ == "__main__":
    main()
