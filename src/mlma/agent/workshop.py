"""The workshop: trains what the policies of a replay want, each version once.

Takes streams and a batch, gives versions. A version that several policies want at the same batch is
trained once; one that goes wrong is remembered with its message. Next are the pools.
"""

from dataclasses import dataclass, field

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

WORTH_SENDING_SECONDS = 0.5
"""Work below this is done here: sending it to other processes takes longer."""


@dataclass(slots=True)
class Workshop:
    """Trains versions of a stage's streams.

    known
        every version by stream and the batch at which it went live, with its seconds.
    failures, broken
        first message of a training that failed, by stream; ``broken`` streams cannot be played.
    """

    stage: Stage
    recipe: Recipe
    executor: Executor
    book: Book
    known: dict[tuple[int, int], tuple[FittedForecaster, float]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
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
        tasks = [
            (self.recipe, self.stage.series[row], batch, horizon, window, judged)
            for (row, window), judged in wanted.items()
        ]
        results: list[Version | Failure]
        if len(tasks) * self._fit_seconds > WORTH_SENDING_SECONDS:
            results = list(self.executor.map(train, tasks, "train", lost=lost_version))
        else:
            results = [train(*task) for task in tasks]
        for (row, window), result in zip(wanted, results, strict=True):
            self._take(row, window, batch, result)

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
        results: list[tuple[Version, ...] | Failure] = list(
            self.executor.map(train_shared, tasks, "train", lost=lost_version)
        )
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
        before = forecast(fitted, self.stage.series[row], batch - held, batch)
        if isinstance(page, Failure) or isinstance(before, Failure):
            return None
        return Version(
            fitted, batch, page[batch - self.book.first :], before, 0, 0.0, 0.0, 0.0, 0.0
        )

    def version(self, row: int, window: int) -> Version | None:
        """Return the version of this stream and window that was trained for this batch."""
        return self._fresh.get((row, window))

    def _possible(self, row: int, batch: int) -> bool:
        return bool(self.stage.trainable[row, batch]) and row not in self.broken

    def _take(self, row: int, window: int, batch: int, result: Version | Failure) -> None:
        if isinstance(result, Failure):
            self.failures.setdefault(row, result.message)
            if self.stage.start[row] == batch:
                self.broken[row] = result.message
            return
        self._fresh[row, window] = result
        self.book.write(row, result.fitted, result.forecasts)
        if window == self.recipe.window:
            self.known[row, batch] = result.fitted, result.seconds
        self._fit_seconds = max(result.all_seconds, 0.9 * self._fit_seconds)
