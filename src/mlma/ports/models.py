"""Ports of models: forecasters, executors, trainers elsewhere, stores of versions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import MlmaError
from mlma.domain.requests import RetrainingRequest
from mlma.domain.streams import Series
from mlma.domain.versions import Deployment, NewVersion, Time, VersionRecord

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


class DeliveryError(MlmaError):
    """Requests could not be handed over: nothing is lost, they have to be sent again.

    ``refused`` tells that the receiver was reached and refuses these requests: others may pass.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class RetrainingRequests(Protocol):
    """A way on which requests reach a trainer that lives elsewhere: a webhook, a queue."""

    def batches(self, requests: Sequence[RetrainingRequest]) -> list[tuple[RetrainingRequest, ...]]:
        """Return the requests in the portions in which they travel, in their order."""
        ...

    def send(self, batch: Sequence[RetrainingRequest]) -> None:
        """Hand one portion over, all or nothing; a request that arrived before changes nothing.

        Raises ``DeliveryError`` where it is not known to have arrived.
        """
        ...


@runtime_checkable
class RetrainingQueue(RetrainingRequests, Protocol):
    """A way that also remembers what became of the requests."""

    def outcomes(self, ids: Sequence[str]) -> dict[str, str]:
        """Return which of the requests are ``done`` or ``failed``; the others are not in it."""
        ...


class ArtefactStore(Protocol):
    """Keeps model versions, and the log of what was in production when.

    All times are on the clock of the streams. Calls that write add and never change.
    """

    def save_many(self, new: Sequence[NewVersion]) -> list[VersionRecord]:
        """Save the versions of one cycle, all or none; records in order."""
        ...

    def load_many(self, versions: Sequence[str]) -> list[FittedForecaster]:
        """Return fitted models, in order; they forecast the same to the bit as those saved."""
        ...

    def deploy(
        self, pairs: Iterable[tuple[str, str | VersionRecord]], at: Time, reason: str = ""
    ) -> list[Deployment]:
        """Write down which (stream, version) are in production from ``at`` on."""
        ...

    def roll_back(
        self, streams: str | Iterable[str], at: Time, reason: str = ""
    ) -> list[Deployment]:
        """Write down that streams are back at the version before the one in production."""
        ...

    def retire(self, streams: str | Iterable[str], at: Time, reason: str = "") -> list[Deployment]:
        """Write down that streams have no model in production from ``at`` on."""
        ...

    def production(
        self, at: Time | None = None, streams: Iterable[str] | None = None
    ) -> dict[str, Deployment]:
        """Return what was in production at a time, or after all events (None), by stream."""
        ...
