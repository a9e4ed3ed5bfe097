"""How often are healthy batches of real streams rejected? Breaks are taken out by a calendar.

    python benchmarks/quality/real_level.py

Losses are those of the mean of the four weeks before, slot by slot: nothing is fitted. The calendar
below was labelled by hand from public holidays, school holidays and known events, without looking
at losses; labelled batches are excluded from evidence and reference. What else changed in the
streams is not known, so the rates are upper bounds.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma import MLMA
from mlma.agent.cycle import new_state, run_cycle
from mlma.domain.batches import LossBatch
from mlma.domain.chance import stream_keys
from mlma.domain.fleet import FleetState
from mlma.domain.groups import groups_of
from mlma.steps.compare import Incoming
from mlma.steps.refer import deploy
from real_data import real_files

Floats = NDArray[np.float64]

LEVELS = (0.05, 0.01, 0.001)

CALENDARS = {
    # Christmas to carnival, Easter to Corpus Christi, the summer break, 3 October, 1 November, each
    # with the days when the mean of four weeks still holds them; the pandemic years 2020 and 2021.
    "muenster": (
        *((f"{year}-12-20", f"{year + 1}-02-04") for year in range(2018, 2027)),
        *((f"{year}-03-20", f"{year}-07-10") for year in range(2019, 2027)),
        *((f"{year}-07-10", f"{year}-09-25") for year in range(2019, 2027)),
        *((f"{year}-10-03", f"{year}-10-04") for year in range(2019, 2027)),
        *((f"{year}-10-31", f"{year}-11-02") for year in range(2019, 2027)),
        ("2020-03-01", "2021-12-31"),
    ),
    # New Year, Martin Luther King Day, Presidents' Day, the schedule change with the turn of the
    # clock and the four weeks in which the mean still holds the old one, Memorial Day.
    "departures": (
        ("2001-01-01", "2001-01-03"),
        ("2001-01-15", "2001-01-15"),
        ("2001-02-19", "2001-02-19"),
        ("2001-04-01", "2001-04-29"),
        ("2001-05-25", "2001-05-29"),
    ),
}


def daily_losses(path: Path) -> tuple[list[str], NDArray[np.datetime64], Floats]:
    """Return ids, days ``(n_days,)`` and losses ``(n_days, n_streams, slots)``; NaN = missing."""
    frame = pl.read_parquet(path).with_columns(pl.col("ds").cast(pl.Datetime("us")))
    ids = sorted(frame["unique_id"].unique().to_list())
    first = frame["ds"].min().date()  # type: ignore[union-attr]
    micros = frame["ds"].to_numpy().astype("datetime64[us]") - np.datetime64(first, "us")
    step = np.diff(np.unique(micros))[:100].min()
    slots = int(np.timedelta64(1, "D") // step)
    place = (micros // step).astype(np.int64)
    n_days = int(place.max()) // slots + 1
    row = {name: at for at, name in enumerate(ids)}
    code = np.array([row[name] for name in frame["unique_id"].to_list()])
    y = np.full((len(ids), n_days * slots), np.nan)
    y[code, place] = frame["y"].to_numpy()
    week = 7 * slots
    past = np.stack([np.roll(y, back * week, axis=1) for back in range(1, 5)])
    forecast = past.mean(axis=0)
    forecast[:, : 4 * week] = np.nan
    losses = np.abs(y - forecast).reshape(len(ids), n_days, slots).transpose(1, 0, 2)
    return ids, np.datetime64(first, "D") + np.arange(n_days), losses


def labelled(days: NDArray[np.datetime64], name: str) -> NDArray[np.bool_]:
    """Return which days the calendar takes out."""
    out = np.zeros(len(days), dtype=np.bool_)
    for first, last in CALENDARS[name]:
        out |= (days >= np.datetime64(first)) & (days <= np.datetime64(last))
    return out


def rates(name: str, path: Path, policy: MLMA) -> tuple[Floats, int]:
    """Return the share of told batches at or below each level, and how many there are."""
    ids, days, losses = daily_losses(path)
    out = labelled(days, name)
    weekend = ((days.astype(np.int64) + 3) % 7 >= 5).astype(np.int8)
    state = new_state(stream_keys(ids), policy, losses.shape[2])
    state = deploy(state, np.arange(len(ids)), None, policy, 0)
    fleet, groups = FleetState.new(("fleet",)), groups_of(len(ids), {})
    counts, told = np.zeros(len(LEVELS)), 0
    for day in range(28, len(days)):
        complete = np.isfinite(losses[day]).mean(axis=1) >= 0.9
        batch = np.where(complete[:, None], losses[day], np.nan)
        excluded = np.full(len(ids), out[day])
        incoming = Incoming(LossBatch(batch, np.full(len(ids), weekend[day])), None, excluded)
        made = run_cycle(state, incoming, fleet, groups, policy)
        state, fleet = made.state, made.fleet
        p_value = made.evidence.p_value
        p_value = p_value[np.isfinite(p_value)]
        counts += [np.count_nonzero(p_value <= level) for level in LEVELS]
        told += len(p_value)
    return counts / told, told


def main() -> None:
    """Print one row per data set and policy."""
    quiet = {
        "pool": 1,
        "follow_ups": (),
        "review_age": None,
        "max_age": None,
        "reference_from": "production",
    }
    variants = {
        "default": MLMA(**quiet),
        "common part left in": MLMA(common=False, **quiet),
        "batch_t, common part left in": MLMA(test="batch_t", common=False, **quiet),
    }
    print("| streams | policy | batches | .05 | .01 | .001 |\n|---|---|---|---|---|---|")
    for name, path in real_files().items():
        if name not in CALENDARS:
            continue
        for label, policy in variants.items():
            found, told = rates(name, path, policy)
            cells = " | ".join(f"{rate:.4f}" for rate in found)
            print(f"| {name} | {label} | {told} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
