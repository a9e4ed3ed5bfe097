"""The workshop: trains what the policies of a replay want, each version once.

Takes streams and a batch, gives versions. A version that several policies want at the same batch is
trained once; one that goes wrong is remembered with its message. Next are the pools.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlma.agent.book import Book
from mlma.agent.stage import Stage
from mlma.agent.training import (
    Failure,
    Recipe,
    Version,
    forecast,
    lost_version,
    train,
    train_shared,
)
from mlma.domain.streams import Series
from mlma.ports import Executor, FittedForecaster

Ints = NDArray[np.int64]
T = TypeVar("T")

WORTH_SENDING_SECONDS = 0.5
"""Work below this is done here: sending it to other processes takes longer."""


def limited(executor: Executor) -> bool:
    """Whether an executor stops tasks that take too long; then none may run in this process."""
    return getattr(executor, "time_limit", None) is not None


def apart(
    executor: Executor, function: Callable[..., T | Failure], tasks: Sequence[tuple[Any, ...]]
) -> list[T | Failure]:
    """Return what workers answer; a lone task has company, because executors run it here.

    A task that kills its process, or that no alarm stops, must not run in this one.
    """
    sent = [(function, *task) for task in tasks]
    company = [(_nothing,)] if len(sent) == 1 else []
    answers: Iterator[T | Failure]
    answers = executor.map(_called, sent + company, "train", lost=lost_version)
    return list(answers)[: len(sent)]


def _called(function: Callable[..., T], *task: Any) -> T:
    return function(*task)


def _nothing() -> None:
    return None


@dataclass(slots=True)
class Workshop:
    """Trains versions of a stage's streams.

    known
        every version by stream, batches of its window and the batch at which it went live, with
        its seconds.
    refused
        messages of those that could not be trained.
    failures, broken
        first message of a training that failed, by stream; ``broken`` streams cannot be played.
    """

    stage: Stage
    recipe: Recipe
    executor: Executor
    book: Book
    known: dict[tuple[int, int, int], tuple[FittedForecaster, float]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    refused: dict[tuple[int, int], str] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    _fresh: dict[tuple[int, int], Version] = field(default_factory=dict)
    _batch: int = -1
    _fit_seconds: float = 0.0

    @classmethod
    def of(cls, stage: Stage, recipe: Recipe, executor: Executor) -> "Workshop":
        """Return a workshop that has trained nothing."""
        return cls(stage, recipe, executor, Book(stage.series, stage.panel.grid.n_batches))

    def train(self, wanted: dict[tuple[int, int], bool], batch: int) -> None:
        """Train versions that go live at this batch.

        ``wanted`` has (stream, batches of its window) and whether held-out forecasts are needed.
        """
        if batch != self._batch:
            self._fresh.clear()
            self._batch = batch
        possible = {key: held for key, held in wanted.items() if self._possible(key[0], batch)}
        if self.recipe.shared is None:
            self._train_each(possible, batch)
        else:
            self._train_shared(possible, batch)

    def _train_each(self, wanted: dict[tuple[int, int], bool], batch: int) -> None:
        horizon = self.book.last - batch
        left = {
            key: judged for key, judged in wanted.items() if judged or not self._reused(*key, batch)
        }
        tasks = [
            (self.recipe, self.stage.series[row], batch, horizon, window, judged)
            for (row, window), judged in left.items()
        ]
        results: list[Version | Failure]
        if limited(self.executor):
            results = apart(self.executor, train, tasks)
        elif len(tasks) * self._fit_seconds > WORTH_SENDING_SECONDS:
            results = list(self.executor.map(train, tasks, "train", lost=lost_version))
        else:
            results = [train(*task) for task in tasks]
        for (row, window), result in zip(left, results, strict=True):
            self._take(row, window, batch, result)

    def _reused(self, row: int, window: int, batch: int) -> bool:
        """Take a version that policies played earlier had trained, if there is one."""
        made = self.known.get((row, window, batch))
        if made is None:
            return False
        fitted, seconds = made
        series, start = self.stage.series[row], perf_counter()
        ahead = forecast(fitted, series, batch, self.book.last)
        if isinstance(ahead, Failure):
            return False
        spent = (seconds, 0.0, perf_counter() - start)
        first, own = max(batch - window, 0), (series.unique_id,)
        self._keep(row, window, Version(fitted, batch, ahead, None, 0, *spent, 1.0, first, own))
        return True

    def _train_shared(self, wanted: dict[tuple[int, int], bool], batch: int) -> None:
        """Train one version per model and window, of all its streams that have a history."""
        orders: dict[tuple[int, int], bool] = {}
        for (row, window), judged in wanted.items():
            key = int(self.stage.model[row]), window
            orders[key] = orders.get(key, False) or judged
        horizon = self.book.last - batch
        members = {model: self._members(model, batch) for model, _ in orders}
        tasks = [
            (self.recipe, self._series(members[model]), batch, horizon, window, judged)
            for (model, window), judged in orders.items()
        ]
        results: list[tuple[Version | Failure, ...] | Failure]
        if limited(self.executor):
            results = apart(self.executor, train_shared, tasks)
        else:
            results = list(self.executor.map(train_shared, tasks, "train", lost=lost_version))
        for (model, window), result in zip(orders, results, strict=True):
            for at, row in enumerate(members[model]):
                version = result if isinstance(result, Failure) else result[at]
                self._take(row, window, batch, version)

    def _members(self, model: int, batch: int) -> list[int]:
        stage = self.stage
        live = (stage.model == model) & (stage.start <= batch) & (batch < stage.stop)
        return [row for row in np.flatnonzero(live).tolist() if row not in self.broken]

    def _series(self, rows: list[int]) -> tuple[Series, ...]:
        return tuple(self.stage.series[row] for row in rows)

    def adopted(self, row: int, fitted: FittedForecaster, batch: int) -> Version | None:
        """Return a version that was trained before as a stream that is born now sees it."""
        page = self.book.page(row, fitted, batch)
        held = self.recipe.held_out
        before = forecast(fitted, self.stage.series[row], batch - held, batch) if held else None
        if isinstance(page, Failure) or isinstance(before, Failure):
            failure = page if isinstance(page, Failure) else before
            assert isinstance(failure, Failure)  # one of the two is
            self.broken[row] = failure.message
            return None
        return Version(
            fitted, batch, page[batch - self.book.first :], before, 0, 0.0, 0.0, 0.0, 0.0
        )

    def version(self, row: int, window: int) -> Version | None:
        """Return the version of this stream and window that was trained for this batch."""
        return self._fresh.get((row, window))

    def _possible(self, row: int, batch: int) -> bool:
        return bool(self.stage.trainable[row, batch]) and row not in self.broken

    def _has_kin(self, row: int, batch: int) -> bool:
        """Whether a stream's model was there before it was born."""
        stage = self.stage
        kin = stage.shared & (stage.model == stage.model[row]) & (stage.start < batch)
        return any(one not in self.broken for one in np.flatnonzero(kin).tolist())

    def _take(self, row: int, window: int, batch: int, result: Version | Failure) -> None:
        if isinstance(result, Failure):
            self.failures.setdefault(row, result.message)
            if window == self.recipe.window:
                self.refused[row, batch] = result.message
            if self.stage.start[row] == batch and not self._has_kin(row, batch):
                self.broken[row] = result.message
            return
        self.known[row, window, batch] = result.fitted, result.seconds
        self._fit_seconds = max(result.all_seconds, 0.9 * self._fit_seconds)
        self._keep(row, window, result)

    def _keep(self, row: int, window: int, version: Version) -> None:
        self._fresh[row, window] = version
        self.book.write(row, version.fitted, version.forecasts)
