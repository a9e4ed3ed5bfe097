"""Artefacts: every model comes back the same to the bit, and nothing unsafe is read unasked."""

import pickle
import sys
import types
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from lightgbm import LGBMRegressor
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import ElasticNet, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from xgboost import XGBRegressor

import mlma.adapters.models
from mlma.adapters.artefacts.codec import OWN, decoded, encoded
from mlma.adapters.artefacts.foreign import HOLDS_PICKLES, Foreign
from mlma.adapters.artefacts.payload import Parts, packed
from mlma.adapters.models.callables import CallableForecaster
from mlma.adapters.models.features import Features
from mlma.adapters.models.guard import GuardedModel
from mlma.adapters.models.ridge import FittedRidge
from mlma.adapters.models.shared import SharedSklearn
from mlma.adapters.models.shared_guard import GuardedSharedModel
from mlma.adapters.models.sklearn import FittedSklearn
from mlma.domain.errors import ArtefactError, MissingExtraError
from mlma.library.versions import ModelStore
from model_versions import FIRST, LAST, fitted_of, forecasts, new, stream

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")

MODELS = {
    "ridge": ("ridge", "arrays"),
    "seasonal_naive": ("seasonal_naive", "arrays"),
    "lightgbm": ("lightgbm(n_estimators=10)", "lightgbm"),
    "pipeline": (make_pipeline(StandardScaler(), Ridge()), "skops"),
    "elastic_net": (ElasticNet(alpha=0.01), "skops"),
    "forest": (RandomForestRegressor(n_estimators=5, max_depth=6), "skops"),
    "extra_trees": (ExtraTreesRegressor(n_estimators=5, max_depth=6), "skops"),
    "gradient_boosting": (GradientBoostingRegressor(n_estimators=5), "skops"),
    "hist_gradient_boosting": (HistGradientBoostingRegressor(max_iter=5), "skops"),
    "neighbours": (KNeighborsRegressor(), "skops"),
    "support_vectors": (SVR(), "skops"),
    "lgbm_regressor": (LGBMRegressor(n_estimators=5, verbosity=-1), "skops"),
    "xgb_regressor": (XGBRegressor(n_estimators=5), "skops"),
}


def again(fitted, **settings):
    """What comes back from bytes."""
    return decoded(encoded(fitted, Foreign(**settings)), Foreign(**settings))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_back_the_same_to_the_bit(name, tmp_path):
    model, expected = MODELS[name]
    fitted = fitted_of(model)
    record = ModelStore(tmp_path).save_many([new(fitted)])[0]
    loaded = ModelStore(tmp_path).load(record.version)
    assert np.array_equal(forecasts(fitted), forecasts(loaded))
    assert record.format == expected
    assert type(loaded) is type(fitted)


def test_xgboost_comes_back_the_same_to_the_bit_in_its_own_format(tmp_path):
    xgboost = pytest.importorskip("mlma.adapters.models.xgboost")
    fitted = xgboost.XGBoostForecaster(n_estimators=10).fit(stream(), FIRST, LAST, 5)
    store = ModelStore(tmp_path)
    record = store.save_many([new(fitted)])[0]
    assert record.format == "xgboost"
    assert "xgboost" in record.needs
    assert np.array_equal(forecasts(fitted), forecasts(store.load(record.version)))


def test_held_out_forecasts_of_ridge_come_back_the_same_to_the_bit():
    fitted = fitted_of("ridge")
    before = fitted.held_out(stream(), LAST - 7, LAST)
    assert np.array_equal(before, again(fitted).held_out(stream(), LAST - 7, LAST))


def test_the_guard_around_a_model_comes_back_too():
    guarded = GuardedModel("ridge", fitted_of("ridge"))
    loaded = again(guarded)
    assert loaded.name == "ridge"
    assert np.array_equal(forecasts(guarded), forecasts(loaded))


def test_early_stopping_of_a_booster_is_remembered():
    fitted = fitted_of("lightgbm(n_estimators=20)")
    fitted.estimator.booster.best_iteration = 7
    loaded = again(fitted)
    assert loaded.estimator.booster.best_iteration == 7
    assert np.array_equal(forecasts(fitted), forecasts(loaded))


@pytest.mark.parametrize(
    "value",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.array([1.5, np.nan, -0.0, np.inf]),
        np.array(["2024-01-01", "NaT"], dtype="datetime64[us]"),
        np.array(["ä", "longer"]),
        np.array([], dtype=np.int32).reshape(0, 3),
        np.array(7),
        np.arange(10.0)[::3],
        np.arange(5, dtype=">i4"),
    ],
    ids=str,
)
def test_an_array_keeps_its_bits_its_type_and_its_order(value):
    out = again({"value": value})["value"]
    assert out.dtype == value.dtype
    assert out.shape == value.shape
    assert out.tobytes() == value.tobytes()
    assert out.flags.f_contiguous == np.asarray(value, order="K").copy("K").flags.f_contiguous
    assert out.flags.writeable


def test_plain_values_come_back_as_they_were():
    value = {"a": [1, True, None, 0.1, "ü", (2, "b")], "n": [float("inf"), float("-inf")]}
    assert again(value) == value
    assert np.isnan(again([float("nan")])[0])
    assert type(again([np.float32(0.1)])[0]) is np.float32


def test_every_fitted_class_of_the_house_can_be_saved_or_is_known_to_hold_pickles():
    folder = Path(mlma.adapters.models.__file__).parent
    names = [f"mlma.adapters.models.{path.stem}" for path in sorted(folder.glob("[a-z]*.py"))]
    found = {
        f"{kind.__module__}.{name}"
        for module in map(import_module, names)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and kind.__module__ == module.__name__
        if is_dataclass(kind) or f"{kind.__module__}.{name}" in HOLDS_PICKLES
        if hasattr(kind, "predict") and not name.startswith("_")
    }
    assert len(found) >= 5
    assert found - HOLDS_PICKLES <= {f"mlma.adapters.models.{name}" for name in OWN}


def test_the_closed_list_names_records_only():
    for name in OWN:
        module, _, kind_name = name.partition(".")
        kind = getattr(import_module(f"mlma.adapters.models.{module}"), kind_name)
        assert is_dataclass(kind)
        assert fields(kind)


def fit_level(series, first, last, seed):
    return {"level": float(np.nanmean(series.y[first:last]))}


def predict_level(model, series, first, last):
    return np.full((last - first, series.y.shape[1]), model["level"])


def test_your_functions_are_saved_by_name_and_read_only_where_they_are_trusted(tmp_path):
    fitted = CallableForecaster(fit_level, predict_level, "level").fit(stream(), FIRST, LAST, 5)
    name = f"{__name__}.predict_level"
    with pytest.raises(ArtefactError, match=f"not trusted: {name}"):
        ModelStore(tmp_path).save_many([new(fitted)])
    trusting = ModelStore(tmp_path, trust=[name])
    version = trusting.save_many([new(fitted)])[0].version
    assert np.array_equal(forecasts(fitted), forecasts(trusting.load(version)))
    with pytest.raises(ArtefactError, match=f"not trusted: {name}"):
        ModelStore(tmp_path).load(version)


@pytest.mark.parametrize("estimator", [Ridge(), LGBMRegressor(n_estimators=5, verbosity=-1)])
def test_a_shared_model_comes_back_the_same_to_the_bit(estimator, tmp_path):
    members = [stream(name, seed) for seed, name in enumerate("abc")]
    statics = {"city": {"a": "Ghent", "b": "Namur"}, "size": {"a": 1.0, "b": 2.5}}
    shared = SharedSklearn(estimator, statics=statics)
    fitted = GuardedSharedModel("shared", shared.fit_shared(members, FIRST, LAST, 5))
    store = ModelStore(tmp_path)
    record = store.save_many([new(fitted, ["a", "b", "c"])])[0]
    assert record.format == "skops"
    many = [model.predict_many(members, LAST, 56) for model in (fitted, store.load(record.version))]
    assert np.array_equal(*many)


@dataclass
class Mine:
    """A user's own fitted model."""

    level: float

    def predict(self, series, first, last):
        return np.full((last - first, series.y.shape[1]), self.level)

    def held_out(self, series, first, last):
        return None


MINE = f"{Mine.__module__}.Mine"


def test_a_type_that_nobody_trusts_is_refused_by_name_when_it_is_saved(tmp_path):
    with pytest.raises(ArtefactError, match=f"not trusted: {MINE}"):
        ModelStore(tmp_path).save_many([new(Mine(1.0))])
    assert not ModelStore(tmp_path).records()


def test_a_type_that_the_reader_does_not_trust_is_refused_by_name_when_it_is_loaded(tmp_path):
    trusting = ModelStore(tmp_path, trust=[MINE])
    version = trusting.save_many([new(Mine(2.5))])[0].version
    assert forecasts(trusting.load(version))[0, 0] == 2.5
    with pytest.raises(ArtefactError, match=rf"stream `a`: .*{MINE}.*trust=\[\"{MINE}\"\]"):
        ModelStore(tmp_path).load(version)


def test_a_class_outside_the_closed_list_is_refused_even_where_it_is_of_this_house():
    node = {"kind": "own", "class": "guard.GuardedForecaster", "fields": {"inner": None}}
    with pytest.raises(ArtefactError, match=r"not trusted: .*GuardedForecaster"):
        decoded(packed(node, Parts()), Foreign())


MARKS = []


class Harmful:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self):
        return leave, ("unpickled",)


def leave(mark):
    MARKS.append(mark)


@pytest.fixture
def marks():
    MARKS.clear()
    return MARKS


def test_a_pickle_is_never_read_without_being_allowed(marks):
    parts = Parts()
    tree = {"kind": "pickle", "part": parts.add(pickle.dumps(Harmful()))}
    raw = packed(tree, parts)
    with pytest.raises(ArtefactError, match="could run any code"):
        decoded(raw, Foreign())
    assert not marks
    decoded(raw, Foreign(allow_pickle=True))
    assert marks == ["unpickled"]  # this is what was kept away


def test_an_array_of_objects_hides_no_pickle(marks):
    parts = Parts()
    part = parts.add(pickle.dumps(np.array([Harmful()], dtype=object)))
    node = {"kind": "array", "dtype": "|O", "shape": [1], "order": "C", "part": part}
    with pytest.raises(ArtefactError, match="array of object"):
        decoded(packed(node, parts), Foreign())
    assert not marks


def test_what_only_pickle_can_save_needs_to_be_allowed_on_both_sides(tmp_path):
    odd = FittedSklearn(Features(), {1: 2.0}, 1.0, np.ones(3))
    odd.estimator[types.SimpleNamespace] = set
    with pytest.raises(ArtefactError, match=r"allow_pickle=True|not trusted"):
        ModelStore(tmp_path).save_many([new(odd)])
    allowing = ModelStore(tmp_path, allow_pickle=True)
    record = allowing.save_many([new(odd)])[0]
    assert record.format == "pickle"
    assert allowing.load(record.version).estimator == odd.estimator
    with pytest.raises(ArtefactError, match="It was not read"):
        ModelStore(tmp_path).load(record.version)


def test_what_cannot_even_be_pickled_is_refused_by_name(tmp_path):
    fitted = FittedSklearn(Features(), (value for value in ()), 1.0, np.ones(3))
    with pytest.raises(ArtefactError, match="generator cannot even be pickled"):
        ModelStore(tmp_path, allow_pickle=True).save_many([new(fitted)])


def test_a_learner_that_keeps_pickles_inside_is_saved_as_a_pickle_only(tmp_path):
    river = pytest.importorskip("mlma.adapters.models.river")
    forecaster = river.RiverForecaster("LinearRegression")
    fitted = forecaster.fit(stream(), FIRST, LAST, 5)
    trusting = ModelStore(tmp_path, trust=["mlma.adapters.models.river.LearningOnline"])
    with pytest.raises(ArtefactError, match="keeps pickles inside"):
        trusting.save_many([new(fitted)])
    allowing = ModelStore(tmp_path, allow_pickle=True)
    record = allowing.save_many([new(fitted)])[0]
    assert record.format == "pickle"
    assert "river" in record.needs
    assert np.array_equal(forecasts(fitted), forecasts(allowing.load(record.version)))


@pytest.mark.parametrize("missing", ["skops", "lightgbm"])
def test_a_missing_library_is_named_with_its_extra(missing, tmp_path, monkeypatch):
    model = {"skops": make_pipeline(StandardScaler(), Ridge()), "lightgbm": "lightgbm"}[missing]
    version = ModelStore(tmp_path).save_many([new(fitted_of(model))])[0].version
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    extra = {"skops": "artefacts", "lightgbm": "lightgbm"}[missing]
    with pytest.raises(MissingExtraError, match=rf'pip install "mlma\[{extra}\]"'):
        ModelStore(tmp_path).load(version)


def test_ridge_takes_less_than_a_kilobyte_and_a_half():
    fitted = fitted_of("ridge")
    assert isinstance(fitted, FittedRidge)
    assert len(encoded(fitted, Foreign())) < 1500
