"""The ports: what the agent asks of the outside world, in nouns of the domain."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlma.domain.streams import Series

Floats = NDArray[np.float64]
T = TypeVar("T")


class FittedForecaster(Protocol):
    """A model version of one stream."""

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return forecasts of batches ``first`` to ``last - 1``, ``(last - first, slots)``.

        Each batch is forecast from its own cutoff, the batch's start (day-ahead), or each slot
        from the slot before it (one-step): nothing at or after the cutoff is read from
        ``series.y``. NaN = no forecast.
        """
        ...

    def held_out(self, series: Series, first: int, last: int) -> Floats | None:
        """Return out-of-sample forecasts of batches inside the training window, if they are free.

        ``(last - first, slots)``; each batch as a model of the same kind would forecast it that
        was not trained on this batch. None = it would take another fit.
        """
        ...


class Forecaster(Protocol):
    """A recipe for models: fits one model version of one stream."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    @property
    def warm_up(self) -> int:
        """Batches of history that are read before the first batch of a training window."""
        ...

    def fit(self, series: Series, first: int, last: int, seed: int) -> FittedForecaster:
        """Return a model trained on batches ``first`` to ``last - 1``.

        Reads nothing of ``series.y`` from batch ``last`` on. Raises ``ModelError`` where no
        usable row is there.
        """
        ...


class SharedModel(FittedForecaster, Protocol):
    """A model version that many streams share: it forecasts any of them, one or all at once."""

    def predict_many(self, members: Sequence[Series], first: int, last: int) -> Floats:
        """Return forecasts of every member, ``(n_members, last - first, slots)``.

        The rows are those that ``predict`` gives for each member by itself.
        """
        ...


class SharedForecaster(Protocol):
    """A recipe for models that many streams share: one version learns from all of them."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    @property
    def warm_up(self) -> int:
        """Batches of history that are read before the first batch of a training window."""
        ...

    def fit_shared(
        self, members: Sequence[Series], first: int, last: int, seed: int
    ) -> SharedModel:
        """Return a model trained on batches ``first`` to ``last - 1`` of all members.

        Members share one grid. Those without a usable row in the window are forecast as well as
        the others allow. Raises ``ModelError`` where no member has one.
        """
        ...


class Executor(Protocol):
    """Runs many independent calls; answers come back in the order of the tasks."""

    def map(
        self,
        function: Callable[..., T],
        tasks: Sequence[tuple[Any, ...]],
        label: str = "",
        *,
        lost: Callable[[Exception], T] | None = None,
    ) -> Iterator[T]:
        """Yield ``function(*task)`` for each task, in order.

        ``lost`` makes the answer of a task that took longer than the executor's time limit, or
        whose worker died again when it was tried anew; None = the error is raised.
        """
        ...
