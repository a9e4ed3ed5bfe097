"""The features against a slow loop that reads one slot at a time."""

import numpy as np
import pytest

from mlma.adapters.models.features import Features
from mlma.adapters.models.rhythm import carried, day_slots, week_slots
from mlma.domain.streams import Grid, Series


def slow_carried(y: np.ndarray, t: int, week: int, day: int) -> float:
    for step in (week, day, 1):
        for s in range(t, -1, -step):
            if np.isfinite(y[s]):
                return float(y[s])
    return 0.0


def slow_own_columns(y: np.ndarray, grid: Grid, lags: tuple[int, ...], t: int) -> list[float]:
    week, day = week_slots(grid), day_slots(grid)
    known = [slow_carried(y, s, week, day) for s in range(t)]
    cutoff = t - t % grid.slots
    columns = [known[t - lag] if t >= lag else 0.0 for lag in lags]
    columns.append(float(np.mean(known[cutoff - grid.slots : cutoff])))
    if grid.slots < day:
        columns.append(float(np.mean(known[cutoff - grid.slots - day : cutoff - day])))
    span = max(7 * day, grid.slots) if 7 * day > grid.slots else 4 * grid.slots
    columns.append(float(np.mean(known[max(cutoff - span, 0) : cutoff])))
    return columns


@pytest.mark.parametrize(
    ("seconds", "slots", "n_batches"),
    [(900, 96, 9), (3600, 24, 17), (3600, 6, 60), (86400, 1, 40), (86400, 7, 8)],
)
@pytest.mark.parametrize("mode", ["day_ahead", "one_step"])
def test_lags_and_levels_equal_the_slow_loop(
    seconds: int, slots: int, n_batches: int, mode: str
) -> None:
    step = np.timedelta64(seconds * 10**6, "us")
    grid = Grid(np.datetime64("2024-02-28", "us"), step, slots, n_batches)
    rng = np.random.default_rng(11)
    y = rng.gamma(2.0, size=n_batches * slots)
    y[rng.random(len(y)) < 0.2] = np.nan
    y[: slots // 2] = np.nan
    stream = Series("a", grid, y.reshape(-1, slots), np.empty((n_batches, slots, 0)))
    features = Features(mode)  # type: ignore[arg-type]  # one of the two modes
    lags = features.lags(grid)
    first = max(1, -(-(day_slots(grid) + slots) // slots))
    got = features.matrix(stream, first, n_batches)
    for t in np.unique(np.linspace(first * slots, n_batches * slots - 1, 25).astype(int)):
        expected = slow_own_columns(y, grid, lags, int(t))
        assert got[t - first * slots, : len(expected)] == pytest.approx(expected, rel=1e-12)


def test_carried_equals_the_slow_loop_on_every_slot() -> None:
    grid = Grid(np.datetime64("2024-02-28", "us"), np.timedelta64(6, "h"), 4, 30)
    rng = np.random.default_rng(2)
    y = rng.normal(size=120)
    y[rng.random(120) < 0.6] = np.nan
    expected = [slow_carried(y, t, 28, 4) for t in range(120)]
    assert carried(y, grid).tolist() == expected
