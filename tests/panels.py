"""Small panels, small models that count and fail on request, and a replay of both."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlma.adapters.executors.local import LocalExecutor
from mlma.adapters.models.guard import GuardedForecaster
from mlma.adapters.models.registry import forecaster_from
from mlma.adapters.models.seasonal_naive import SeasonalNaive
from mlma.agent.replay import Player, replay_panel
from mlma.agent.stage import ReplaySettings
from mlma.domain.runs import Replayed
from mlma.domain.settings import policy_from
from mlma.domain.streams import Grid, Panel
from mlma.stats.losses import loss_from

WINDOW = 28


def panel_of(y, ids=None) -> Panel:
    """``y (n_streams, n_batches, slots)``, daily batches from a Monday on."""
    n, n_batches, slots = y.shape
    step = np.timedelta64(86_400 * 10**6 // slots, "us")
    grid = Grid(np.datetime64("2024-01-01", "us"), step, slots, n_batches)
    names = tuple(f"s{row}" for row in range(n)) if ids is None else tuple(ids)
    return Panel(names, grid, y, np.empty((*y.shape, 0)), (), {"half": ("a", "b") * (n // 2)})


def noise(rng, n, n_batches, slots=4, deviation=1.0):
    """Level 20 with independent noise: nothing to learn but the level."""
    return 20.0 + deviation * rng.standard_normal((n, n_batches, slots))


@dataclass
class MeanModel:
    """Forecasts the mean of its training window; ``trouble`` may replace the forecast."""

    mean: float
    free: bool
    trouble: Any

    def predict(self, series, first, last):
        out = np.full((last - first, series.y.shape[1]), self.mean)
        return out if self.trouble is None else self.trouble(series, first, last, out)

    def held_out(self, series, first, last):
        return self.predict(series, first, last) if self.free else None


@dataclass
class MeanForecaster:
    """The mean of the window; writes down every fit as (stream, first, last).

    ``fails(series, last)`` says which fits raise, ``bias(last)`` is added to the mean.
    """

    free: bool = True
    fails: Any = None
    trouble: Any = None
    bias: Any = None
    fits: list[tuple[str, int, int]] = field(default_factory=list)
    name: str = "mean"
    warm_up: int = 0

    def fit(self, series, first, last, seed):
        self.fits.append((series.unique_id, first, last))
        if self.fails is not None and self.fails(series, last):
            raise ValueError("no convergence")
        mean = float(np.nanmean(series.y[first:last]))
        mean += 0.0 if self.bias is None else self.bias(last)
        return MeanModel(mean, self.free, self.trouble)


def replayed(panel, policies=(), model: Any = "ridge", **settings) -> Replayed:
    """A replay as the library wires it."""
    chosen = {
        "window": WINDOW,
        "loss": "absolute",
        "share": 0.5,
        "phases": 2,
        "seed": 0,
        "n_jobs": 1,
        "progress": None,
        **settings,
    }
    rules = ReplaySettings(
        policies=tuple(policy_from(policy) for policy in policies),
        loss=loss_from(chosen["loss"]),
        window=chosen["window"],
        share=chosen["share"],
        season=7 * panel.grid.slots,
        phases=chosen["phases"],
        seed=chosen["seed"],
    )
    forecaster = GuardedForecaster(forecaster_from(model))
    executor = LocalExecutor(chosen["n_jobs"])
    player = Player(forecaster, SeasonalNaive(), executor, chosen["progress"])
    return replay_panel(panel, (), rules, player)


def slow_losses(y, versions, window=WINDOW):
    """Mean absolute loss per batch of the mean forecaster, by a loop; ``y (n_batches, slots)``.

    ``versions (n_batches,) bool``: a version goes live at the start of this batch.
    """
    losses, mean = np.full(len(y), np.nan), np.nan
    for batch in range(len(y)):
        if versions[batch]:
            mean = np.nanmean(y[batch - window : batch])
        found = y[batch][np.isfinite(y[batch])]
        if len(found):
            losses[batch] = np.abs(found - mean).mean()
    return losses
