"""One other tool, in an environment of its own: prints one line of JSON, a list of figures.

    python peers.py river

A stream-batch is 96 new losses of one healthy stream beside a reference of 480. What a tool must do
once per stream (import, fit on the reference, feed the reference) is not timed; what it must do per
batch is. The figure is the median over repeated calls, the first left out.
"""

import argparse
import importlib
import json
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

NEW, REFERENCE = 96, 480
MOST_CALLS = 300

Call = Callable[[], Any]
Prepare = Callable[[np.random.Generator], Call]


@dataclass(frozen=True, slots=True)
class Row:
    """One way to use a tool: ``prepare`` gives the call that is timed, for ``at_once`` streams."""

    what: str
    prepare: Prepare
    at_once: int = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """Microseconds per stream-batch, how many of these were timed, and in calls of how many."""

    tool: str
    version: str
    what: str
    microseconds: float
    stream_batches: int
    at_once: int


MODULES = {
    "mlma": "peer_exact",
    "scipy": "peer_scipy",
    "river": "peer_river",
    "frouros": "peer_frouros",
    "evidently": "peer_evidently",
}


def losses(rng: np.random.Generator, *shape: int) -> Any:
    return rng.gamma(2.0, 0.5, shape)


def figures(tool: str, rows: Iterable[Row], budget_seconds: float) -> list[Figure]:
    return [figure(tool, row, budget_seconds) for row in rows]


def figure(tool: str, row: Row, budget_seconds: float) -> Figure:
    """Time one row until the budget is spent, three times at least."""
    rng, spent = np.random.default_rng(0), []
    while len(spent) < 3 or (sum(spent) < budget_seconds and len(spent) < MOST_CALLS):
        call = row.prepare(rng)
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    counted = spent[1:]
    microseconds = 1e6 * float(np.median(counted)) / row.at_once
    timed = len(counted) * row.at_once
    return Figure(tool, version(tool), row.what, microseconds, timed, row.at_once)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool", choices=sorted(MODULES))
    parser.add_argument("--seconds", type=float, default=2.0, help="budget per row")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = importlib.import_module(MODULES[asked.tool]).rows()
    print(json.dumps([asdict(one) for one in figures(asked.tool, rows, asked.seconds)]))


if __name__ == "__main__":
    main()
