"""Training: the models of the platform, and the function that the server's trainer calls.

Takes the history of a stream, gives a version in the model store of the folder, live from the next
day on, and its losses on days that it was not trained on. Next is the platform, which forecasts
with it, and the agent, whose reference starts from these losses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.models.registry import forecaster_from
from mlma.domain.streams import Panel, Series
from mlma.library.live_demo.history import History
from mlma.library.live_demo.plan import HISTORY_DAYS, WINDOW_DAYS
from mlma.library.versions import ModelStore, NewVersion, fingerprint
from mlma.ports import FittedForecaster, RetrainingRequest

MODEL = "ridge"
_SEED = 1
_SHORT_DAYS, _RECENT_DAYS = 14, 4

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fit:
    """A trained model of one stream and its losses on the days of its window, each held out.

    losses
        ``(window, slots) float64``; NaN = no actual.
    """

    series: Series
    fitted: FittedForecaster
    losses: Floats
    seconds: float

    @property
    def days(self) -> int:
        """Days of its window, which ends with the series."""
        return len(self.losses)

    @property
    def recent_loss(self) -> float:
        """Mean loss on the last few days."""
        recent = self.losses[-_RECENT_DAYS:]
        known = np.isfinite(recent)
        return float(recent[known].mean()) if known.any() else float("inf")

    def version(self) -> NewVersion:
        """Return what is saved of it."""
        starts, last = self.series.grid.batch_starts(), self.series.grid.n_batches
        end = starts[-1] + self.series.grid.batch
        return NewVersion(
            self.fitted,
            streams=self.series.unique_id,
            trained_from=starts[last - self.days],
            trained_until=end,
            seed=_SEED,
            fit_seconds=self.seconds,
            data_fingerprint=fingerprint(self.series, 0, last),
            forecaster_name=MODEL,
            live_from=end,
        )

    def frame(self) -> pl.DataFrame:
        """Return its held-out losses: ``unique_id, ds, loss``."""
        known = np.isfinite(self.losses)
        ds = self.series.grid.slot_times()[-self.losses.size :]
        return pl.DataFrame({"ds": ds[known.ravel()], "loss": self.losses[known]}).select(
            pl.lit(self.series.unique_id).alias("unique_id"), "ds", "loss"
        )


def retrain(request: RetrainingRequest) -> pl.DataFrame:
    """Train a new version of a stream, put it into production, return its held-out losses.

    Works in the folder in which the server was started. Two windows are tried, one of them short,
    so that it has less of the days before a break; the one that was better of late is taken.

    Raises
    ------
    ModelError, StateError, ArtefactError
        There is no history to train on, or the version cannot be saved.
    """
    folder = Path.cwd()
    panel = History(folder).recent(HISTORY_DAYS)
    series = panel.series(panel.ids.index(request.unique_id))
    tried = [fit(series, days) for days in (WINDOW_DAYS, _SHORT_DAYS)]
    best = min(tried, key=lambda one: one.recent_loss)
    put_live(model_store(folder), [best], request.reason)
    return best.frame()


def fit(series: Series, days: int = WINDOW_DAYS) -> Fit:
    """Return a model that is trained on the last days of a series."""
    began, last = perf_counter(), series.grid.n_batches
    fitted = forecaster_from(MODEL).fit(series, last - days, last, _SEED)
    seconds = perf_counter() - began
    held_out = fitted.held_out(series, last - days, last)
    assert held_out is not None  # ridge has them for free
    return Fit(series, fitted, np.abs(held_out - series.y[-days:]), seconds)


def first_fits(panel: Panel) -> list[Fit]:
    """Return the first model of every stream."""
    return [fit(panel.series(row)) for row in range(len(panel))]


def put_live(store: ModelStore, fits: Sequence[Fit], reason: str) -> list[str]:
    """Save versions and put them into production; return their names in the store."""
    records = store.save_many([one.version() for one in fits])
    pairs: list[Any] = [(one.series.unique_id, rec) for one, rec in zip(fits, records, strict=True)]
    end = fits[0].series.grid.batch_starts()[-1] + fits[0].series.grid.batch
    store.deploy(pairs, end, reason)
    return [record.version for record in records]


def model_store(folder: Path) -> ModelStore:
    """Return the store of the versions of a folder."""
    return ModelStore(folder / "models")
