"""One scikit-learn regressor for many streams: a global model.

Takes an estimator, gives a recipe that fits one copy of it on the stacked rows of all members, each
in its own unit. Next is the guard, `shared_guard`, which checks what comes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from mlma.adapters.models.features import Features, Mode, training_rows
from mlma.adapters.models.shared_features import (
    Statics,
    StaticValues,
    Units,
    check_members,
    training_units,
    unit_of,
)
from mlma.domain.streams import Series

Floats = NDArray[np.float64]

MOST_ROWS = 250_000
"""Rows that are forecast at once: `predict_many` takes the members in blocks of so many."""

_THREADS = ("n_jobs", "nthread", "num_thread", "num_threads", "thread_count")


class SharedSklearn:
    """A scikit-learn regressor that many streams share, on the features of this house.

    The rows of all members are stacked. Targets, lags and recent levels of a member are in units
    of its own training window (mean absolute deviation), so that large streams do not outweigh
    small ones; exogenous columns are in one unit for all. Every fit clones ``estimator``, sets each
    ``random_state`` in it from the seed and its number of threads to 1.

    Parameters
    ----------
    estimator
        regressor or pipeline; not changed.
    mode
        ``day_ahead`` or ``one_step``, see `Features`.
    name
        for tables; default: the class of the estimator.
    fill
        False leaves missing features NaN, for estimators that know NaN.
    statics
        what is known of streams for good, such as ``{"city": {"stream 1": "Ghent"}}``; see
        `Statics`.

    >>> from sklearn.linear_model import Ridge
    >>> from mlma.domain.streams import Grid
    >>> grid = Grid(np.datetime64("2024-01-01"), np.timedelta64(1, "D"), 1, 60)
    >>> weekly = (np.arange(60.0) % 7).reshape(60, 1)
    >>> small, large = (
    ...     Series(name, grid, size * weekly, np.empty((60, 1, 0)))
    ...     for name, size in (("small", 1.0), ("large", 1000.0))
    ... )
    >>> model = SharedSklearn(Ridge(alpha=0.01)).fit_shared([small, large], 14, 59, seed=1)
    >>> model.predict_many([small, large], 59, 60).ravel().round().tolist()
    [3.0, 3000.0]
    """

    def __init__(
        self,
        estimator: Any,
        mode: Mode = "day_ahead",
        name: str | None = None,
        *,
        fill: bool = True,
        statics: StaticValues | None = None,
    ) -> None:
        self.estimator = estimator
        self.features = Features(mode, fill)
        self.warm_up = 14
        self.name = name or type(estimator).__name__
        self.statics = Statics(dict(statics or {}))

    def __repr__(self) -> str:
        return f"SharedSklearn({self.estimator!r}, mode={self.mode!r}, name={self.name!r})"

    @property
    def mode(self) -> Mode:
        """``day_ahead`` or ``one_step``."""
        return self.features.mode

    def fit_shared(
        self, members: Sequence[Series], first: int, last: int, seed: int
    ) -> "FittedSharedSklearn":
        """Return a model trained on batches ``first`` to ``last - 1``; see `mlma.ports`.

        Members without a usable row, and those that were all zero, are left out of the fit.

        Raises
        ------
        ModelError
            No member has a usable row, or the members do not fit together.
        """
        check_members(members, self.name)
        rows = [training_rows(series, self.features, first, last) for series in members]
        targets = [
            np.where(used, series.y[first:last].ravel(), np.nan)
            for series, used in zip(members, rows, strict=True)
        ]
        known = training_units(members, targets, self.name)
        kept = np.concatenate(
            [used for one, used in zip(members, rows, strict=True) if one.unique_id in known]
        )
        trained = [series for series in members if series.unique_id in known]
        scale = Scale(
            features=self.features,
            statics=self.statics,
            units=Units(known, last - first),
            exogenous=_exogenous_units(trained, first, last),
        )
        X = scale.matrix(trained, first, last, kept)
        y = scale.targets(trained, first, last)[kept]
        return FittedSharedSklearn(scale, seeded(self.estimator, seed).fit(X, y))


def seeded(estimator: Any, seed: int) -> Any:
    """Return a copy of an estimator that computes on one thread, its chance set by ``seed``."""
    copy = clone(estimator)
    parameters: Mapping[str, Any] = copy.get_params(deep=True)
    settings: dict[str, int] = {}
    for key in parameters:
        last = key.split("__")[-1]
        if last == "random_state":
            settings[key] = seed % 2**31
        elif last in _THREADS:
            settings[key] = 1
    if settings:
        copy.set_params(**settings)
    return copy


@dataclass(frozen=True, slots=True)
class Scale:
    """How rows of different members are made comparable.

    exogenous
        ``(n_exogenous,) float64``, unit of each exogenous column, one for all members.
    """

    features: Features
    statics: Statics
    units: Units
    exogenous: Floats

    def matrix(
        self,
        members: Sequence[Series],
        first: int,
        last: int,
        kept: NDArray[np.bool_] | None = None,
    ) -> Floats:
        """Return the rows of batches ``first`` to ``last - 1`` of all members, one below the other.

        ``(n_members * (last - first) * slots, p) float64``, of these the rows in ``kept``.
        """
        grid, length = members[0].grid, (last - first) * members[0].y.shape[1]
        kept = np.ones(len(members) * length, dtype=np.bool_) if kept is None else kept
        known = self.statics.encoded([series.unique_id for series in members])
        own, made, row = self.features.n_own(grid), None, 0
        for place, series in enumerate(members):
            used = kept[place * length : (place + 1) * length]
            X = self.features.matrix(series, first, last)[used]
            if made is None:
                made = np.empty((int(kept.sum()), X.shape[1] + known.shape[1]))
            block = made[row : row + len(X)]
            block[:, : X.shape[1]] = X
            block[:, :own] /= self._divisors(series, first, last)[used, None]
            block[:, own : own + len(self.exogenous)] /= self.exogenous
            block[:, X.shape[1] :] = known[place]
            row += len(X)
        assert made is not None  # there is at least one member
        return made

    def targets(self, members: Sequence[Series], first: int, last: int) -> Floats:
        """Return the observed values in units of their members; NaN = missing."""
        return np.concatenate(
            [
                series.y[first:last].ravel() / self._divisors(series, first, last)
                for series in members
            ]
        )

    def _divisors(self, series: Series, first: int, last: int) -> Floats:
        units = self.units.of(series, first, last)
        return np.repeat(np.where(units == 0, 1.0, units), series.y.shape[1])


@dataclass(frozen=True, slots=True)
class FittedSharedSklearn:
    """A fitted regressor that many streams share, with the unit of each."""

    scale: Scale
    estimator: Any

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return forecasts of batches ``first`` to ``last - 1``, ``(last - first, slots)``.

        0 for a stream of which nothing but zeros is known.
        """
        return np.asarray(self.predict_many([series], first, last)[0])

    def predict_many(self, members: Sequence[Series], first: int, last: int) -> Floats:
        """Return forecasts of every member, ``(n_members, last - first, slots)``."""
        check_members(members, type(self.estimator).__name__)
        slots = members[0].y.shape[1]
        out = np.empty((len(members), last - first, slots))
        block = max(MOST_ROWS // ((last - first) * slots), 1)
        for start in range(0, len(members), block):
            some = members[start : start + block]
            made = np.asarray(self.estimator.predict(self.scale.matrix(some, first, last)))
            units = np.stack([self.scale.units.of(series, first, last) for series in some])
            out[start : start + block] = made.reshape((*units.shape, slots)) * units[:, :, None]
        return out

    def held_out(self, series: Series, first: int, last: int) -> None:
        """Return None: it would take another fit."""
        return


def _exogenous_units(members: Sequence[Series], first: int, last: int) -> Floats:
    """Return the mean unit of each exogenous column; 1 where it is constant zero for all."""
    width = members[0].exogenous.shape[-1]
    made = np.zeros((len(members), width))
    for place, series in enumerate(members):
        columns = series.exogenous[first:last]
        made[place] = [unit_of(columns[:, :, column]) for column in range(width)]
    mean = made.mean(axis=0)
    return np.where(mean == 0, 1.0, mean)
