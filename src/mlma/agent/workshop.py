"""The workshop: trains what the policies of a replay want, each version once.

Takes streams and a batch, gives versions. A version that several policies want at the same batch is
trained once; one that goes wrong is remembered with its message. Next are the pools.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.agent.book import Book
from mlma.agent.stage import Stage
from mlma.agent.training import Failure, Recipe, Version, lost_version, train
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
        horizon = self.book.last - batch
        keys = [key for key in wanted if self._possible(key[0], batch)]
        tasks = [
            (self.recipe, self.stage.series[row], batch, horizon, window, wanted[row, window])
            for row, window in keys
        ]
        if len(tasks) * self._fit_seconds > WORTH_SENDING_SECONDS:
            results = list(self.executor.map(train, tasks, "train", lost=lost_version))
        else:
            results = [train(*task) for task in tasks]
        for (row, window), result in zip(keys, results, strict=True):
            self._take(row, window, batch, result)

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
