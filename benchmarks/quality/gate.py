"""What gate and roll-back are worth on real streams: each pair of versions by itself.

    python benchmarks/quality/gate.py [auckland muenster departures]

Every six weeks a new version of each stream meets one that is a week, or four weeks, older. Prints
the loss of the next 42 batches (28 of departures) relative to keeping the old version, per rule.
"""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import numpy as np

from gates import NEVER, rolled_back, trials
from mlma.adapters.frames.history import read_history
from mlma.adapters.models.registry import forecaster_from
from mlma.domain.errors import ModelError
from mlma.steps.gate import WATCH_BATCHES, passes_gate
from real_data import real_files

WINDOW, EVERY, HELD_OUT = 84, 42, 28
AFTER = {"departures": 28}


@dataclass
class Pairs:
    """Daily losses of old and new versions; the first ``held_out`` columns are held-out batches."""

    old: np.ndarray
    new: np.ndarray
    held_out: int


def forecasts(series, gap, at, after):
    """Forecasts of the old and of the new version, held-out batches of the new one first."""
    model, held_out = forecaster_from("ridge"), min(gap, HELD_OUT)
    old = model.fit(series, at - gap - WINDOW, at - gap, 0)
    new = model.fit(series, at - WINDOW, at, 0)
    known = new.held_out(series, at - held_out, at)
    if known is None:
        sibling = model.fit(series, at - WINDOW, at - held_out, 0)
        known = sibling.predict(series, at - held_out, at)
    return old.predict(series, at - held_out, at + after), np.concatenate(
        [known, new.predict(series, at, at + after)]
    )


def pairs(panel, gap, after):
    made, held_out = [], min(gap, HELD_OUT)
    for row in range(len(panel)):
        series = panel.series(row)
        seen = np.flatnonzero(np.isfinite(series.y).any(axis=1))
        for at in range(seen[0] + WINDOW + gap + row % 7, seen[-1] - after, EVERY):
            actual = series.y[at - held_out : at + after]
            try:
                told = forecasts(series, gap, at, after)
            except ModelError:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # batches without an actual
                made.append([np.nanmean(np.abs(actual - y_hat), axis=1) for y_hat in told])
    losses = np.array(made)
    whole = np.isfinite(losses).all(axis=1).mean(axis=1) > 0.7
    alive = np.nansum(losses[:, 0, held_out:], axis=1) > 0
    old, new = losses[whole & alive].transpose(1, 0, 2)
    return Pairs(old, new, held_out)


def starts(of: Pairs):
    """Fresh batch from which the new version is live, per rule."""
    passed = passes_gate(of.old[:, : of.held_out], of.new[:, : of.held_out])
    tried = trials(of.old, of.new, of.held_out)
    return {
        "always": np.zeros(len(of.old), dtype=int),
        "sign": np.where(passed, 0, NEVER),
        "trial": np.where(tried.deployed, tried.took, NEVER),
    }


def ends(of: Pairs, start):
    """Fresh batch from which the old version is live again."""
    end = np.full(len(start), NEVER)
    for first in np.unique(start[start < NEVER]):
        rows = np.flatnonzero(start == first)
        at = slice(of.held_out + first, of.held_out + first + WATCH_BATCHES)
        end[rows] = np.minimum(first + rolled_back(of.new[rows, at], of.old[rows, at]), NEVER)
    return end


def relative_loss(of: Pairs, start, end):
    old, new = of.old[:, of.held_out :], of.new[:, of.held_out :]
    batch = np.arange(old.shape[1])
    live = (batch >= start[:, None]) & (batch < end[:, None])
    return np.mean(np.nansum(np.where(live, new, old), axis=1) / np.nansum(old, axis=1))


def show(name, gap, of: Pairs):
    cells = []
    for start in starts(of).values():
        end = ends(of, start)
        live = start < NEVER
        plain = relative_loss(of, start, np.full(len(start), NEVER))
        back = f"{relative_loss(of, start, end):.3f} ({np.mean(end[live] < NEVER):.2f})"
        cells.append(f"{plain:.3f} ({live.mean():.2f}), {back}")
    print(f"| {name}, {gap} batches, {len(of.old)} pairs |", " | ".join(cells), "|")


def main() -> None:
    files = real_files()
    print("loss / keeping the old version (deployed), with roll-back (rolled back of these)")
    print("| | always | sign | trial |")
    for name in sys.argv[1:] or files:
        panel = read_history(files[name]).panel
        for gap in (7, 28):
            show(name, gap, pairs(panel, gap, AFTER.get(name, 42)))


if __name__ == "__main__":
    main()
