"""A history that a harness plays: rows of a small fleet day by day, cut into bodies.

Takes a seed, gives the bodies of each day. What is in them, and in which order they are sent, is
the same for the same seed. Next is the player, which sends them.
"""

import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

START = datetime(2024, 1, 1)
SLOTS = 6
NEWCOMERS = 4
MEDIA = (
    "application/x-ndjson",
    "text/csv",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.stream",
)


@dataclass(frozen=True)
class Body:
    """Rows of one kind as they are sent, and as a frame to count them by."""

    kind: str
    content: bytes
    media: str
    rows: pl.DataFrame


@dataclass(frozen=True)
class Size:
    """How large a history is; ``breaks`` maps days to how many streams break then."""

    days: int = 22
    streams: int = 20
    breaks: tuple[tuple[int, int], ...] = ((8, 3), (11, 3), (14, 3))
    pieces: int = 2


FULL = Size()
SMALL = Size(days=7, streams=8, breaks=((4, 2),), pieces=2)


@dataclass(frozen=True)
class Day:
    """What is sent on a day.

    bodies
        rows of the day, in any order.
    late
        rows of days before, in one body: they are judged together, whatever happens meanwhile.
    """

    bodies: tuple[Body, ...]
    late: Body | None


def history(seed: int, size: Size = FULL) -> list[Day]:
    """Return the days of a history.

    Forecasts come with two cutoffs for some slots, of which the later one counts; on some days the
    actuals of a few streams come one or two days late, after their batch was judged without them.
    Some streams join on the way.
    """
    rng = np.random.default_rng([seed, 1])
    waiting: dict[int, list[pl.DataFrame]] = {}
    days = []
    for day in range(size.days):
        made = _rows(day, size, rng)
        late = _late(made, day, size, rng)
        held = made.filter(pl.col("unique_id").is_in(late))
        if len(held):
            comes = day + int(rng.integers(1, 3))
            waiting.setdefault(comes, []).append(held.select("unique_id", "ds", "y"))
        forecasts = _forecasts(made, day, rng)
        actuals = made.filter(~pl.col("unique_id").is_in(late)).select("unique_id", "ds", "y")
        bodies = [
            *_pieces("forecasts", forecasts, size.pieces, rng),
            *_pieces("actuals", actuals, size.pieces, rng),
        ]
        order = rng.permutation(len(bodies))
        came = waiting.pop(day, [])
        days.append(
            Day(
                tuple(bodies[at] for at in order),
                _body("actuals", pl.concat(came), rng) if came else None,
            )
        )
    return days


def _rows(day: int, size: Size, rng: np.random.Generator) -> pl.DataFrame:
    names = _names(day, size)
    level = np.ones(len(names))
    first = 0
    for since, count in size.breaks:
        if day >= since:
            level[first : first + count] = 3.0
        first += count
    y_hat = rng.gamma(20, 1.0, (len(names), SLOTS))
    noise = rng.gamma(10, level[:, None] / 10, (len(names), SLOTS))
    sign = rng.choice([-1.0, 1.0], (len(names), SLOTS))
    slots = [START + timedelta(days=day, hours=24 // SLOTS * slot) for slot in range(SLOTS)]
    return pl.DataFrame(
        {
            "unique_id": np.repeat(names, SLOTS),
            "ds": slots * len(names),
            "y_hat": y_hat.ravel(),
            "y": (y_hat + sign * noise).ravel(),
        },
        schema_overrides={"ds": pl.Datetime("us")},
    )


def _names(day: int, size: Size) -> list[str]:
    there = size.streams - (NEWCOMERS if day < size.days // 3 else 0)
    return [f"shop {number:02d}" for number in range(there)]


def _late(made: pl.DataFrame, day: int, size: Size, rng: np.random.Generator) -> list[str]:
    names = made["unique_id"].unique(maintain_order=True).to_list()
    if day == 0 or day > size.days - 4 or rng.random() < 0.6:
        return []
    return rng.choice(names, int(rng.integers(1, 4)), replace=False).tolist()


def _forecasts(made: pl.DataFrame, day: int, rng: np.random.Generator) -> pl.DataFrame:
    """Return forecasts, a fifth of the slots twice: once more from an earlier cutoff."""
    cutoff = START + timedelta(days=day)
    rows = made.select("unique_id", "ds", "y_hat").with_columns(
        cutoff=pl.lit(cutoff, dtype=pl.Datetime("us"))
    )
    older = rows.sample(fraction=0.2, seed=int(rng.integers(10**6))).with_columns(
        pl.col("y_hat") + 7.0, cutoff=pl.lit(cutoff - timedelta(days=1), dtype=pl.Datetime("us"))
    )
    return pl.concat([rows, older])


def _pieces(kind: str, rows: pl.DataFrame, count: int, rng: np.random.Generator) -> list[Body]:
    mixed = rows.sample(fraction=1.0, shuffle=True, seed=int(rng.integers(10**6)))
    cuts = sorted(rng.integers(1, len(mixed), count - 1).tolist())
    edges = [0, *cuts, len(mixed)]
    parts = [mixed[a:b] for a, b in pairwise(edges) if b > a]
    return [_body(kind, part, rng) for part in parts]


def _body(kind: str, rows: pl.DataFrame, rng: np.random.Generator) -> Body:
    form = int(rng.integers(len(MEDIA)))
    buffer = io.BytesIO()
    if form == 0:
        rows.write_ndjson(buffer)
    elif form == 1:
        rows.write_csv(buffer)
    elif form == 2:
        rows.write_parquet(buffer)
    else:
        rows.write_ipc_stream(buffer)
    return Body(kind, buffer.getvalue(), MEDIA[form], rows)
