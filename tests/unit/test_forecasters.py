"""The registry, the guard and the seasonal-naive model."""

import pickle

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression, Ridge

from mlma.adapters.models import lightgbm
from mlma.adapters.models.guard import checked_fit, checked_held_out, checked_predict
from mlma.adapters.models.registry import forecaster_from
from mlma.adapters.models.seasonal_naive import SeasonalNaive
from mlma.adapters.models.sklearn import SklearnForecaster
from mlma.domain.errors import MissingExtraError, ModelError, SettingsError
from mlma.domain.streams import Grid, Series


def stream(seconds: int = 3600, slots: int = 24, n_batches: int = 40) -> Series:
    step = np.timedelta64(seconds * 10**6, "us")
    grid = Grid(np.datetime64("2024-01-01", "us"), step, slots, n_batches)
    y = np.arange(float(n_batches * slots)).reshape(n_batches, slots)
    return Series("a", grid, y, np.empty((n_batches, slots, 0)))


def test_settings_written_as_text_reach_the_estimator() -> None:
    ridge = forecaster_from("ridge(alpha=3)")
    trees = forecaster_from("LightGBM(n_estimators=50, num_leaves=7)", mode="one_step")
    assert isinstance(ridge, SklearnForecaster)
    assert isinstance(trees, SklearnForecaster)
    assert ridge.estimator.alpha == 3
    assert (trees.estimator.n_estimators, trees.estimator.num_leaves) == (50, 7)
    assert (ridge.mode, trees.mode) == ("day_ahead", "one_step")
    assert (ridge.name, trees.name) == ("ridge", "lightgbm")


def test_an_estimator_is_named_after_its_class_and_not_changed() -> None:
    estimator = Ridge(alpha=2.0)
    forecaster = forecaster_from(estimator)
    forecaster.fit(stream(), 14, 40, seed=1)
    assert forecaster.name == "Ridge"
    assert not hasattr(estimator, "coef_")
    assert estimator.copy_X


def test_an_object_of_the_port_is_returned_as_it_is() -> None:
    own = SeasonalNaive(name="mine")
    assert forecaster_from(own) is own


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rigde", "Unknown model `rigde`.*did you mean `ridge`"),
        ("ridge(alhpa=1)", "Unknown setting of `ridge` `alhpa`.*did you mean `alpha`"),
        ("lightgbm(n_estimator=5)", "did you mean `n_estimators`"),
        ("seasonal_naive(lag=7)", "Unknown setting of `seasonal_naive`"),
        ("ridge(alpha=0)", "`alpha` of `ridge` must be above 0. Got 0"),
        ("ridge(alpha='x')", "must be above 0"),
        ("ridge(1)", "cannot be read"),
        ("ridge(mode='weekly')", "day_ahead, one_step"),
        (Ridge, "an instance, with brackets"),
        (LogisticRegression(), "a scikit-learn regressor"),
        (KMeans(), "a scikit-learn regressor"),
        (3, "Got `3`"),
    ],
)
def test_what_is_not_a_model_is_explained(spec: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        forecaster_from(spec)


def test_lightgbm_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightgbm, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"mlma\[lightgbm\]") as caught:
        forecaster_from("lightgbm")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "slots", "lag"),
    [(3600, 24, 168), (3600, 6, 168), (86400, 1, 7), (86400, 7, 7), (86400, 10, 14), (39600, 4, 4)],
)
def test_seasonal_naive_looks_back_whole_weeks_but_not_past_the_cutoff(
    seconds: int, slots: int, lag: int
) -> None:
    series = stream(seconds, slots, 40)
    assert np.array_equal(SeasonalNaive().predict(series, 36, 38), series.y[36:38] - lag)


def test_seasonal_naive_fills_what_is_missing_a_week_ago() -> None:
    series = stream(86400, 1, 40)
    series.y[25] = np.nan
    forecasts = SeasonalNaive().predict(series, 30, 34).ravel()
    assert forecasts.tolist() == [23, 24, 18, 26]
    assert SeasonalNaive().held_out(series, 30, 34).ravel().tolist() == forecasts.tolist()


def test_seasonal_naive_forecasts_zero_where_nothing_was_seen() -> None:
    assert SeasonalNaive().predict(stream(86400, 1, 40), 5, 9).ravel().tolist() == [0, 0, 0, 1]
    unborn = stream(86400, 1, 40)
    unborn.y[:] = np.nan
    assert SeasonalNaive().predict(unborn, 5, 9).ravel().tolist() == [0, 0, 0, 0]


def test_a_window_without_a_value_names_stream_and_window() -> None:
    series = stream()
    series.y[14:28] = np.nan
    with pytest.raises(ModelError, match=r"model `ridge` for stream `a`, batches 14 to 27.*usable"):
        checked_fit(forecaster_from("ridge"), series, 14, 28, 1)


class Broken:
    """A forecaster whose every call raises or returns what it is told to."""

    name = "broken"
    warm_up = 0

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def fit(self, series: Series, first: int, last: int, seed: int) -> "Broken":
        self.predict(series, first, last)
        return self

    def predict(self, series: Series, first: int, last: int) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    held_out = predict


@pytest.mark.parametrize("verb", ["fit", "predict", "held_out"])
def test_an_error_inside_a_model_is_named_and_kept_as_the_cause(verb: str) -> None:
    broken = Broken(ZeroDivisionError("by zero"))
    calls = {
        "fit": lambda: checked_fit(broken, stream(), 14, 28, 1),
        "predict": lambda: checked_predict(broken, stream(), 14, 28, "broken"),
        "held_out": lambda: checked_held_out(broken, stream(), 14, 28, "broken"),
    }
    expected = rf"`{verb}` of model `broken` for stream `a`, batches 14 to 27 \(2024-01-15T00:00 "
    with pytest.raises(ModelError, match=expected + r".*ZeroDivisionError: by zero") as caught:
        calls[verb]()
    assert caught.value.__cause__ is broken.answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            np.zeros((2, 23)),
            r"Expected a numpy array of floats, shape \(2, 24\). Got shape \(2, 23",
        ),
        (np.zeros((2, 24), dtype=int), "Got shape .* int64"),
        ([[0.0] * 24] * 2, "Got list"),
        (None, "Got NoneType"),
        (np.full((2, 24), np.nan), "NaN for 48 of 48 slots"),
        (np.full((2, 24), np.inf), "an infinite value for 48 of 48 slots"),
    ],
)
def test_what_is_not_a_forecast_is_a_model_error(answer: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        checked_predict(Broken(answer), stream(), 20, 22)


def test_single_precision_forecasts_are_taken_as_double() -> None:
    out = checked_predict(Broken(np.ones((2, 24), dtype=np.float32)), stream(), 20, 22)
    assert out.dtype == np.float64


def test_a_missing_extra_is_not_hidden_in_a_model_error() -> None:
    with pytest.raises(MissingExtraError):
        checked_fit(Broken(MissingExtraError("The model", "lightgbm")), stream(), 14, 28, 1)


def test_pickled_ridge_carries_no_matrix() -> None:
    series = stream()
    ridge = forecaster_from("ridge")
    fitted = ridge.fit(series, 14, 30, seed=1)
    for _ in range(3):
        fitted.predict(series, 30, 40)
    assert len(pickle.dumps(fitted)) < 1500
    assert len(pickle.dumps(ridge)) < 1500
