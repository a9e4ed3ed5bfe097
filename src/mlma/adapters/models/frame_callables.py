"""Two functions that read data frames, as a forecaster.

Takes a function that trains on a frame and one that forecasts a frame of the future, gives a recipe
of the port: frames go in, what comes out is matched slot by slot. Next is the guard.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.models.callables import check_history, check_parts, first_batch
from mlma.adapters.models.rhythm import carried
from mlma.domain.errors import ModelError, SettingsError
from mlma.domain.streams import Series

Floats = NDArray[np.float64]
Gaps = Literal["null", "drop", "carry"]
GAPS: tuple[Gaps, ...] = ("null", "drop", "carry")


class FrameForecaster:
    """Two functions of yours that read polars frames: one trains, one forecasts from one cutoff.

    Parameters
    ----------
    fit
        ``fit(train)`` returns a model, any object. ``train`` has the columns ``unique_id``, ``ds``
        (wall clock), ``y`` and the exogenous ones; one row per slot of the training window. It is
        called ``fit(train, seed=...)`` if it has a parameter ``seed``.
    predict
        ``predict(model, history, future)`` is called once per cutoff. ``history`` has the columns
        of ``train`` and ends before the cutoff; ``future`` has ``unique_id``, ``ds`` and the
        exogenous columns, one row per slot to be forecast. Returns one value per row of
        ``future``, as an array, a list or a series; or a frame (polars or pandas) with ``y_hat``,
        and if it has ``ds`` or ``unique_id``, they must be those of ``future``, in its order.
    name
        for tables and messages.
    warm_up
        batches that must lie before whatever is trained on or forecast, as in
        `CallableForecaster`.
    exogenous
        names of the exogenous columns, in the order of the history; default: ``x1``, ``x2``, ...
    gaps
        what stands for a missing ``y``: ``null``; ``drop``: the row is left out; ``carry``: the
        last value seen at that slot of the week (see `carried`; exogenous ones likewise).
    history
        batches before the cutoff that ``predict`` is given; None = all.

    Raises
    ------
    SettingsError
        A function is not callable, or a setting is out of range.

    >>> from mlma.domain.streams import Grid
    >>> grid = Grid(np.datetime64("2024-01-01"), np.timedelta64(1, "D"), 1, 10)
    >>> series = Series("a", grid, np.arange(10.0).reshape(10, 1), np.empty((10, 1, 0)))
    >>> last = FrameForecaster(
    ...     fit=lambda train: None,
    ...     predict=lambda model, history, future: history["y"].tail(future.height),
    ...     name="last",
    ... )
    >>> last.fit(series, 0, 9, seed=1).predict(series, 9, 10)
    array([[8.]])
    """

    mode = "day_ahead"

    def __init__(
        self,
        fit: Callable[..., Any],
        predict: Callable[[Any, pl.DataFrame, pl.DataFrame], Any],
        name: str = "mine",
        *,
        warm_up: int = 0,
        exogenous: Sequence[str] = (),
        gaps: Gaps = "null",
        history: int | None = None,
    ) -> None:
        check_parts(name, warm_up, "day_ahead", fit=fit, predict=predict)
        if gaps not in GAPS:
            raise SettingsError(
                f"`gaps` of model `{name}` must be one of {', '.join(GAPS)}. Got {gaps!r}."
            )
        if history is not None and (not isinstance(history, int) or history < 1):
            raise SettingsError(
                f"`history` of model `{name}` must be a number of batches, 1 or more, or None for "
                f"all. Got {history!r}."
            )
        self.name, self.warm_up = name, warm_up
        self._fit, self._predict = fit, predict
        self._frames = _Frames(tuple(exogenous), gaps, history)
        self._seeded = _has_a_seed(fit)

    def __repr__(self) -> str:
        return f"FrameForecaster(name={self.name!r}, warm_up={self.warm_up})"

    def fit(self, series: Series, first: int, last: int, seed: int) -> "FittedFrames":
        """Return your model of batches ``first`` to ``last - 1``; see `mlma.ports`.

        Raises
        ------
        ModelError
            No batch of the window has ``warm_up`` batches before it, or ``exogenous`` has another
            number of names than there are columns.
        """
        first = first_batch(self.warm_up, series, first, last)
        train = self._frames.observed(series, first, last)
        model = self._fit(train, seed=seed) if self._seeded else self._fit(train)
        return FittedFrames(self._frames, self._predict, self.warm_up, model)


@dataclass(frozen=True, slots=True)
class FittedFrames:
    """What your ``fit`` returned, and the function that forecasts with it."""

    frames: "_Frames"
    predict_with: Callable[[Any, pl.DataFrame, pl.DataFrame], Any]
    warm_up: int
    model: Any

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return forecasts of batches ``first`` to ``last - 1``, ``(last - first, slots)``.

        Raises
        ------
        ModelError
            An answer has another length or other slots than ``future``.
        """
        check_history(self.warm_up, series, first)
        return np.stack([self._one(series, batch) for batch in range(first, last)])

    def held_out(self, series: Series, first: int, last: int) -> None:
        """Return None: it would take another fit."""
        return

    def _one(self, series: Series, batch: int) -> Floats:
        future = self.frames.future(series, batch)
        history = self.frames.before(series, batch)
        return _matched(self.predict_with(self.model, history, future), future)


@dataclass(frozen=True, slots=True)
class _Frames:
    """How a series is shown as frames."""

    exogenous: tuple[str, ...]
    gaps: Gaps
    history: int | None

    def before(self, series: Series, batch: int) -> pl.DataFrame:
        first = 0 if self.history is None else max(batch - self.history, 0)
        return self.observed(series, first, batch)

    def observed(self, series: Series, first: int, last: int) -> pl.DataFrame:
        """Return ``unique_id``, ``ds``, ``y`` and exogenous columns; null = missing."""
        y = series.y[:last].ravel()
        if self.gaps == "carry":
            y = carried(y, series.grid)
        y = y[first * series.grid.slots :]
        frame = self._known(series, first, last)
        frame.insert_column(2, pl.Series("y", y, nan_to_null=True))
        return frame.drop_nulls("y") if self.gaps == "drop" else frame

    def future(self, series: Series, batch: int) -> pl.DataFrame:
        """Return ``unique_id``, ``ds`` and exogenous columns of one batch."""
        return self._known(series, batch, batch + 1)

    def _known(self, series: Series, first: int, last: int) -> pl.DataFrame:
        slots = series.grid.slots
        times = series.grid.start + series.grid.step * np.arange(first * slots, last * slots)
        frame = pl.DataFrame({"ds": times.astype("datetime64[us]")})
        frame.insert_column(
            0, pl.repeat(series.unique_id, len(times), eager=True).alias("unique_id")
        )
        columns = (series.exogenous[:last, :, k].ravel() for k in range(series.exogenous.shape[-1]))
        return frame.with_columns(
            pl.Series(name, self._filled(column, series)[first * slots :], nan_to_null=True)
            for name, column in zip(self._names(series), columns, strict=True)
        )

    def _filled(self, column: Floats, series: Series) -> Floats:
        return carried(column, series.grid) if self.gaps == "carry" else column

    def _names(self, series: Series) -> tuple[str, ...]:
        n = series.exogenous.shape[-1]
        if self.exogenous and len(self.exogenous) != n:
            raise ModelError(
                f"`exogenous` must name every exogenous column of stream `{series.unique_id}`. "
                f"Expected {n} names. Got {len(self.exogenous)}: {', '.join(self.exogenous)}."
            )
        return self.exogenous or tuple(f"x{number}" for number in range(1, n + 1))


def _has_a_seed(fit: Callable[..., Any]) -> bool:
    try:
        return "seed" in inspect.signature(fit).parameters
    except ValueError:  # a function written in C that does not tell
        return False


def _matched(answer: Any, future: pl.DataFrame) -> Floats:
    """Return the forecasts in an answer, ``(slots,) float64``, checked against ``future``."""
    told = nw.from_native(answer, eager_only=True, pass_through=True)
    if isinstance(told, nw.DataFrame):
        if "y_hat" not in told.columns:
            columns = ", ".join(told.columns) or "none"
            raise _mismatch(future, "a frame with the column `y_hat`", f"the columns {columns}")
        _check_length(len(told), future)
        _check_index(told, future)
        answer = told["y_hat"].to_numpy()
    values = np.asarray(answer)
    if values.dtype.kind not in "fiu" or values.ndim != 1:
        raise _mismatch(
            future,
            "an array of numbers with one axis, or a frame with `y_hat`",
            f"{type(answer).__name__}, shape {values.shape}, {values.dtype}",
        )
    _check_length(len(values), future)
    return values.astype(np.float64)


def _check_length(got: int, future: pl.DataFrame) -> None:
    if got != future.height:
        raise _mismatch(future, f"{future.height} values, one per row of `future`", str(got))


def _check_index(told: "nw.DataFrame[Any]", future: pl.DataFrame) -> None:
    if "unique_id" in told.columns:
        strangers = set(told["unique_id"].to_list()) - {future["unique_id"][0]}
        if strangers:
            raise _mismatch(future, "this stream in `unique_id`", f"`{min(map(str, strangers))}`")
    if "ds" in told.columns:
        asked, got = future["ds"].to_numpy(), told["ds"].to_numpy()
        other = [
            place
            for place, (a, b) in enumerate(zip(asked, got, strict=True))
            if a != np.datetime64(b)
        ]
        if other:
            row = other[0]
            raise _mismatch(
                future,
                f"`ds` as in `future`: row {row} is {_minute(asked[row])}",
                f"{_minute(got[row])}, and {len(other)} of {len(asked)} rows differ",
            )


def _minute(time: Any) -> str:
    return str(np.datetime_as_string(np.datetime64(time).astype("datetime64[us]"), "m"))


def _mismatch(future: pl.DataFrame, expected: str, got: str) -> ModelError:
    stream, cutoff = future["unique_id"][0], _minute(future["ds"].to_numpy()[0])
    return ModelError(
        f"The answer for stream `{stream}` at cutoff {cutoff} does not fit. "
        f"Expected {expected}. Got {got}."
    )
