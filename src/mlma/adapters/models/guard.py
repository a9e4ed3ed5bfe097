"""The guard between the agent and a model: whatever goes wrong in there becomes a `ModelError`.

Takes a forecaster or a model version, gives what the port promises: right shape, float64, finite.
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import MissingExtraError, ModelError, SettingsError
from mlma.domain.streams import Series
from mlma.ports import FittedForecaster, Forecaster

Floats = NDArray[np.float64]
T = TypeVar("T")


def checked_fit(
    forecaster: Forecaster, series: Series, first: int, last: int, seed: int
) -> FittedForecaster:
    """Return ``forecaster.fit(...)``.

    A window with fewer batches before it than ``warm_up`` is handed on as it is: the models of
    this house forecast as well as they can, `CallableForecaster` leaves out what it cannot use.

    Raises
    ------
    ModelError
        The model raised; its own error is the cause (``__cause__``).
    """
    try:
        return forecaster.fit(series, first, last, seed)
    except MissingExtraError:
        raise
    except Exception as error:
        raise _Call("fit", forecaster.name, series, first, last).failed(error) from error


def checked_predict(
    fitted: FittedForecaster, series: Series, first: int, last: int, name: str = "model"
) -> Floats:
    """Return forecasts of batches ``first`` to ``last - 1``, ``(last - first, slots) float64``.

    Every forecast is finite. ``name`` names the model in messages.

    Raises
    ------
    ModelError
        The model raised, or returned another shape, another type or a value that is not finite.
    """
    call = _Call("predict", name, series, first, last)
    try:
        raw = fitted.predict(series, first, last)
    except Exception as error:
        raise call.failed(error) from error
    out = call.floats(raw)
    bad = int((~np.isfinite(out)).sum())
    if bad:
        what = "NaN" if np.isnan(out).any() else "an infinite value"
        raise ModelError(
            f"{call} returned {what} for {bad} of "
            f"{out.size} slots. Expected a finite forecast for every slot."
        )
    return out


def checked_held_out(
    fitted: FittedForecaster, series: Series, first: int, last: int, name: str = "model"
) -> Floats | None:
    """Return out-of-sample forecasts of training batches, ``(last - first, slots)``, or None.

    NaN = no forecast.

    Raises
    ------
    ModelError
        The model raised, or returned another shape or type.
    """
    call = _Call("held_out", name, series, first, last)
    try:
        raw = fitted.held_out(series, first, last)
    except Exception as error:
        raise call.failed(error) from error
    return None if raw is None else call.floats(raw)


def check_picklable(model: Forecaster | FittedForecaster, name: str | None = None) -> None:
    """Raise ``SettingsError`` unless a forecaster, or a model version, can travel to a worker.

    Functions written in a notebook travel; locks, connections, open files and generators do not.
    ``name`` names the model in the message; default: its own.

    >>> import mlma.adapters.models.seasonal_naive as naive
    >>> check_picklable(naive.SeasonalNaive())
    """
    travelled(model, name)


def travelled(model: T, name: str | None = None) -> T:
    """Return a forecaster or model version as it arrives in a worker; see `check_picklable`."""
    try:
        return cast("T", pickle.loads(cloudpickle.dumps(model)))
    except Exception as error:
        called = name or getattr(model, "name", type(model).__name__)
        part = next(_unpicklable_parts(model, 3), "")
        where = f" Its `{part}` is what stays behind." if part else ""
        raise SettingsError(
            f"Model `{called}` cannot be pickled, so no worker process can take it."
            f"{where} Expected parts that pickle can write and read back. "
            f"Got {type(error).__name__}: {error}. "
            f"Hint: open files, locks and connections inside the call that needs them, "
            f"or run with n_jobs=1."
        ) from error


def _unpicklable_parts(thing: object, depth: int) -> Iterator[str]:
    """Yield the attributes that cannot be pickled, the innermost first, as ``a.b``."""
    for name, part in getattr(thing, "__dict__", {}).items():
        try:
            pickle.loads(cloudpickle.dumps(part))
        except Exception:
            inner = _unpicklable_parts(part, depth - 1) if depth > 1 else iter(())
            yield from (f"{name}.{deeper}" for deeper in inner)
            yield name


@dataclass(frozen=True, slots=True)
class _Call:
    """What was asked of which model; its text starts every message."""

    verb: str
    name: str
    series: Series
    first: int
    last: int

    def __str__(self) -> str:
        grid = self.series.grid
        start, stop = (
            np.datetime_as_string(grid.start + grid.batch * batch, "m")
            for batch in (self.first, self.last)
        )
        return (
            f"`{self.verb}` of model `{self.name}` for stream `{self.series.unique_id}`, batches "
            f"{self.first} to {self.last - 1} ({start} to {stop}),"
        )

    def failed(self, error: Exception) -> ModelError:
        kind = "" if isinstance(error, ModelError) else f"{type(error).__name__}: "
        return ModelError(f"{self} failed. {kind}{error}")

    def floats(self, raw: Any) -> Floats:
        expected = (self.last - self.first, self.series.y.shape[1])
        got = type(raw).__name__
        if isinstance(raw, np.ndarray):
            if raw.shape == expected and raw.dtype.kind == "f":
                return raw.astype(np.float64, copy=False)
            got = f"shape {raw.shape}, {raw.dtype}"
        raise ModelError(
            f"{self} returned something that is not a forecast. "
            f"Expected a numpy array of floats, shape {expected}. Got {got}."
        )


@dataclass(frozen=True, slots=True)
class GuardedForecaster:
    """A forecaster that fails in one way only, by a `ModelError`; everything else as it was."""

    inner: Forecaster

    @property
    def name(self) -> str:
        """Name of the model inside."""
        return self.inner.name

    @property
    def warm_up(self) -> int:
        """Warm-up of the model inside."""
        return self.inner.warm_up

    def fit(self, series: Series, first: int, last: int, seed: int) -> "GuardedModel":
        """Return the guarded model; raises ``ModelError``."""
        return GuardedModel(self.name, checked_fit(self.inner, series, first, last, seed))


@dataclass(frozen=True, slots=True)
class GuardedModel:
    """A model version that fails in one way only, by a `ModelError`."""

    name: str
    inner: FittedForecaster

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return finite forecasts of the right shape; raises ``ModelError``."""
        return checked_predict(self.inner, series, first, last, self.name)

    def held_out(self, series: Series, first: int, last: int) -> Floats | None:
        """Return out-of-sample forecasts or None; raises ``ModelError``."""
        return checked_held_out(self.inner, series, first, last, self.name)
