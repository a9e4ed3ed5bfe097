"""What every shared forecaster must keep to, as a check that users run on their own.

Takes a shared forecaster, fits it on small synthetic streams, and says which promise it breaks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.features import Mode
from mlma.adapters.models.guard import checked_held_out, checked_predict, travelled
from mlma.adapters.models.shared_guard import checked_fit_shared, checked_predict_many
from mlma.domain.errors import ModelError, SettingsError
from mlma.domain.streams import Grid, Series
from mlma.ports import SharedForecaster, SharedModel

Floats = NDArray[np.float64]

_FIRST, _LAST, _N = 21, 49, 56  # training window and number of batches of the synthetic streams


def check_shared_forecaster(
    forecaster: SharedForecaster, mode: Mode | None = None, seed: int = 1
) -> None:
    """Check that a shared forecaster keeps the promises of `mlma.ports.SharedForecaster`.

    Hourly synthetic streams with daily batches, seeded: plain ones of different size, one with a
    hole of two weeks, one all zero, one born late in the training window and one after it, and one
    that the model was not trained on; the same with exogenous columns, and with a training window
    of two batches.

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
        The forecaster raised, or returned something that is not a forecast; it names the streams.

    >>> from sklearn.linear_model import Ridge
    >>> from mlma.adapters.models.shared import SharedSklearn
    >>> check_shared_forecaster(SharedSklearn(Ridge()))
    """
    own: Mode = getattr(forecaster, "mode", "day_ahead")
    check = _Check(forecaster, mode or own, seed, tuple(_members()), _stranger())
    check.has_a_name_and_a_warm_up()
    check.leaves_the_members_alone()
    model = check.fitted()
    check.repeats_itself_to_the_bit(model)
    check.pickles(model)
    check.forecasts_each_as_all(model)
    check.forecasts_the_same_in_any_chunks(model)
    check.fit_reads_nothing_after_its_window(model)
    for member in (check.members[0], check.members[-1], check.stranger):
        check.predict_reads_nothing_after_the_cutoff(model, member)
    checked_held_out(model, check.members[0], _LAST - 7, _LAST, forecaster.name)
    check.fits_one_member()
    check.fits_a_window_of_two_batches()
    check.takes_exogenous_columns()
    check.refuses_members_of_which_nothing_is_known()


@dataclass(frozen=True, slots=True)
class _Check:
    forecaster: SharedForecaster
    mode: Mode
    seed: int
    members: tuple[Series, ...]
    stranger: Series

    def fitted(self, members: Sequence[Series] | None = None) -> SharedModel:
        some = self.members if members is None else members
        return checked_fit_shared(self.forecaster, some, _FIRST, _LAST, self.seed)

    def all(self, model: SharedModel, first: int = _LAST, last: int = _LAST + 1) -> Floats:
        everyone = (*self.members, self.stranger)
        return checked_predict_many(model, everyone, first, last, self.forecaster.name)

    def one(self, model: SharedModel, member: Series, first: int, last: int) -> Floats:
        return checked_predict(model, member, first, last, self.forecaster.name)

    def require(self, kept: bool, promise: str) -> None:
        if not kept:
            raise AssertionError(f"Shared forecaster `{self.forecaster.name}` {promise}.")

    def has_a_name_and_a_warm_up(self) -> None:
        name, warm_up = self.forecaster.name, self.forecaster.warm_up
        self.require(isinstance(name, str) and name != "", "has no name")
        good = isinstance(warm_up, int) and warm_up >= 0
        self.require(good, f"must have a number of batches as `warm_up`. Got {warm_up!r}")

    def leaves_the_members_alone(self) -> None:
        copies = [replace(one, y=one.y.copy()) for one in self.members]
        self.all(self.fitted(copies))
        for mine, theirs in zip(self.members, copies, strict=True):
            same = np.array_equal(mine.y, theirs.y, equal_nan=True)
            self.require(same, f"changes stream `{mine.unique_id}` that it is given")

    def repeats_itself_to_the_bit(self, model: SharedModel) -> None:
        same = np.array_equal(self.all(model), self.all(self.fitted()))
        self.require(same, "forecasts differently when it is fitted again with the same seed")
        same = np.array_equal(self.all(model), self.all(model))
        self.require(same, "forecasts differently when it is asked again")

    def pickles(self, model: SharedModel) -> None:
        try:
            travelled(self.forecaster, self.forecaster.name)
            again: Any = travelled(model, self.forecaster.name)
        except SettingsError as error:
            raise AssertionError(f"Shared forecaster cannot be pickled: {error}") from error
        same = np.array_equal(self.all(again), self.all(model))
        self.require(same, "forecasts differently after pickling")

    def forecasts_each_as_all(self, model: SharedModel) -> None:
        everyone = (*self.members, self.stranger)
        for row, member in zip(self.all(model, _LAST, _LAST + 3), everyone, strict=True):
            alone = self.one(model, member, _LAST, _LAST + 3)
            promise = f"forecasts stream `{member.unique_id}` differently alone than with others"
            self.require(_alike(row, alone), promise)

    def forecasts_the_same_in_any_chunks(self, model: SharedModel) -> None:
        whole = self.all(model, _LAST, _N)
        batches = range(_N - 1, _LAST - 1, -1)
        alone = np.concatenate([self.all(model, b, b + 1) for b in batches][::-1], axis=1)
        promise = "forecasts a batch differently when it is asked for alone, or after later ones"
        self.require(_alike(whole, alone), promise)

    def fit_reads_nothing_after_its_window(self, model: SharedModel) -> None:
        expected = self.all(model)
        for change in _CHANGES:
            later = [_later(one, _LAST, 0, change) for one in self.members]
            same = np.array_equal(expected, self.all(self.fitted(later)))
            self.require(same, "reads values at or after the cutoff: the end of the window")

    def predict_reads_nothing_after_the_cutoff(self, model: SharedModel, member: Series) -> None:
        slots = (0,) if self.mode == "day_ahead" else (0, 1, 11, 23)
        for batch in (_LAST, _LAST + 3):
            expected = self.one(model, member, batch, batch + 1)[0]
            for slot, change in ((slot, change) for slot in slots for change in _CHANGES):
                later = _later(member, batch, slot, change)
                got = self.one(model, later, batch, batch + 1)[0]
                until = None if self.mode == "day_ahead" else slot + 1
                same = np.array_equal(expected[:until], got[:until])
                promise = f"reads values at or after the cutoff in mode {self.mode}"
                self.require(same, f"{promise}, of stream `{member.unique_id}`")

    def fits_one_member(self) -> None:
        model = self.fitted(self.members[:1])
        self.one(model, self.members[0], _LAST, _N)
        self.all(model)

    def fits_a_window_of_two_batches(self) -> None:
        first, seed = _LAST - 2, self.seed
        self.all(checked_fit_shared(self.forecaster, self.members, first, _LAST, seed), _LAST, _N)

    def takes_exogenous_columns(self) -> None:
        columns = _columns()
        some = [replace(one, exogenous=columns.copy()) for one in self.members]
        model = self.fitted(some)
        stranger = replace(self.stranger, exogenous=columns)
        checked_predict_many(model, [*some, stranger], _LAST, _N, self.forecaster.name)
        same = all(np.array_equal(one.exogenous, columns, equal_nan=True) for one in some)
        self.require(same, "changes the exogenous columns that it is given")

    def refuses_members_of_which_nothing_is_known(self) -> None:
        unknown = [replace(one, y=np.full_like(one.y, np.nan)) for one in self.members]
        try:
            self.forecaster.fit_shared(unknown, _FIRST, _LAST, self.seed)
        except ModelError:
            return
        self.require(False, "must raise a ModelError where no member has a usable row")


def _alike(one: Floats, other: Floats) -> bool:
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-9))


def _later(member: Series, batch: int, slot: int, change: Callable[[Floats], Floats]) -> Series:
    """Return the member with other values from a slot on."""
    y = member.y.copy()
    flat = y.reshape(-1)
    start = batch * y.shape[1] + slot
    flat[start:] = change(flat[start:])
    return replace(member, y=y)


_CHANGES: tuple[Callable[[Floats], Floats], ...] = (
    lambda y: 1000.0 - 3.0 * y,
    lambda y: np.full_like(y, np.nan),
)


def _members() -> list[Series]:
    """Return the members: plain ones, and those that make trouble."""
    plain = [_stream(name, size, k) for k, (name, size) in enumerate(_SIZES.items())]
    hole, dead, late, unborn = (
        _stream(name, 20.0, 10 + k) for k, name in enumerate(("hole", "dead", "late", "unborn"))
    )
    hole.y[_FIRST + 7 : _FIRST + 21] = np.nan
    dead.y[:] = 0.0
    late.y[: _LAST - 3] = np.nan
    unborn.y[: _LAST + 2] = np.nan
    return [*plain, hole, dead, late, unborn]


def _columns() -> Floats:
    """Return exogenous columns: a useful one with gaps, a constant one, ``(n, 24, 2)``."""
    useful = np.random.default_rng(8).normal(size=(_N, 24))
    useful[_FIRST + 3, 5:9] = np.nan
    useful[_LAST + 1, 5:9] = np.nan
    return np.stack([useful, np.ones_like(useful)], axis=2)


_SIZES = {"small": 0.01, "middle": 1.0, "large": 1000.0}


def _stranger() -> Series:
    return _stream("stranger", 7.0, 20)


def _stream(name: str, size: float, seed: int) -> Series:
    """Return an hourly stream with a daily pattern, quiet weekends and seeded noise."""
    grid = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(3600 * 10**6, "us"), 24, _N)
    day = 50.0 + 40.0 * np.sin(2 * np.pi * (np.arange(24) - 8) / 24)
    weekend = np.where(np.arange(_N) % 7 >= 5, 0.6, 1.0)
    noise = np.random.default_rng(seed).gamma(20.0, 1 / 20.0, size=(_N, 24))
    return Series(name, grid, size * np.outer(weekend, day) * noise, np.empty((_N, 24, 0)))
