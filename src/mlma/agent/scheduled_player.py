"""Plays the policies that do not look at losses: their schedules are known beforehand.

Streams are independent of each other, so each is one task: every version that any schedule needs
is trained once, and all schedules are played on it.
"""

from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from mlma.agent.training import Failure, Recipe
from mlma.agent.workshop import apart
from mlma.domain.batches import mean_losses
from mlma.domain.errors import ModelError
from mlma.domain.streams import Series
from mlma.ports import Executor, FittedForecaster
from mlma.stats.losses import Loss

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FORECAST_BATCHES = 512
"""Batches forecast in one call, so that a model that is never replaced needs bounded memory."""


@dataclass(frozen=True, slots=True)
class StreamTask:
    """One stream, and what is to be played on it.

    schedules
        ``(n_schedules, n_batches) bool``, where a version is due; the first one included.
    trainable, complete
        ``(n_batches,) bool``.
    known
        versions that were trained before, by the batch at which they went live, with the seconds
        that they took.
    refused
        messages of those that could not be trained.
    """

    series: Series
    schedules: Bools
    trainable: Bools
    complete: Bools
    scale: float
    known: dict[int, tuple[FittedForecaster, float]]
    refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamPlayed:
    """What came of it.

    loss
        ``(n_schedules, n_batches)`` mean loss per batch; NaN = none.
    deployed
        ``(n_schedules, n_batches) bool``, a version went live.
    seconds
        ``(n_schedules,)`` seconds of training and forecasting of each schedule by itself.
    failures
        messages of trainings that failed; the old version stayed.
    broken
        what made the stream unusable, or an empty text.
    """

    loss: Floats
    deployed: Bools
    seconds: Floats
    failures: tuple[str, ...]
    broken: str


def play_schedules(recipe: Recipe, loss: Loss, task: StreamTask) -> StreamPlayed:
    """Return losses, versions and seconds of every schedule on one stream."""
    n_schedules, n_batches = task.schedules.shape
    losses = np.full((n_schedules, n_batches), np.nan)
    deployed = np.zeros_like(task.schedules)
    seconds = np.zeros(n_schedules)
    failures: list[str] = []
    live: list[FittedForecaster | None] = [None] * n_schedules
    due = task.schedules & task.trainable
    for at in np.flatnonzero(due.any(axis=0)).tolist():
        users = np.flatnonzero(due[:, at])
        try:
            fitted, spent = _version(recipe, task, at)
        except ModelError as error:
            failures.append(str(error))
            users = users[:0]
        else:
            deployed[users, at] = True
            seconds[users] += spent
        for user in users:
            live[user] = fitted
        try:
            _play_until_next(task, loss, due, at, live, losses, seconds)
        except ModelError as error:
            return StreamPlayed(losses, deployed, seconds, tuple(failures), str(error))
    # Every schedule starts with the first version: without it, nothing can be compared.
    started = deployed.any(axis=1).all()
    broken = "" if started else (failures[0] if failures else "no version could be trained")
    return StreamPlayed(losses, deployed, seconds, tuple(failures), broken)


def fitted_apart(recipe: Recipe, task: StreamTask, executor: Executor) -> StreamTask:
    """Return the task with all versions that its schedules need, each trained by a worker.

    The executor's time limit is thus one of a fit, not of the whole stream. A stream whose first
    version fails is not trained again.
    """
    due = np.flatnonzero((task.schedules & task.trainable).any(axis=0)).tolist()
    missing = [at for at in due if at not in task.known and at not in task.refused]
    known, refused = dict(task.known), dict(task.refused)
    for part in (missing[:1], missing[1:]):
        if due[0] in refused:
            break
        made = apart(executor, _attempt, [(recipe, task.series, at) for at in part])
        for at, one in zip(part, made, strict=True):
            if isinstance(one, Failure):
                refused[at] = one.message
            else:
                known[at] = one
    return replace(task, known=known, refused=refused)


def unplayable(task: StreamTask, failure: Failure) -> StreamPlayed:
    """Return what stands for a stream whose worker died over it."""
    losses = np.full(task.schedules.shape, np.nan)
    nothing, seconds = np.zeros_like(task.schedules), np.zeros(len(task.schedules))
    return StreamPlayed(losses, nothing, seconds, (failure.message,), failure.message)


def _attempt(recipe: Recipe, series: Series, at: int) -> tuple[FittedForecaster, float] | Failure:
    try:
        return _timed_fit(recipe, series, at)
    except ModelError as error:
        return Failure(str(error))


def _version(recipe: Recipe, task: StreamTask, at: int) -> tuple[FittedForecaster, float]:
    if at in task.refused:
        raise ModelError(task.refused[at])
    return task.known.get(at) or _timed_fit(recipe, task.series, at)


def _timed_fit(recipe: Recipe, series: Series, at: int) -> tuple[FittedForecaster, float]:
    start = perf_counter()
    fitted = recipe.forecaster.fit(series, max(at - recipe.window, 0), at, recipe.seed)
    return fitted, perf_counter() - start


def _play_until_next(  # noqa: PLR0917  # the last two are written
    task: StreamTask,
    loss: Loss,
    due: Bools,
    at: int,
    live: list[FittedForecaster | None],
    losses: Floats,
    seconds: Floats,
) -> None:
    """Write the losses of the schedules due at ``at``, until each one's next due batch."""
    ends: dict[int, tuple[FittedForecaster, list[tuple[int, int]]]] = {}
    n_batches = due.shape[1]
    for schedule in np.flatnonzero(due[:, at]).tolist():
        fitted = live[schedule]
        if fitted is None:
            continue
        later = np.flatnonzero(due[schedule, at + 1 :])
        end = at + 1 + int(later[0]) if len(later) else n_batches
        ends.setdefault(id(fitted), (fitted, []))[1].append((schedule, end))
    for fitted, users in ends.values():
        start = perf_counter()
        own = _batch_losses(task, loss, fitted, at, max(end for _, end in users))
        spent = perf_counter() - start
        for schedule, end in users:
            losses[schedule, at:end] = own[: end - at]
            seconds[schedule] += spent * (end - at) / len(own)


def _batch_losses(
    task: StreamTask, loss: Loss, fitted: FittedForecaster, first: int, last: int
) -> Floats:
    parts = []
    for start in range(first, last, FORECAST_BATCHES):
        stop = min(start + FORECAST_BATCHES, last)
        y_hat = fitted.predict(task.series, start, stop)
        y = np.where(task.complete[start:stop, None], task.series.y[start:stop], np.nan)
        parts.append(mean_losses(loss(y, y_hat, task.scale)))
    return np.concatenate(parts)
