"""Functions of the user's own: what they are given, and what becomes of what they return."""

import pickle
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlma.adapters.models.callables import CallableForecaster, callables
from mlma.adapters.models.contract import check_forecaster
from mlma.adapters.models.frame_callables import FrameForecaster
from mlma.adapters.models.guard import (
    check_picklable,
    checked_fit,
    checked_held_out,
    checked_predict,
    travelled,
)
from mlma.adapters.models.registry import forecaster_from
from mlma.domain.errors import ModelError, SettingsError
from mlma.domain.streams import Grid, Series


def stream(n_batches: int = 20) -> Series:
    """Four slots a day, values 0, 1, 2, ...; two exogenous columns, one missing value in each."""
    grid = Grid(
        np.datetime64("2024-01-01", "us"), np.timedelta64(6 * 3600 * 10**6, "us"), 4, n_batches
    )
    y = np.arange(4.0 * n_batches).reshape(n_batches, 4)
    columns = np.stack([y / 10, y * 10], axis=2)
    y[9, 3] = np.nan
    columns[9, 3, 0] = np.nan
    return Series("a", grid, y, columns)


def window(series: Series, first: int, last: int, seed: int) -> tuple[int, int, int]:
    return first, last, seed


def last_known(model: Any, series: Series, first: int, last: int) -> np.ndarray:
    return series.y[first - 1 : last - 1]


def test_two_functions_are_called_as_the_port_says() -> None:
    recipe = callables(window, last_known, "mine", held_out=last_known)
    assert forecaster_from(recipe) is recipe
    fitted = checked_fit(recipe, stream(), 3, 9, 5)
    assert fitted.model == (3, 9, 5)  # type: ignore[attr-defined]  # of a `FittedCallable`
    assert checked_predict(fitted, stream(), 12, 13).tolist() == [[44, 45, 46, 47]]
    assert checked_held_out(fitted, stream(), 4, 5).tolist() == [[12, 13, 14, 15]]
    assert (
        checked_held_out(
            checked_fit(callables(window, last_known), stream(), 3, 9, 5), stream(), 4, 5
        )
        is None
    )


def test_a_window_loses_the_batches_that_lack_a_warm_up() -> None:
    recipe = CallableForecaster(window, last_known, warm_up=7)
    assert recipe.fit(stream(), 0, 10, 1).model == (7, 10, 1)
    assert recipe.fit(stream(), 8, 10, 1).model == (8, 10, 1)


@pytest.mark.parametrize("kind", ["arrays", "frames"])
def test_less_history_than_the_warm_up_is_a_model_error(kind: str) -> None:
    recipe: Any = (
        CallableForecaster(window, last_known, warm_up=7)
        if kind == "arrays"
        else FrameForecaster(len, lambda *_: np.zeros(4), warm_up=7)
    )
    with pytest.raises(
        ModelError, match=r"`fit` of model `mine`.*`a` is too short. Expected 7 batches"
    ):
        checked_fit(recipe, stream(), 0, 7, 1)
    fitted = checked_fit(recipe, stream(), 0, 10, 1)
    with pytest.raises(ModelError, match=r"`a` has too little history. Expected 7 .* Got 6"):
        checked_predict(fitted, stream(), 6, 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fit": 3}, r"`fit` of a model must be a function. Got 3"),
        ({"predict": None}, "`predict` of a model must be a function"),
        ({"held_out": 3}, "`held_out` of a model must be a function"),
        ({"name": ""}, "`name` of a model must be a text"),
        ({"warm_up": -1}, r"`warm_up` of model `mine` .* Got -1"),
        ({"warm_up": 1.5}, r"Got 1.5"),
        ({"mode": "weekly"}, "`mode` of model `mine`"),
    ],
)
def test_a_part_that_does_not_fit_is_explained(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        callables(**{"fit": window, "predict": last_known, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gaps": "zero"}, "`gaps` of model `mine`.*null, drop, carry"),
        ({"history": 0}, "`history`"),
    ],
)
def test_a_setting_of_frames_is_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        FrameForecaster(len, len, **settings)


def shown(**settings: Any) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the frames train, history and future of a fit on batches 8 and 9, cutoff 11."""
    seen: list[pl.DataFrame] = []

    def predict(model: pl.DataFrame, history: pl.DataFrame, future: pl.DataFrame) -> np.ndarray:
        seen.extend([model, history, future])
        return np.zeros(4)

    fitted = FrameForecaster(lambda train: train, predict, **settings).fit(stream(), 8, 10, 1)
    fitted.predict(stream(), 11, 12)
    train, history, future = seen
    return train, history, future


def test_frames_hold_the_window_the_past_and_the_future() -> None:
    train, history, future = shown(exogenous=("warm", "wet"))
    assert train.columns == history.columns == ["unique_id", "ds", "y", "warm", "wet"]
    assert future.columns == ["unique_id", "ds", "warm", "wet"]
    assert train["y"].to_list() == [32, 33, 34, 35, 36, 37, 38, None]
    assert train["warm"].null_count() == 1
    assert history.height == 44
    assert history["ds"].max() < future["ds"].min()
    assert str(future["ds"][0]) == "2024-01-12 00:00:00"
    assert future["wet"].to_list() == [440, 450, 460, 470]
    assert set(future["unique_id"]) == {"a"}


def test_gaps_are_dropped_or_carried_on_request() -> None:
    assert shown(gaps="drop")[0].height == 7
    carried = shown(gaps="carry")[0]
    assert carried.columns[-2:] == ["x1", "x2"]
    assert carried["y"].to_list()[-1] == 11
    assert carried.null_count().sum_horizontal().item() == 0


def test_history_is_cut_on_request() -> None:
    assert shown(history=2)[1]["y"].to_list()[-4:] == [40, 41, 42, 43]
    assert shown(history=2)[1].height == 8


def test_a_fit_that_asks_for_a_seed_is_given_it() -> None:
    recipe = FrameForecaster(lambda train, seed: seed, lambda *_: np.zeros(4))
    assert recipe.fit(stream(), 8, 10, 77).model == 77


def test_names_of_exogenous_columns_that_do_not_fit_are_a_model_error() -> None:
    with pytest.raises(ModelError, match=r"stream `a`. Expected 2 names. Got 1: warm"):
        checked_fit(FrameForecaster(len, len, exogenous=("warm",)), stream(), 8, 10, 1)


def frame(answer: Any) -> np.ndarray:
    """Return forecasts of batch 11 by a function that makes its answer of ``future``."""
    recipe = FrameForecaster(len, lambda model, history, future: answer(future), "mine")
    return checked_predict(checked_fit(recipe, stream(), 8, 10, 1), stream(), 11, 12, "mine")


@pytest.mark.parametrize(
    "answer",
    [
        lambda future: np.arange(4),
        lambda future: [0, 1, 2, 3],
        lambda future: pl.Series([0, 1, 2, 3]),
        lambda future: pd.Series([0, 1, 2, 3]),
        lambda future: future.select("unique_id", "ds", y_hat=pl.Series([0, 1, 2, 3])),
        lambda future: future.select(y_hat=pl.Series([0, 1, 2, 3])),
        lambda future: pd.DataFrame({"ds": future["ds"].to_numpy(), "y_hat": [0, 1, 2, 3]}),
    ],
)
def test_arrays_series_and_frames_are_answers(answer: Any) -> None:
    assert frame(answer).tolist() == [[0, 1, 2, 3]]


def raises(future: pl.DataFrame) -> None:
    raise KeyError("temperature")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda future: np.zeros(3),
            r"stream `a` at cutoff 2024-01-12T00:00 .*Expected 4 values.*Got 3",
        ),
        (lambda future: future.head(3).with_columns(y_hat=0.0), r"Expected 4 values.*Got 3"),
        (lambda future: np.zeros((4, 1)), r"one axis.*shape \(4, 1\)"),
        (lambda future: None, "Got NoneType"),
        (lambda future: ["a", "b", "c", "d"], "an array of numbers"),
        (lambda future: future, r"the column `y_hat`. Got the columns unique_id, ds, x1, x2"),
        (
            lambda future: future.select(pl.col("ds").dt.offset_by("6h"), y_hat=0.0),
            r"row 0 is 2024-01-12T00:00. Got 2024-01-12T06:00, and 4 of 4 rows differ",
        ),
        (
            lambda future: future.select("ds", y_hat=0.0).reverse(),
            r"stream `a`.*row 0 is 2024-01-12T00:00. Got 2024-01-12T18:00",
        ),
        (
            lambda future: future.with_columns(unique_id=pl.lit("b"), y_hat=0.0),
            "Expected this stream in `unique_id`. Got `b`",
        ),
        (lambda future: np.full(4, np.nan), "returned NaN for 4 of 4 slots"),
        (lambda future: future.with_columns(y_hat=pl.lit(None, pl.Float64)), "returned NaN"),
        (raises, "`predict` of model `mine` for stream `a`.*KeyError: 'temperature'"),
    ],
)
def test_an_answer_that_does_not_fit_names_stream_and_what_was_expected(
    answer: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        frame(answer)


class Connected:
    """A forecaster that keeps a lock in a part of it."""

    name = "connected"
    warm_up = 0

    def __init__(self) -> None:
        self.settings = {"alpha": 1}
        self.client = threading.Thread()

    def fit(self, series: Series, first: int, last: int, seed: int) -> Any:
        return callables(window, last_known).fit(series, first, last, seed)


def test_a_forecaster_that_cannot_travel_is_named_with_its_part() -> None:
    with pytest.raises(
        SettingsError, match=r"Model `connected` cannot be pickled.*Its `client\."
    ) as caught:
        check_picklable(Connected())
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(AssertionError, match="Forecaster `connected` cannot be pickled"):
        check_forecaster(Connected())


def test_a_model_that_cannot_travel_is_named_after_its_forecaster() -> None:
    recipe = callables(lambda *_: threading.Lock(), last_known, "locked")
    check_picklable(recipe)
    fitted = checked_fit(recipe, stream(), 3, 9, 1)
    with pytest.raises(SettingsError, match=r"`locked` cannot be pickled.*lock"):
        check_picklable(fitted, "locked")


def test_functions_without_a_name_travel() -> None:
    level = 3.0
    recipe = callables(
        lambda *_: level, lambda model, series, first, last: series.y[first:last] * 0 + model
    )
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(recipe)
    fitted = travelled(recipe).fit(stream(), 3, 9, 1)
    assert checked_predict(travelled(fitted), stream(), 12, 13).tolist() == [[3, 3, 3, 3]]


def test_a_pair_of_functions_that_raises_or_returns_nonsense_is_a_model_error() -> None:
    series = replace(stream(), unique_id="b")

    def broken(model: Any, series: Series, first: int, last: int) -> np.ndarray:
        raise ZeroDivisionError("by zero")

    for predict, message in [
        (broken, "`predict` of model `mine` for stream `b`.*ZeroDivisionError: by zero"),
        (lambda *_: np.zeros(4), r"shape \(2, 4\). Got shape \(4,\)"),
        (lambda *_: np.full((2, 4), np.nan), "returned NaN for 8 of 8"),
        (lambda *_: [1.0], "Got list"),
    ]:
        fitted = checked_fit(callables(window, predict), series, 3, 9, 1)
        with pytest.raises(ModelError, match=message):
            checked_predict(fitted, series, 12, 14, "mine")
    with pytest.raises(ModelError, match="`fit` of model `mine`"):
        checked_fit(callables(broken, last_known), series, 3, 9, 1)
