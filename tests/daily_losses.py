"""A few streams of losses, day by day, and an agent that is fed with them."""

from dataclasses import asdict
from datetime import datetime, timedelta
from functools import cache

import numpy as np
import polars as pl

from cycles import arrays

MONDAY = datetime(2024, 1, 1)
NAMES = tuple(f"stream {row}" for row in range(5))
FAST = (
    "mlma(level=0.01, reference_batches=10, min_reference_batches=5, review_age=None, max_age=None)"
)


@cache
def day_of_losses(day, names=NAMES, slots=6, level=1.0):
    """Six losses per stream and day; the first stream gets ``level`` times as much."""
    rows = []
    for name in names:
        rng = np.random.default_rng([day, NAMES.index(name)])
        losses = rng.gamma(8.0, 1 / 8.0, slots) * (level if name == NAMES[0] else 1.0)
        times = [MONDAY + timedelta(days=day, hours=4 * slot) for slot in range(slots)]
        rows.append(pl.DataFrame({"unique_id": name, "ds": times, "loss": losses}))
    return pl.concat(rows)


def fed(agent, days, **settings):
    """The answers of an agent to some days of losses, the first stream broken from day 12."""
    return [
        agent.observe_losses(day_of_losses(day, level=3.0 if day >= 12 else 1.0, **settings))
        for day in days
    ]


def bits(agent):
    """Everything that an agent remembers, as bytes."""
    fleet = agent.fleet
    columns = {**arrays(agent.state), **arrays(fleet.groups, "group."), **asdict(fleet.audit)}
    kept = {name: np.asarray(column).tobytes() for name, column in columns.items()}
    return kept, agent.streams, fleet.names, fleet.cycle, agent.left_out
