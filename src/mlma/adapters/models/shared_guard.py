"""The guard between the agent and a shared model: all that goes wrong becomes a `ModelError`.

Takes a shared forecaster or model, gives what the port promises: right shape, float64, finite. The
errors name the streams.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.guard import checked_held_out, checked_predict
from mlma.domain.errors import MissingExtraError, ModelError, first_three
from mlma.domain.streams import Series
from mlma.ports import SharedForecaster, SharedModel

Floats = NDArray[np.float64]


def checked_fit_shared(
    forecaster: SharedForecaster, members: Sequence[Series], first: int, last: int, seed: int
) -> SharedModel:
    """Return ``forecaster.fit_shared(...)``.

    Raises
    ------
    ModelError
        The model raised; its own error is the cause (``__cause__``).
    """
    try:
        return forecaster.fit_shared(members, first, last, seed)
    except MissingExtraError:
        raise
    except Exception as error:
        call = _called("fit_shared", forecaster.name, members, first, last)
        raise ModelError(f"{call} failed. {_told(error)}") from error


def checked_predict_many(
    model: SharedModel, members: Sequence[Series], first: int, last: int, name: str = "model"
) -> Floats:
    """Return forecasts of all members, ``(n_members, last - first, slots) float64``, all finite.

    Raises
    ------
    ModelError
        The model raised, or returned another shape, another type or a value that is not finite.
        Where it raised, every member is asked for by itself, so that the error names the streams
        that it is about.
    """
    call = _called("predict_many", name, members, first, last)
    try:
        raw = model.predict_many(members, first, last)
    except Exception as error:
        at_fault = forecasts_of_each(model, members, first, last, name)[1]
        whose = f" Streams that fail by themselves: {first_three(at_fault)}." if at_fault else ""
        raise ModelError(f"{call} failed. {_told(error)}{whose}") from error
    out = _floats(raw, call, (len(members), last - first, members[0].y.shape[1]))
    bad = ~np.isfinite(out)
    if bad.any():
        streams = [members[row].unique_id for row in np.flatnonzero(bad.any(axis=(1, 2))).tolist()]
        what = "NaN" if np.isnan(out).any() else "an infinite value"
        raise ModelError(
            f"{call} returned {what} for {int(bad.sum())} of {out.size} slots, of streams "
            f"{first_three(streams)}. Expected a finite forecast for every slot."
        )
    return out


def forecasts_of_each(
    model: SharedModel, members: Sequence[Series], first: int, last: int, name: str = "model"
) -> tuple[Floats, dict[str, ModelError]]:
    """Return the forecasts that are there, and what went wrong, by ``unique_id``.

    ``(n_members, last - first, slots)``; NaN for the members that failed. Every member is asked
    for by itself: what one stream does to the model costs that stream only.
    """
    out = np.full((len(members), last - first, members[0].y.shape[1]), np.nan)
    failed: dict[str, ModelError] = {}
    for place, series in enumerate(members):
        try:
            out[place] = checked_predict(model, series, first, last, name)
        except ModelError as error:
            failed[series.unique_id] = error
    return out, failed


@dataclass(frozen=True, slots=True)
class GuardedShared:
    """A shared forecaster that fails in one way only, by a `ModelError`."""

    inner: SharedForecaster

    @property
    def name(self) -> str:
        """Name of the model inside."""
        return self.inner.name

    @property
    def warm_up(self) -> int:
        """Warm-up of the model inside."""
        return self.inner.warm_up

    def fit_shared(
        self, members: Sequence[Series], first: int, last: int, seed: int
    ) -> "GuardedSharedModel":
        """Return the guarded model; raises ``ModelError``."""
        inner = checked_fit_shared(self.inner, members, first, last, seed)
        return GuardedSharedModel(self.name, inner)


@dataclass(frozen=True, slots=True)
class GuardedSharedModel:
    """A shared model version that fails in one way only, by a `ModelError`."""

    name: str
    inner: SharedModel

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return finite forecasts of one member; raises ``ModelError``."""
        return checked_predict(self.inner, series, first, last, self.name)

    def predict_many(self, members: Sequence[Series], first: int, last: int) -> Floats:
        """Return finite forecasts of all members; raises ``ModelError``."""
        return checked_predict_many(self.inner, members, first, last, self.name)

    def held_out(self, series: Series, first: int, last: int) -> Floats | None:
        """Return out-of-sample forecasts or None; raises ``ModelError``."""
        return checked_held_out(self.inner, series, first, last, self.name)


def _called(verb: str, name: str, members: Sequence[Series], first: int, last: int) -> str:
    """Return what was asked of which model, the start of every message."""
    ids = first_three(series.unique_id for series in members)
    return (
        f"`{verb}` of model `{name}` for {len(members)} streams ({ids}), "
        f"batches {first} to {last - 1},"
    )


def _told(error: Exception) -> str:
    kind = "" if isinstance(error, ModelError) else f"{type(error).__name__}: "
    return f"{kind}{error}"


def _floats(raw: Any, call: str, expected: tuple[int, ...]) -> Floats:
    got = type(raw).__name__
    if isinstance(raw, np.ndarray):
        if raw.shape == expected and raw.dtype.kind == "f":
            return raw.astype(np.float64, copy=False)
        got = f"shape {raw.shape}, {raw.dtype}"
    raise ModelError(
        f"{call} returned something that is not a forecast. "
        f"Expected a numpy array of floats, shape {expected}. Got {got}."
    )
