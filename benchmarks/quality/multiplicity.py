"""How many of a cycle's alarms are false, and how many breaks are found, by correction and test?

Plays one cycle after the other on seeded losses, some of them broken, one batch each, without
evidence that adds up; gives the table of ``docs/statistics/multiplicity.md``. Run:
``python benchmarks/quality/multiplicity.py`` (half a minute).
"""

import numpy as np
from level import Scenario, draw
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch
from mlma.stats.multiplicity import METHODS, adjusted_p_values
from mlma.stats.registry import TESTS

CYCLES, STREAMS, BROKEN, RISE, LEVEL = 40, 1000, 50, 3.0, 0.05
COMPARED = ("moderated_t", "batch_t", "welch", "mann_whitney", "ks")


def alarms(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return false alarms, breaks found and any false alarm, ``(n_tests, n_methods, 3)``."""
    incoming, reference = draw(STREAMS, Scenario(28, 0.3), rng)
    losses = incoming.losses.copy()
    losses[:BROKEN] *= RISE
    batch = LossBatch(losses, incoming.calendar)
    made = np.empty((len(COMPARED), len(METHODS), 3))
    for test, name in enumerate(COMPARED):
        p = TESTS[name].function(batch, reference, "greater").p_value
        for method, correction in enumerate(METHODS):
            alarm = adjusted_p_values(p, correction) <= LEVEL
            false = alarm[BROKEN:].sum()
            made[test, method] = false, alarm[:BROKEN].sum(), false > 0
    return made


def main() -> None:
    """Print one row per test."""
    rng = np.random.default_rng(1)
    cycles = np.stack([alarms(rng) for _ in range(CYCLES)])
    false, found, any_false = np.moveaxis(cycles, -1, 0)
    share = (false / np.maximum(false + found, 1)).mean(axis=0)
    print(f"| test | {' | '.join(METHODS)} |\n|---" + "|---" * len(METHODS) + "|")
    for test, name in enumerate(COMPARED):
        power, any_of = found[:, test].mean(axis=0) / BROKEN, any_false[:, test].mean(axis=0)
        columns = zip(share[test], power, any_of, strict=True)
        cells = " | ".join(f"{one:.3f} / {two:.2f} / {three:.2f}" for one, two, three in columns)
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
