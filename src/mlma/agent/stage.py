"""The stage of a replay: what all policies share.

Takes a panel and settings, gives the streams that can be played, what is complete, where a version
may go live and how hard each batch was for the benchmark. Next are the players.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.agent.training import (
    FULL_SHARE,
    complete_batches,
    trainable,
    window_share,
    without_short_gaps,
)
from mlma.domain.batches import mean_losses
from mlma.domain.chance import stream_keys
from mlma.domain.errors import DataError, unknown_name
from mlma.domain.groups import FLEET
from mlma.domain.leftovers import LeftOut
from mlma.domain.policy import Policy
from mlma.domain.streams import Panel, Series
from mlma.ports import Forecaster
from mlma.stats.calendar import EFFECTS, calendar_class
from mlma.stats.losses import Loss

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


STREAM = "stream"
"""The scope in which every stream has a model of its own."""


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """How a history is replayed.

    window
        batches that a model is trained on.
    share
        share of a batch's actuals that must be there for it to be judged.
    season
        slots of a season, for scaled losses.
    scope
        who shares a model: ``stream`` (nobody), ``fleet`` (all), or a tag whose streams do.
    phases
        random phases over which periodic and random policies are averaged.
    """

    policies: tuple[Policy, ...]
    loss: Loss
    window: int
    share: float
    season: int
    phases: int
    seed: int
    scope: str = STREAM


WEEK = np.timedelta64(7, "D")


@dataclass(frozen=True, slots=True)
class Stage:
    """What all policies share: the streams, what is complete, how hard each batch was.

    series
        the streams one by one, always the same objects, so that features can be remembered.
    complete, trainable
        ``(n_streams, n_batches) bool``.
    whole
        ``(n_streams, n_batches) bool``, the window before each batch has no large holes.
    start, stop
        ``(n_streams,) int64``, first batch with a version, and one past the last one observed.
    benchmark
        ``(n_streams, n_batches)``, mean loss of the benchmark; NaN = none.
    calendar
        ``(n_batches,) int8`` by calendar effect.
    scope, model
        who shares a model, and ``(n_streams,) int64``, which one each stream has.
    """

    panel: Panel
    series: tuple[Series, ...]
    keys: NDArray[np.uint64]
    loss: Loss
    scale: Floats
    complete: Bools
    trainable: Bools
    whole: Bools
    start: Ints
    stop: Ints
    benchmark: Floats
    calendar: dict[str, NDArray[np.int8]]
    seed: int
    scope: str
    model: Ints

    @property
    def shared(self) -> bool:
        """Whether streams share models."""
        return self.scope != STREAM

    @property
    def heads(self) -> Ints:
        """The stream of each stream's model that starts first, ``(n_streams,)``."""
        if not self.shared:
            return np.arange(len(self.panel))
        order = np.lexsort((np.arange(len(self.model)), self.start, self.model))
        first = order[np.unique(self.model[order], return_index=True)[1]]
        return np.asarray(first[self.model], dtype=np.int64)

    @property
    def batches_per_week(self) -> float:
        """How many batches a week has."""
        return float(WEEK / self.panel.grid.batch)

    def losses(self, rows: Ints, first: int, y_hat: Floats) -> Floats:
        """Return losses of ``(k, ..., n, slots)`` forecasts; NaN in incomplete batches."""
        last = first + y_hat.shape[-2]
        y = self.panel.y[rows, first:last]
        y = np.where(self.complete[rows, first:last, None], y, np.nan)
        spare = (1,) * (y_hat.ndim - 3)
        y = y.reshape(len(rows), *spare, *y.shape[1:])
        scale = self.scale[rows].reshape(len(rows), *spare, 1, 1)
        return self.loss(np.broadcast_to(y, y_hat.shape), y_hat, scale)


def build_stage(
    panel: Panel, settings: ReplaySettings, benchmark: Forecaster
) -> tuple[Stage, tuple[LeftOut, ...]]:
    """Return what the policies play on, and the streams that are too short."""
    complete = complete_batches(panel.y, settings.share)
    may_train = trainable(complete, settings.window)
    rows, dropped = _playable(panel, may_train, settings.window)
    kept = rows_of(panel, rows)
    may_train, complete = may_train[rows], complete[rows]
    start = np.asarray(may_train.argmax(axis=1), dtype=np.int64)
    scale = settings.loss.scale_from(_before(kept.y, start), settings.season)
    number, starts = np.arange(panel.grid.n_batches), panel.grid.batch_starts()
    share = window_share(without_short_gaps(complete), settings.window)
    stage = Stage(
        panel=kept,
        series=tuple(kept.series(row) for row in range(len(kept))),
        keys=stream_keys(kept.ids),
        loss=settings.loss,
        scale=scale,
        complete=complete,
        trainable=may_train,
        whole=share >= FULL_SHARE,
        start=start,
        stop=np.where(complete, number, -1).max(axis=1) + 1,
        benchmark=_benchmark(kept, complete, scale, settings, benchmark),
        calendar={one: calendar_class(starts, panel.grid.batch, one) for one in EFFECTS},
        seed=settings.seed,
        scope=settings.scope,
        model=_models(kept, settings.scope),
    )
    return stage, dropped


def _models(panel: Panel, scope: str) -> Ints:
    """Return which model each stream has; streams without the tag have one of their own kind."""
    if scope == STREAM:
        return np.arange(len(panel))
    if scope == FLEET:
        return np.zeros(len(panel), dtype=np.int64)
    if scope not in panel.tags:
        raise unknown_name("scope", scope, (STREAM, FLEET, *panel.tags))
    labels = np.array([str(label) for label in panel.tags[scope]])
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)


def _playable(
    panel: Panel, may_train: Bools, window: int
) -> tuple[NDArray[np.int64], tuple[LeftOut, ...]]:
    """Return the rows of the streams that a version can be trained for, and what was left out."""
    long_enough = may_train.any(axis=1)
    if not long_enough.any():
        raise DataError(
            f"No stream is long enough. Expected at least {window} batches to train on "
            f"and one batch more, with a third of them complete. Got {panel.grid.n_batches} "
            f"batches in all. Hint: a shorter `window`, or a longer history.",
        )
    short = [panel.ids[row] for row in np.flatnonzero(~long_enough)]
    reason = f"history shorter than the training window of {window} batches plus one"
    dropped = (LeftOut(reason, "streams", len(short), tuple(short[:3])),) if short else ()
    return np.flatnonzero(long_enough), dropped


def rows_of(panel: Panel, rows: NDArray[np.int64]) -> Panel:
    """Return some streams of a panel."""
    if len(rows) == len(panel):
        return panel
    return Panel(
        ids=tuple(panel.ids[row] for row in rows),
        grid=panel.grid,
        y=panel.y[rows],
        exogenous=panel.exogenous[rows],
        exogenous_names=panel.exogenous_names,
        tags={name: tuple(of[row] for row in rows) for name, of in panel.tags.items()},
    )


def _before(y: Floats, start: NDArray[np.int64]) -> Floats:
    """Return each stream up to its first version, so that a scale knows nothing of the future."""
    number = np.arange(y.shape[1])
    past = number[None, :, None] < start[:, None, None]
    return np.where(past, y, np.nan).reshape(len(y), -1)


def _benchmark(
    panel: Panel, complete: Bools, scale: Floats, settings: ReplaySettings, benchmark: Forecaster
) -> Floats:
    """Return the benchmark's mean loss per batch, ``(n_streams, n_batches)``; NaN = none."""
    n_batches, warm_up = panel.grid.n_batches, benchmark.warm_up
    made = np.full(complete.shape, np.nan)
    for row in range(len(panel)):
        series = panel.series(row)
        fitted = benchmark.fit(series, 0, n_batches, settings.seed)
        y_hat = fitted.predict(series, 0, n_batches)
        made[row] = mean_losses(settings.loss(series.y, y_hat, scale[row]))
    made[:, :warm_up] = np.nan
    return np.where(complete, made, np.nan)
