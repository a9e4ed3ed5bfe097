"""Training apart from the cycle: what a worker does to bring a new version of one stream.

Takes a series and a batch at which the version goes live, gives the model, its first forecasts and
its out-of-sample forecasts of the last batches of its window.
"""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import ModelError
from mlma.domain.streams import Series
from mlma.ports import FittedForecaster, Forecaster

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_SHARE = 1 / 3
"""A version is trained only if this share of its window's batches is complete."""

FULL_SHARE = 3 / 4
"""A window with fewer batches outside its holes makes a version provisional."""

SHORT_GAP = 4
"""Incomplete batches in a row that are no hole yet: a weekend and two holidays."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How versions are trained: by whom, on how many batches, with how many held out."""

    forecaster: Forecaster
    window: int
    held_out: int
    seed: int


@dataclass(frozen=True, slots=True)
class Version:
    """A trained version of one stream.

    ``at`` is the first batch that it forecasts; ``forecasts (k, slots)`` are those of batches
    ``at`` to ``at + k - 1``; ``held_out (h, slots)`` those of the last ``h`` batches of its
    window, out of sample, or None. ``siblings`` counts the models that were trained for these
    only. Seconds of the fit, of what was held out, and of the first forecasts.
    """

    fitted: FittedForecaster
    at: int
    forecasts: Floats
    held_out: Floats | None
    siblings: int
    seconds: float
    held_out_seconds: float
    forecast_seconds: float

    @property
    def all_seconds(self) -> float:
        """Seconds of all that was done for this version."""
        return self.seconds + self.held_out_seconds + self.forecast_seconds


@dataclass(frozen=True, slots=True)
class Failure:
    """A training or a forecast that went wrong; the message names stream and window."""

    message: str


def train(  # noqa: PLR0917  # a task is a tuple
    recipe: Recipe, series: Series, at: int, horizon: int, window: int, judged: bool
) -> Version | Failure:
    """Return the version that goes live at batch ``at``, or what went wrong.

    ``window`` is the number of batches that it is trained on; ``judged`` = with out-of-sample
    forecasts of the last of them.
    """
    start = perf_counter()
    try:
        fitted = recipe.forecaster.fit(series, max(at - window, 0), at, recipe.seed)
        trained = perf_counter()
        held_out, siblings = _held_out(recipe, series, fitted, at) if judged else (None, 0)
        told = perf_counter()
        forecasts = fitted.predict(series, at, at + horizon)
    except ModelError as error:
        return Failure(str(error))
    spent = (trained - start, told - trained, perf_counter() - told)
    return Version(fitted, at, forecasts, held_out, siblings, *spent)


def lost_version(error: Exception) -> Version | Failure:
    """Return what stands for a training that the executor lost: too slow, or it killed workers."""
    return Failure(f"{type(error).__name__}: {error}")


def forecast(fitted: FittedForecaster, series: Series, first: int, last: int) -> Floats | Failure:
    """Return more forecasts of a version, ``(last - first, slots)``, or what went wrong."""
    try:
        return fitted.predict(series, first, last)
    except ModelError as error:
        return Failure(str(error))


def _held_out(
    recipe: Recipe, series: Series, fitted: FittedForecaster, at: int
) -> tuple[Floats | None, int]:
    if not recipe.held_out:
        return None, 0
    first = at - recipe.held_out
    free = fitted.held_out(series, first, at)
    if free is not None:
        return free, 0
    # The sibling sees the same window without its last batches: a second fit, and counted as one.
    sibling = recipe.forecaster.fit(series, max(at - recipe.window, 0), first, recipe.seed)
    return sibling.predict(series, first, at), 1


def complete_batches(y: Floats, share: float) -> Bools:
    """Return where enough actuals are there to judge a batch, ``(n_streams, n_batches) bool``.

    ``y (n_streams, n_batches, slots)``; NaN = missing.
    """
    return np.asarray(np.isfinite(y).mean(axis=2) >= share)


def without_short_gaps(complete: Bools) -> Bools:
    """Return where one of the last few batches was complete, ``(n_streams, n_batches) bool``.

    A stream that rests on weekends has gaps in every window, but no holes.

    >>> without_short_gaps(np.array([[True, False, False, True] + 6 * [False]])).sum()
    np.int64(8)
    """
    number = np.arange(complete.shape[1])
    latest = np.maximum.accumulate(np.where(complete, number, -1 - SHORT_GAP), axis=1)
    return np.asarray(number - latest <= SHORT_GAP)


def window_share(complete: Bools, window: int) -> Floats:
    """Return the share of complete batches in the window before each batch.

    ``(n_streams, n_batches) float64``; batches before the history count as missing.
    """
    seen = np.cumsum(complete, axis=1, dtype=np.int64)
    before = np.concatenate([np.zeros((len(complete), 1), np.int64), seen[:, :-1]], axis=1)
    earlier = np.zeros_like(before)
    earlier[:, window:] = before[:, :-window] if window < before.shape[1] else 0
    return np.asarray((before - earlier) / window)


def trainable(complete: Bools, window: int) -> Bools:
    """Return where a version may go live: a whole window after birth, enough of it complete.

    ``(n_streams, n_batches) bool``; False after a stream's last complete batch.
    """
    number = np.arange(complete.shape[1])
    born = np.argmax(complete, axis=1)[:, None]
    died = complete.shape[1] - np.argmax(complete[:, ::-1], axis=1)[:, None]
    ever = np.asarray(complete.any(axis=1))[:, None]
    alive: Bools = (number >= born + window) & (number < died) & ever
    return np.asarray(alive & (window_share(complete, window) >= LEAST_SHARE))
