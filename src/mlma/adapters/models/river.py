"""Online learners (river) as a forecaster: they learn on while they forecast.

Takes a river regressor, gives a recipe that learns a window slot by slot, in order. A fitted one
goes on: forecasts of a batch come from a model that has learnt every batch before it. Next is the
guard.
"""

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from importlib.util import find_spec
from inspect import isclass, signature
from sys import modules
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.features import Features, Mode
from mlma.domain.errors import MissingExtraError, ModelError, SettingsError, unknown_name
from mlma.domain.streams import Series

Floats = NDArray[np.float64]

DEFAULT = "BayesianLinearRegression"
_HOMES = ("linear_model", "tree", "forest", "neighbors", "ensemble", "rules", "facto", "dummy")
_FARTHEST = 5.0  # standard deviations of the window; a step of gradient descent grows with them
_LEARNING_RATE = (
    0.003  # of `LinearRegression` by name; .01, river's, is at the edge for 50 features
)
_SNAPSHOTS = 8


class RiverForecaster:
    """A river regressor or pipeline on the features of this house, one learner per stream.

    Features are those of ridge (see `Features`), by name, standardised by the training window and
    held to five standard deviations, so that one wrong value does not throw an online learner off;
    the target is standardised, too. Slots without an observed value are not learnt.

    Parameters
    ----------
    model
        a river regressor or pipeline, which is not changed; or the name of a river regressor, whose
        ``settings`` follow: ``RiverForecaster("LinearRegression", l2=0.1)``.
    mode
        ``day_ahead``: a batch is learnt when it is over; ``one_step``: each slot, once it was
        forecast.
    name
        for tables; default: the class of the model.

    Raises
    ------
    SettingsError
        ``model`` is no river regressor, or a name or setting is unknown.
    MissingExtraError
        river is not installed.
    """

    def __init__(
        self,
        model: Any = DEFAULT,
        mode: Mode = "day_ahead",
        name: str | None = None,
        **settings: Any,
    ) -> None:
        if find_spec("river") is None:
            raise MissingExtraError("The model `river`", "river")
        by_name = isinstance(model, str)
        self.model = _named(model, settings) if by_name else model
        if not is_river_regressor(self.model):
            raise SettingsError(
                f"`model` of `river` must be a river regressor, a pipeline that ends in one, or "
                f"the name of one. Got {model!r:.60}."
            )
        if settings and not by_name:
            raise SettingsError(
                f"Settings of `river` go with a model by name. Got {', '.join(settings)} with an "
                f"instance. Hint: set them in the instance."
            )
        self.features = Features(mode, fill=True)
        self.warm_up = 14
        self.name = name or _name(self.model)

    def __repr__(self) -> str:
        return f"RiverForecaster({self.name}, mode={self.mode!r})"

    @property
    def mode(self) -> Mode:
        """``day_ahead`` or ``one_step``."""
        return self.features.mode

    def fit(self, series: Series, first: int, last: int, seed: int) -> "LearningOnline":
        """Return a learner that has learnt batches ``first`` to ``last - 1`` in order.

        Every parameter called ``seed`` in the model is set.

        Raises
        ------
        ModelError
            No value is observed in the window.
        """
        if not np.isfinite(series.y[first:last]).any():
            raise ModelError(
                f"No usable row for stream `{series.unique_id}` in batches {first} to {last - 1}. "
                f"Expected at least one observed value. Hint: a longer window."
            )
        units = _units(self.features, series, first, last)
        learner = _seeded(self.model, seed)
        issued = _lived(learner, units, series, first, last)
        return LearningOnline(units, cloudpickle.dumps(learner), first, last, issued)


@dataclass(frozen=True, slots=True)
class Units:
    """What is taken out of features and target: mean and standard deviation of a window."""

    features: Features
    centre: Floats
    scale: Floats
    level: float
    spread: float

    def rows(self, series: Series, batch: int) -> list[dict[str, float]]:
        """Return the features of a batch by name, one dictionary per slot."""
        X = (self.features.matrix(series, batch, batch + 1) - self.centre) / self.scale
        n_exogenous = series.exogenous.shape[-1]
        exogenous = tuple(f"x{number}" for number in range(1, n_exogenous + 1))
        names = self.features.names(series.grid, exogenous)
        held = np.clip(X, -_FARTHEST, _FARTHEST).tolist()
        return [dict(zip(names, row, strict=True)) for row in held]


class LearningOnline:
    """A learner of one stream as it stood at the end of its window; it learns on from there.

    Forecasts of batch ``b`` come from a learner that has learnt the window and every batch from its
    end to ``b - 1``, so they depend on the values before the cutoff only, neither on the calls
    before nor on how many batches are asked for at once. What was learnt on the way is remembered
    (the last eight stages, by the values that led to them), and forgotten when it is pickled.
    Inside the window the learner stands still. Learning what lies far ahead takes its time.
    """

    def __init__(self, units: Units, learner: bytes, first: int, last: int, issued: Floats) -> None:
        self.units = units
        self.first, self.last = first, last
        self._learner, self._issued = learner, issued
        self._stages: OrderedDict[tuple[int, bytes], bytes] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stages": OrderedDict()}

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return forecasts of batches ``first`` to ``last - 1``, ``(last - first, slots)``."""
        parts: list[Floats] = []
        if first < self.last:
            learner = pickle.loads(self._learner)
            still = range(first, min(self.last, last))
            parts += [_forecast(learner, self.units, series, batch)[None] for batch in still]
        begin = max(first, self.last)
        if begin < last:
            learner = self._at(series, begin)
            parts.append(_lived(learner, self.units, series, begin, last))
            self._remember(series, last, learner)
        return np.concatenate(parts)

    def held_out(self, series: Series, first: int, last: int) -> Floats:
        """Return the forecasts made while the window was learnt, ``(last - first, slots)``.

        Each batch was forecast before it was learnt (Dawid, 1984, prequential forecasts). They are
        those of the window as it was when the learner was fitted.

        Raises
        ------
        ModelError
            A batch lies outside the training window.
        """
        if not self.first <= first < last <= self.last:
            raise ModelError(
                f"`held_out` covers the training window, batches {self.first} to {self.last - 1}. "
                f"Got {first} to {last - 1}."
            )
        return self._issued[first - self.first : last - self.first].copy()

    def _at(self, series: Series, batch: int) -> Any:
        """Return the learner that has learnt every batch before ``batch``."""
        for stage, digest in sorted(self._stages, reverse=True):
            if stage <= batch and digest == _digest(series, stage):
                learner = pickle.loads(self._stages[stage, digest])
                break
        else:
            stage, learner = self.last, pickle.loads(self._learner)
        for b in range(stage, batch):
            _lived(learner, self.units, series, b, b + 1)
        return learner

    def _remember(self, series: Series, batch: int, learner: Any) -> None:
        self._stages[batch, _digest(series, batch)] = cloudpickle.dumps(learner)
        while len(self._stages) > _SNAPSHOTS:
            self._stages.popitem(last=False)


def is_river_regressor(model: Any) -> bool:
    """Return whether ``model`` is a river regressor, or a river pipeline that ends in one."""
    base = modules.get("river.base")
    if base is None or isclass(model):
        return False
    steps = getattr(model, "steps", None)
    if isinstance(steps, dict) and steps:
        model = list(steps.values())[-1]
    return isinstance(model, base.Regressor)


def _named(name: str, settings: dict[str, Any]) -> Any:
    known = _regressors()
    if name not in known:
        raise unknown_name("model of `river`", name, known)
    parameters = signature(known[name].__init__).parameters
    for setting in settings:
        if setting not in parameters or setting == "self":
            raise unknown_name(f"setting of `{name}`", setting, set(parameters) - {"self"})
    if name == "LinearRegression":
        from river.optim import SGD

        settings = {"optimizer": SGD(_LEARNING_RATE), **settings}
    try:
        return known[name](**settings)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"The river model `{name}` cannot be built. Got {error}.") from error


def _regressors() -> dict[str, Any]:
    from river.base import Regressor

    homes = [import_module(f"river.{home}") for home in _HOMES]
    return {
        name: kind
        for home in homes
        for name, kind in vars(home).items()
        if isclass(kind) and issubclass(kind, Regressor) and not name.startswith("_")
    }


def _name(model: Any) -> str:
    steps = getattr(model, "steps", None)
    return type(list(steps.values())[-1] if steps else model).__name__


def _seeded(model: Any, seed: int) -> Any:
    """Return an unlearnt copy whose seeds are all set."""
    return model.clone(_seeds(model._get_params(), seed % 2**31))


def _seeds(parameters: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the parameters called ``seed``, nested as river nests them."""
    found: dict[str, Any] = {}
    for key, value in parameters.items():
        nested = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if key == "seed":
            found[key] = seed
        elif isinstance(nested, dict) and (inner := _seeds(nested, seed)):
            found[key] = inner
    return found


def _units(features: Features, series: Series, first: int, last: int) -> Units:
    rows = np.isfinite(series.y[first:last]).ravel()
    X = features.matrix(series, first, last)[rows]
    y = series.y[first:last].ravel()[rows]
    spread, scale = y.std(), X.std(axis=0)
    constant = scale <= 1e-9 * np.abs(X).max(axis=0)
    return Units(
        features=features,
        centre=X.mean(axis=0),
        scale=np.where(constant, 1.0, scale),
        level=float(y.mean()),
        spread=float(spread) if spread > 1e-9 * np.abs(y).max() else 1.0,
    )


def _lived(learner: Any, units: Units, series: Series, first: int, last: int) -> Floats:
    """Return forecasts of batches, each learnt after it was forecast, ``(last - first, slots)``."""
    out = np.empty((last - first, series.y.shape[1]))
    for place, batch in enumerate(range(first, last)):
        rows = units.rows(series, batch)
        target = ((series.y[batch] - units.level) / units.spread).tolist()
        if units.features.mode == "day_ahead":
            out[place] = [_told(learner, row) for row in rows]
            _learn(learner, rows, target)
        else:
            for slot, row in enumerate(rows):
                out[place, slot] = _told(learner, row)
                _learn(learner, [row], target[slot : slot + 1])
    return out * units.spread + units.level


def _learn(learner: Any, rows: list[dict[str, float]], target: list[float]) -> None:
    for row, value in zip(rows, target, strict=True):
        if np.isfinite(value):
            learner.learn_one(row, value)


def _forecast(learner: Any, units: Units, series: Series, batch: int) -> Floats:
    rows = units.rows(series, batch)
    return np.array([_told(learner, row) for row in rows]) * units.spread + units.level


def _told(learner: Any, row: dict[str, float]) -> float:
    """Return a forecast; NaN where the learner has none yet."""
    value = learner.predict_one(row)
    return float("nan") if value is None else float(value)


def _digest(series: Series, batch: int) -> bytes:
    """Return what tells two pasts apart: all values before a batch."""
    seen = blake2b(np.ascontiguousarray(series.y[:batch]).tobytes(), digest_size=16)
    seen.update(np.ascontiguousarray(series.exogenous[:batch]).tobytes())
    return seen.digest()
