"""What every forecaster must keep to, as a check that users run on their own.

Takes a forecaster, fits it on small synthetic streams, and says which promise it breaks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.features import Mode
from mlma.adapters.models.guard import (
    checked_fit,
    checked_held_out,
    checked_predict,
    travelled,
)
from mlma.domain.errors import ModelError, SettingsError
from mlma.domain.streams import Grid, Series
from mlma.ports import Forecaster

Floats = NDArray[np.float64]

_FIRST, _LAST, _N = 21, 49, 56  # training window and number of batches of the synthetic streams
_GARBAGE = 100.0  # a forecast this many times the largest value is none


def check_forecaster(forecaster: Forecaster, mode: Mode | None = None, seed: int = 1) -> None:
    """Check that a forecaster keeps the promises of `mlma.ports.Forecaster`.

    Hourly synthetic streams with daily batches, seeded: plain, with a hole of two weeks, all zero,
    with exogenous columns, a training window of two batches, and a history of one to three batches,
    which a model may refuse by a ``ModelError``.

    Parameters
    ----------
    mode
        ``day_ahead`` (nothing from the batch's start on may be read) or ``one_step`` (nothing from
        the slot on); default: the forecaster's own ``mode``, else ``day_ahead``.

    Raises
    ------
    AssertionError
        A promise is broken; the message says which.
    ModelError
        The forecaster raised, or returned something that is not a forecast.

    >>> from mlma.adapters.models.seasonal_naive import SeasonalNaive
    >>> check_forecaster(SeasonalNaive())
    """
    own: Mode = getattr(forecaster, "mode", "day_ahead")
    check = _Check(forecaster, mode or own, seed, _stream())
    check.has_a_name_and_a_warm_up()
    check.leaves_the_series_alone()
    check.repeats_itself_to_the_bit()
    check.pickles()
    check.forecasts_the_same_in_any_chunks()
    check.fit_reads_nothing_after_its_window()
    check.predict_reads_nothing_after_the_cutoff()
    check.held_out_has_the_shape_of_forecasts()
    hole = check.stream.y.copy()
    hole[_FIRST + 7 : _FIRST + 21] = np.nan
    check.survives(hole, _FIRST, _LAST)
    check.survives(np.zeros_like(hole), _FIRST, _LAST)
    check.survives(check.stream.y, _LAST - 2, _LAST)
    check.survives(check.stream.y, _FIRST, _LAST, _columns())
    check.refuses_or_forecasts_a_short_history()


@dataclass(frozen=True, slots=True)
class _Check:
    forecaster: Forecaster
    mode: Mode
    seed: int
    stream: Series

    def forecasts(self, trained_on: Series, read: Series | None = None) -> Floats:
        fitted = checked_fit(self.forecaster, trained_on, _FIRST, _LAST, self.seed)
        name = self.forecaster.name
        return checked_predict(fitted, read or trained_on, _LAST, _LAST + 1, name)

    def require(self, kept: bool, promise: str) -> None:
        if not kept:
            raise AssertionError(f"Forecaster `{self.forecaster.name}` {promise}.")

    def has_a_name_and_a_warm_up(self) -> None:
        name, warm_up = self.forecaster.name, self.forecaster.warm_up
        self.require(isinstance(name, str) and name != "", "has no name")
        good = isinstance(warm_up, int) and warm_up >= 0
        self.require(good, f"must have a number of batches as `warm_up`. Got {warm_up!r}")

    def repeats_itself_to_the_bit(self) -> None:
        same = np.array_equal(self.forecasts(self.stream), self.forecasts(self.stream))
        self.require(same, "forecasts differently when it is fitted again with the same seed")

    def leaves_the_series_alone(self) -> None:
        copy = replace(self.stream, y=self.stream.y.copy(), exogenous=_columns())
        self.forecasts(copy)
        same = np.array_equal(copy.y, self.stream.y)
        same = same and np.array_equal(copy.exogenous, _columns(), equal_nan=True)
        self.require(same, "changes the series that it is given")

    def pickles(self) -> None:
        forecaster: Forecaster = self._travelled(self.forecaster, "")
        fitted = checked_fit(forecaster, self.stream, _FIRST, _LAST, self.seed)
        again = self._travelled(fitted, "fits a model that ")
        out = checked_predict(again, self.stream, _LAST, _LAST + 1, forecaster.name)
        same = np.array_equal(out, self.forecasts(self.stream))
        self.require(same, "forecasts differently after pickling")

    def _travelled(self, thing: Any, whose: str) -> Any:
        """Return what arrives in a worker process."""
        try:
            return travelled(thing, self.forecaster.name)
        except SettingsError as error:
            promise = f"{whose}cannot be pickled: {error}"
            raise AssertionError(f"Forecaster `{self.forecaster.name}` {promise}") from error

    def forecasts_the_same_in_any_chunks(self) -> None:
        fitted = checked_fit(self.forecaster, self.stream, _FIRST, _LAST, self.seed)
        name, batches = self.forecaster.name, range(_LAST, _LAST + 4)
        whole = checked_predict(fitted, self.stream, _LAST, batches.stop, name)
        backwards = [checked_predict(fitted, self.stream, b, b + 1, name)[0] for b in batches[::-1]]
        same = np.allclose(whole, backwards[::-1], rtol=1e-9, atol=1e-9)
        promise = "forecasts a batch differently when it is asked for alone, or after later ones"
        self.require(same, promise)

    def fit_reads_nothing_after_its_window(self) -> None:
        expected = self.forecasts(self.stream)
        for change in _CHANGES:
            got = self.forecasts(self._later(_LAST, 0, change), read=self.stream)
            same = np.array_equal(expected, got)
            self.require(same, "reads values at or after the cutoff: the end of the window")

    def predict_reads_nothing_after_the_cutoff(self) -> None:
        fitted = checked_fit(self.forecaster, self.stream, _FIRST, _LAST, self.seed)
        slots = (0,) if self.mode == "day_ahead" else (0, 1, 11, 23)
        name = self.forecaster.name
        for batch in (_LAST, _LAST + 3):
            expected = checked_predict(fitted, self.stream, batch, batch + 1, name)[0]
            for slot, change in ((slot, change) for slot in slots for change in _CHANGES):
                later = self._later(batch, slot, change)
                got = checked_predict(fitted, later, batch, batch + 1, name)[0]
                until = None if self.mode == "day_ahead" else slot + 1
                same = np.array_equal(expected[:until], got[:until])
                self.require(same, f"reads values at or after the cutoff in mode {self.mode}")

    def held_out_has_the_shape_of_forecasts(self) -> None:
        fitted = checked_fit(self.forecaster, self.stream, _FIRST, _LAST, self.seed)
        checked_held_out(fitted, self.stream, _LAST - 7, _LAST, self.forecaster.name)

    def survives(self, y: Floats, first: int, last: int, exogenous: Floats | None = None) -> None:
        columns = self.stream.exogenous if exogenous is None else exogenous
        stream = replace(self.stream, y=y, exogenous=columns)
        fitted = checked_fit(self.forecaster, stream, first, last, self.seed)
        checked_predict(fitted, stream, last, _N, self.forecaster.name)

    def refuses_or_forecasts_a_short_history(self) -> None:
        largest = float(np.abs(self.stream.y).max())
        for last in (1, 2, 3):
            try:
                fitted = checked_fit(self.forecaster, self.stream, 0, last, self.seed)
                out = checked_predict(fitted, self.stream, last, last + 1, self.forecaster.name)
            except ModelError:
                continue
            promise = (
                f"forecasts {float(np.abs(out).max()):.3g} from a history of {last} batches whose "
                f"largest value is {largest:.3g}, instead of raising a ModelError"
            )
            self.require(bool(np.abs(out).max() <= _GARBAGE * largest), promise)

    def _later(self, batch: int, slot: int, change: Callable[[Floats], Floats]) -> Series:
        y = self.stream.y.copy()
        flat = y.reshape(-1)
        start = batch * y.shape[1] + slot
        flat[start:] = change(flat[start:])
        return replace(self.stream, y=y)


_CHANGES: tuple[Callable[[Floats], Floats], ...] = (
    lambda y: 1000.0 - 3.0 * y,
    lambda y: np.full_like(y, np.nan),
)


def _columns() -> Floats:
    """Return exogenous columns: a useful one with gaps, a constant one, ``(n, 24, 2)``."""
    useful = np.random.default_rng(8).normal(size=(_N, 24))
    useful[_FIRST + 3, 5:9] = np.nan
    useful[_LAST + 1, 5:9] = np.nan
    return np.stack([useful, np.ones_like(useful)], axis=2)


def _stream() -> Series:
    """Return an hourly stream with a daily pattern, quiet weekends and seeded noise."""
    grid = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(3600 * 10**6, "us"), 24, _N)
    day = 50.0 + 40.0 * np.sin(2 * np.pi * (np.arange(24) - 8) / 24)
    weekend = np.where(np.arange(_N) % 7 >= 5, 0.6, 1.0)
    noise = np.random.default_rng(7).gamma(20.0, 1 / 20.0, size=(_N, 24))
    y = np.outer(weekend, day) * noise
    return Series("synthetic", grid, y, np.empty((_N, 24, 0)))
