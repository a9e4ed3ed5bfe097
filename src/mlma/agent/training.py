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
from mlma.ports import FittedForecaster, Forecaster, SharedForecaster, SharedModel

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
    """How versions are trained: by whom, on how many batches, with how many held out.

    ``shared`` trains one version of many streams; None = every stream has its own, of
    ``forecaster``.
    """

    forecaster: Forecaster
    window: int
    held_out: int
    seed: int
    shared: SharedForecaster | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A trained version, as one stream sees it.

    ``at`` is the first batch that it forecasts; ``forecasts (k, slots)`` are those of batches
    ``at`` to ``at + k - 1``; ``held_out (h, slots)`` those of the last ``h`` batches before it,
    out of sample, or None; NaN = none. ``siblings`` counts the models that were trained for these
    only. Seconds of the fit, of what was held out, and of the first forecasts. ``part`` is this
    stream's part of a shared version; all seconds are this part. ``first`` is the first batch of
    the training window, ``streams`` names those that it was trained on.
    """

    fitted: FittedForecaster
    at: int
    forecasts: Floats
    held_out: Floats | None
    siblings: int
    seconds: float
    held_out_seconds: float
    forecast_seconds: float
    part: float = 1.0
    first: int = 0
    streams: tuple[str, ...] = ()

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
        held_out, siblings = _held_out(recipe, series, fitted, at, window) if judged else (None, 0)
        told = perf_counter()
        forecasts = fitted.predict(series, at, at + horizon)
    except ModelError as error:
        return Failure(str(error))
    spent = (trained - start, told - trained, perf_counter() - told)
    first, own = max(at - window, 0), (series.unique_id,)
    return Version(fitted, at, forecasts, held_out, siblings, *spent, first=first, streams=own)


def train_shared(  # noqa: PLR0917  # a task is a tuple
    recipe: Recipe, members: tuple[Series, ...], at: int, horizon: int, window: int, judged: bool
) -> tuple[Version | Failure, ...] | Failure:
    """Return the version that all members share from batch ``at`` on, as each of them sees it.

    A member that it cannot forecast gets a failure, and pays no part of it.
    """
    start, shared = perf_counter(), recipe.shared
    assert shared is not None  # the recipe of a fleet that shares models
    first = max(at - window, 0)
    try:
        fitted = shared.fit_shared(members, first, at, recipe.seed)
        trained = perf_counter()
        held_out = (
            _held_out_of_each(recipe, members, at, window) if judged else [None] * len(members)
        )
    except ModelError as error:
        return Failure(str(error))
    told = perf_counter()
    forecasts = _forecasts_of_each(fitted, members, at, at + horizon)
    k = max(sum(not isinstance(ahead, Failure) for ahead in forecasts), 1)
    spent = (trained - start, told - trained, perf_counter() - told)
    own, before_own, ahead_own = (seconds / k for seconds in spent)
    names = tuple(one.unique_id for one in members)

    def seen(ahead: Floats, before: Floats | None) -> Version:
        return Version(
            *(fitted, at, ahead, before, int(judged), own, before_own, ahead_own),
            part=1 / k,
            first=first,
            streams=names,
        )

    return tuple(
        ahead if isinstance(ahead, Failure) else seen(ahead, before)
        for ahead, before in zip(forecasts, held_out, strict=True)
    )


def _held_out_of_each(
    recipe: Recipe, members: tuple[Series, ...], at: int, window: int
) -> list[Floats | None]:
    """Return out-of-sample forecasts of the last batches, of a sibling; NaN = it has none."""
    assert recipe.shared is not None  # its caller knows
    held = min(recipe.held_out, window // 2)
    sibling = recipe.shared.fit_shared(members, max(at - window, 0), at - held, recipe.seed)
    told = _forecasts_of_each(sibling, members, at - held, at)
    none = np.full((held, members[0].y.shape[1]), np.nan)
    return [_padded(none if isinstance(y, Failure) else y, recipe.held_out) for y in told]


def _forecasts_of_each(
    model: SharedModel, members: tuple[Series, ...], first: int, last: int
) -> list[Floats | Failure]:
    """Return what a shared model says of every member; one by one if all at once goes wrong."""
    try:
        return list(model.predict_many(members, first, last))
    except ModelError:
        return [forecast(model, one, first, last) for one in members]


def lost_version(error: Exception) -> Failure:
    """Return what stands for a training that the executor lost: too slow, or it killed workers."""
    return Failure(f"{type(error).__name__}: {error}")


def forecast(fitted: FittedForecaster, series: Series, first: int, last: int) -> Floats | Failure:
    """Return more forecasts of a version, ``(last - first, slots)``, or what went wrong."""
    try:
        return fitted.predict(series, first, last)
    except ModelError as error:
        return Failure(str(error))


def _held_out(
    recipe: Recipe, series: Series, fitted: FittedForecaster, at: int, window: int
) -> tuple[Floats | None, int]:
    held = min(recipe.held_out, window // 2)
    if not held:
        return None, 0
    free = fitted.held_out(series, at - held, at)
    if free is not None:
        return _padded(free, recipe.held_out), 0
    # The sibling sees the same window without its last batches: a second fit, and counted as one.
    first = max(at - window, 0)
    sibling = recipe.forecaster.fit(series, first, at - held, recipe.seed)
    return _padded(sibling.predict(series, at - held, at), recipe.held_out), 1


def _padded(y_hat: Floats, batches: int) -> Floats:
    """Return forecasts of so many batches; NaN = none, in those before the first."""
    if len(y_hat) == batches:
        return y_hat
    missing = np.full((batches - len(y_hat), y_hat.shape[1]), np.nan)
    return np.concatenate([missing, y_hat])


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
