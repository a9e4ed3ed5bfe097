"""Nixtla's MLForecast as one model of many streams; needs the extra ``mlforecast``.

Takes an `mlforecast.MLForecast`, gives a recipe of the port `SharedForecaster`. Next is the guard,
`shared_guard`, which checks what comes out.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.mlforecast_frames import Frames, Stretch, positions
from mlma.adapters.models.mlforecast_recipe import check_shareable, checked_recipe, direct, lookback
from mlma.adapters.models.shared import seeded
from mlma.adapters.models.shared_features import (
    Statics,
    StaticValues,
    Units,
    check_members,
    training_units,
)
from mlma.domain.errors import MissingExtraError, ModelError, unknown_name
from mlma.domain.streams import Grid, Series

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class MLForecastShared:
    """An `mlforecast.MLForecast` that many streams share: day-ahead, one batch per cutoff.

    Gaps are filled from the past; a slot that was not observed is never a target. A batch whose
    lags are all at least a batch long is forecast in one step; otherwise MLForecast forecasts slot
    after slot from its own forecasts. Models get ``random_state`` from the seed, and one thread.

    Parameters
    ----------
    recipe
        an `MLForecast`, not changed; or a function that makes one for a `Grid`.
    name
        for tables.
    model
        name of the model to be used, where the recipe has several.
    units
        True: every stream in units of its training window, as in `SharedSklearn`; False: as it is.
    statics
        what is known of streams for good, such as ``{"city": {"stream 1": "Ghent"}}``, as static
        features: numbers, or pandas categories for texts; missing values stay missing.
    exogenous
        names of the exogenous columns, in the order of the history; default: ``x1``, ``x2``, ...
    warm_up
        batches of history that the agent leaves before a window; more are read where lags reach
        further back.

    Raises
    ------
    MissingExtraError
        MLForecast is not installed.
    SettingsError
        The recipe cannot be shared (`check_shareable`), or a static column is not usable.
    """

    def __init__(
        self,
        recipe: Any,
        name: str = "mlforecast",
        *,
        model: str | None = None,
        units: bool = False,
        statics: StaticValues | None = None,
        exogenous: Sequence[str] = (),
        warm_up: int = 14,
    ) -> None:
        if find_spec("mlforecast") is None:
            raise MissingExtraError("The model `mlforecast`", "mlforecast")
        self.recipe: Callable[[Grid], Any] = recipe if callable(recipe) else given(recipe, model)
        self.name, self.warm_up, self.mode = name, warm_up, "day_ahead"
        self.units, self.exogenous = units, tuple(exogenous)
        self.statics = Statics(dict(statics or {})).values

    def __repr__(self) -> str:
        return f"MLForecastShared({self.recipe!r}, name={self.name!r}, units={self.units})"

    def fit_shared(
        self, members: Sequence[Series], first: int, last: int, seed: int
    ) -> "FittedMLForecast":
        """Return a model trained on batches ``first`` to ``last - 1``; see `mlma.ports`.

        Raises
        ------
        ModelError
            No member has a usable row, or the members do not fit together.
        SettingsError
            The recipe does not fit the grid of the members.
        """
        check_members(members, self.name)
        fitted = checked_recipe(self.recipe(members[0].grid), members[0].grid)
        fitted.models = {name: seeded(model, seed) for name, model in fitted.models.items()}
        known = self._known(members, first, last)
        blank = copy.deepcopy(fitted.ts)
        model = FittedMLForecast(
            fitted=fitted,
            blank=blank,
            units=Units(known, last - first) if self.units else None,
            lookback=lookback(blank),
            window=last - first,
            exogenous=self.exogenous,
            statics=self.statics,
        )
        trained = [series for series in members if series.unique_id in known]
        model.train(trained, first, last, np.array([known[one.unique_id] for one in trained]))
        return model

    def _known(self, members: Sequence[Series], first: int, last: int) -> dict[str, float]:
        """Return the units of the members that are trained on, 1 without ``units``."""
        known = training_units(members, [one.y[first:last] for one in members], self.name)
        if self.units:
            return known
        seen = [series for series in members if np.isfinite(series.y[first:last]).any()]
        return {series.unique_id: 1.0 for series in seen}


@dataclass(frozen=True, slots=True)
class Given:
    """A recipe that was handed in as an object: the same on every grid."""

    recipe: Any

    def __call__(self, grid: Grid) -> Any:
        """Return a copy of it."""
        return copy.deepcopy(self.recipe)


def given(recipe: Any, model: str | None) -> Given:
    """Return an `MLForecast` with one of its models as a recipe; raises ``SettingsError``."""
    made = copy.copy(recipe)
    if model is not None and hasattr(made, "models"):
        if model not in made.models:
            raise unknown_name("model of MLForecast", model, made.models)
        made.models = {model: made.models[model]}
    check_shareable(made)
    return Given(copy.deepcopy(made))


@dataclass(frozen=True, slots=True)
class FittedMLForecast:
    """A trained MLForecast.

    blank
        its features before anything was read.
    units
        of the members; None = all as they are.
    lookback
        slots that features read before a slot.
    window
        batches of the training window.
    """

    fitted: Any
    blank: Any
    units: Units | None
    lookback: int
    window: int
    exogenous: tuple[str, ...]
    statics: StaticValues

    def train(self, members: Sequence[Series], first: int, last: int, units: Floats) -> None:
        """Fit the model on the usable rows of the window."""
        slots = members[0].y.shape[1]
        frames = Frames.of(members, last, self.exogenous, self.statics)
        stretches = [
            Stretch(place, self._begin(frames, place, first, last), last * slots, float(unit))
            for place, unit in enumerate(units)
        ]
        usable = [
            self._usable(series, frames.born[one.member], first, one)
            for series, one in zip(members, stretches, strict=True)
        ]
        with _quiet():
            made = self.fitted.preprocess(
                frames.history(stretches), static_features=[*self.statics], validate_data=False
            )
            rows = np.concatenate(usable)[positions(made, frames.grid, stretches)]
            if not rows.any():
                raise ModelError(
                    f"No row remains for the MLForecast model in batches {first} to {last - 1}: "
                    f"its features read {self.lookback} slots. Hint: a longer window."
                )
            X, y = made[self.fitted.ts.features_order_], made["y"].to_numpy()
            self.fitted.fit_models(X[rows], y[rows])
        for part in ("ga", "uids", "last_dates", "static_features_"):
            setattr(self.fitted.ts, part, None)  # the history has no place in a model version

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return forecasts of batches ``first`` to ``last - 1``, ``(last - first, slots)``.

        0 for a stream of which nothing but zeros is known, where the model has ``units``.
        """
        return np.asarray(self.predict_many([series], first, last)[0])

    def predict_many(self, members: Sequence[Series], first: int, last: int) -> Floats:
        """Return forecasts of every member, ``(n_members, last - first, slots)``.

        Where every feature is known at the cutoff (see `direct`), all batches in one pass; else
        one call of `MLForecast.predict` per cutoff, for all members at once.
        """
        check_members(members, "mlforecast")
        frames = Frames.of(members, last, self.exogenous, self.statics)
        units = np.ones((len(members), last - first))
        if self.units is not None:
            units = np.stack([self.units.of(series, first, last) for series in members])
        if direct(self.blank, frames.grid.slots):
            out = self._at_once(frames, units, first, last)
        else:
            batches = range(first, last)
            made = [self._from_cutoff(frames, units[:, b - first], b) for b in batches]
            out = np.stack(made, axis=1)
        return np.asarray(out * units[:, :, None])

    def held_out(self, series: Series, first: int, last: int) -> None:
        """Return None: it would take another fit."""
        return

    def _at_once(self, frames: Frames, units: Floats, first: int, last: int) -> Floats:
        """Return forecasts in units; a stretch ends where the unit of a member changes."""
        slots = frames.grid.slots
        stretches, wanted = [], []
        for member, own in enumerate(units):
            bounds = [0, *(np.flatnonzero(np.diff(own)) + 1).tolist(), last - first]
            for begin, end in pairwise(bounds):
                start, stop = (first + begin) * slots, (first + end) * slots
                stretches.append(Stretch(member, start - self.lookback, stop, own[begin] or 1.0))
                wanted.append(np.arange(start - self.lookback, stop) >= start)
        one = copy.copy(self.fitted)
        one.ts = copy.deepcopy(self.blank)
        with _quiet():
            made = one.preprocess(
                frames.history(stretches),
                static_features=[*self.statics],
                dropna=False,
                validate_data=False,
            )
            X = made[one.ts.features_order_][np.concatenate(wanted)]
            forecasts = np.asarray(self._model.predict(X), dtype=np.float64)
        return forecasts.reshape(len(units), last - first, slots)

    def _from_cutoff(self, frames: Frames, units: Floats, batch: int) -> Floats:
        """Return the forecasts of one batch in units, ``(n_members, slots)``, by MLForecast."""
        slots = frames.grid.slots
        cutoff = batch * slots
        divisors = np.where(units == 0, 1.0, units).tolist()
        history = [
            Stretch(member, self._start(frames, member, cutoff), cutoff, unit)
            for member, unit in enumerate(divisors)
        ]
        future = [Stretch(member, cutoff, cutoff + slots) for member in range(len(divisors))]
        one = copy.copy(self.fitted)  # `predict` leaves the new history in the object
        with _quiet():
            made: pd.DataFrame = one.predict(
                h=slots, new_df=frames.history(history), X_df=frames.future(future)
            )
        forecasts = made.sort_values(["unique_id", "ds"])[next(iter(self.fitted.models_))]
        return np.asarray(forecasts, dtype=np.float64).reshape(len(divisors), slots)

    @property
    def _model(self) -> Any:
        return next(iter(self.fitted.models_.values()))

    def _start(self, frames: Frames, member: int, cutoff: int) -> int:
        """Return the first slot that is read before a cutoff.

        As much as in training: a window and what features read before it; less for a stream that
        is younger, but never less than what features read.
        """
        most = self.window * frames.grid.slots + self.lookback
        return cutoff - max(self.lookback, min(most, cutoff - frames.born[member]))

    def _begin(self, frames: Frames, member: int, first: int, last: int) -> int:
        """Return the first slot that is read in training.

        Where features read a few slots, all before the first target: 0 before a stream's birth, as
        when it is forecast. Where they read all of the past, zeros would stay in them.
        """
        slots = frames.grid.slots
        if direct(self.blank, slots):
            return max(first * slots, frames.born[member]) - self.lookback
        return self._start(frames, member, last * slots)

    def _usable(self, series: Series, born: int, first: int, stretch: Stretch) -> Bools:
        """Return which slots of a stretch are targets: observed, and with all features if many."""
        slots = np.arange(stretch.start, stretch.stop)
        observed = np.zeros(len(slots), dtype=np.bool_)
        inside = slots >= first * series.y.shape[1]
        observed[inside] = np.isfinite(series.y.reshape(-1)[slots[inside]])
        full = observed & (slots >= born + self.lookback)
        return full if 2 * full.sum() >= observed.sum() else observed


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back MLForecast's warnings of missing features: a young stream has them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found null values in")
        warnings.filterwarnings("ignore", message="The following series were dropped completely")
        yield
