"""Harder yardsticks than `always` with the window of the pool: other windows, and always combined.

Takes a history, gives losses relative to `always` with 84 batches, on the batches that all have.
"""

import sys

import numpy as np
from numpy.typing import NDArray

import mlma
from mlma.domain.runs import Replayed
from quality import histories
from quality.pool_policies import plain

Floats = NDArray[np.float64]

WINDOW = 84
WINDOWS = (28, WINDOW, 182, 364)
POOLS = ("mlma()", "always(pool=8)", "always(pool=8, naive_member=False)")
HEAD = "| | loss / always, 84 batches | streams over 1.02 | fits / always |"
EVERY = {"auckland": 3, "muenster": 6, "simulated": 3}
"""Every third or sixth stream by name is played: long windows take long."""


def table(name: str, quick: bool, jobs: int) -> str:
    """Return the table of one history."""
    frame = histories.history(name, quick=quick)
    if not quick:
        frame = histories.every(frame, EVERY.get(name, 1))
    days = (frame["ds"].max() - frame["ds"].min()).days
    windows = [window for window in WINDOWS if 2 * window <= days]
    records: dict[int, Replayed] = {}
    for window in windows:
        print(f"windows: {name}, {window}", file=sys.stderr, flush=True)
        policies = POOLS if window == WINDOW else ("never",)
        result = mlma.replay(
            frame, policies=policies, window=window, phases=1, n_jobs=jobs, progress=False
        )
        records[window] = result.record
    return _markdown(name, records)


def _markdown(name: str, records: dict[int, Replayed]) -> str:
    ids = sorted(set.intersection(*(set(record.ids) for record in records.values())))
    own = records[WINDOW]
    losses = {f"always, {w}": _of(r, "always", ids) for w, r in records.items()}
    asked = [run for run in own.runs if run.role == "policy"]
    losses |= {run.label: _of(own, run.label, ids) for run in asked}
    common = np.all([np.isfinite(loss) for loss in losses.values()], axis=0)
    sums = {key: np.where(common, loss, 0.0).sum(axis=1) for key, loss in losses.items()}
    base = sums[f"always, {WINDOW}"]
    told = base > 0
    every = np.stack([sums[f"always, {window}"] for window in records])
    fits = {run.label: run.fits.sum() / own.always.fits.sum() for run in asked}
    lines = [_line(key, (total / base)[told], fits.get(key, 1.0)) for key, total in sums.items()]
    best = (every.min(axis=0) / base)[told]
    lines.insert(len(records), _line("always, best window in hindsight", best, 1.0))
    batches = common.sum(axis=1)[told].mean()
    title = f"**{name}**, {told.sum()} streams, {batches:.0f} common batches each, one seed"
    return "\n".join([title, "", HEAD, "|---|---|---|---|", *lines])


def _of(record: Replayed, label: str, ids: list[str]) -> Floats:
    at = [record.ids.index(one) for one in ids]
    return record.run(label).loss[at]


def _line(label: str, relative: Floats, fits: float) -> str:
    over = 100 * (relative > 1.02).mean()
    return f"| {plain(label)} | {relative.mean():.4f} | {over:.1f} % | {100 * fits:.2f} % |"
