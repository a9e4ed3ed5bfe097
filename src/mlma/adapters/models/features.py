"""The design matrix of one stream: what a model may know of a slot when it is forecast.

Takes a series and a range of batches, gives one row per slot. Day-ahead, every lag is at least one
batch long, so that nothing at or after the cutoff is read. Next is the model.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mlma.adapters.models.calendar_terms import WEEKDAYS, calendar_columns, calendar_names
from mlma.adapters.models.memo import Memo, PastMemo
from mlma.adapters.models.rhythm import DAY, carried, day_slots
from mlma.domain.errors import SettingsError
from mlma.domain.streams import Grid, Series

Floats = NDArray[np.float64]
Mode = Literal["day_ahead", "one_step"]

MODES: tuple[Mode, ...] = ("day_ahead", "one_step")
_SEASONS = (1, 2, 3, 4, 5, 6, 7, 14, 21, 28)
_MOST_SEASONS = 8
_MEMO = Memo()
_PAST = PastMemo()


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of a slot: lags, recent level, exogenous columns, calendar.

    mode
        ``day_ahead``: every batch is forecast from its start; ``one_step``: every slot from the
        slot before it, so that lags of 1, 2 and 3 slots join.
    fill
        True: a missing lag takes the last value seen at that slot of the week (see `carried`), a
        missing exogenous value the last one seen; False: they stay NaN, for trees that know NaN.

    The columns, in order: lags; mean of the last known batch, of the batch a day before it (only
    where a batch is a part of a day) and of the last week; yesterday's value per weekday (only with
    ``fill`` and slots within the day: trees find it themselves); exogenous; calendar.
    """

    mode: Mode = "day_ahead"
    fill: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingsError(
                f"`mode` of a model must be one of {', '.join(MODES)}. Got {self.mode!r}."
            )

    def lags(self, grid: Grid) -> tuple[int, ...]:
        """Return the lags in slots.

        Whole days (slots of a day or longer: whole slots): 1 to 7, 14, 21, 28, of those the
        shortest eight that are at least one batch long. A batch longer than 28 days: one batch.

        >>> hourly = Grid(np.datetime64("2024-01-01"), np.timedelta64(1, "h"), 24, 30)
        >>> Features().lags(hourly)
        (24, 48, 72, 96, 120, 144, 168, 336)
        """
        return _lags(self.mode, grid)

    def names(self, grid: Grid, exogenous: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the names of the columns."""
        own = [f"lag{lag}" for lag in self.lags(grid)] + [name for name, _, _ in _levels(grid)]
        if self._per_weekday(grid):
            own += [f"{day}*lag{day_slots(grid)}" for day in WEEKDAYS]
        return (*own, *exogenous, *calendar_names(grid))

    def n_own(self, grid: Grid) -> int:
        """Return the number of leading columns that are in the unit of ``y``."""
        per_weekday = len(WEEKDAYS) if self._per_weekday(grid) else 0
        return len(self.lags(grid)) + len(_levels(grid)) + per_weekday

    def _per_weekday(self, grid: Grid) -> bool:
        # Yesterday tells little on a Saturday and a Monday; a linear model cannot know that from
        # the sum of both.
        return self.fill and bool(grid.step < DAY) and day_slots(grid) in self.lags(grid)

    def matrix(self, series: Series, first: int, last: int) -> Floats:
        """Return the rows of batches ``first`` to ``last - 1``.

        ``((last - first) * slots, p) float64``, read-only where it comes from the memo; no NaN
        with ``fill``. Day-ahead, rows of batch ``b`` do not depend on ``y[b:]``; one-step, the row
        of a slot does not depend on that slot or later ones. The rows are the same to the bit
        whether they are computed alone or with others.
        """
        slots, n_batches = series.y.shape[1], series.y.shape[0]
        width = self.n_own(series.grid) + series.exogenous.shape[-1]
        nbytes = 8 * (width + len(calendar_names(series.grid))) * series.y.size
        whole = _MEMO.matrix(self, series, nbytes, lambda: self._rows(series, 0, n_batches))
        if whole is not None:
            return whole[first * slots : last * slots]
        return self._rows(series, first, last)

    def _rows(self, series: Series, first: int, last: int) -> Floats:
        grid, slots = series.grid, series.y.shape[1]
        calendar = calendar_columns(grid, first * slots, last * slots)
        own, n_exogenous = self.n_own(grid), series.exogenous.shape[-1]
        out = np.empty((len(calendar), own + n_exogenous + calendar.shape[1]))
        self._write_own(out[:, :own], series, first, last)
        if self._per_weekday(grid):
            monday = calendar_names(grid).index(WEEKDAYS[0])
            weekdays = calendar[:, monday : monday + len(WEEKDAYS)]
            yesterday = out[:, self.lags(grid).index(day_slots(grid))][:, None]
            np.multiply(yesterday, weekdays, out=out[:, own - len(WEEKDAYS) : own])
        if n_exogenous:
            out[:, own : own + n_exogenous] = self._exogenous(series, first, last)
        out[:, own + n_exogenous :] = calendar
        return out

    def _write_own(self, out: Floats, series: Series, first: int, last: int) -> None:
        """Write the lags and the recent levels into the first columns of ``out``."""
        slots, lags = series.y.shape[1], self.lags(series.grid)
        y = series.y[:last].ravel()
        known, means = (
            array[: last * size]
            for array, size in zip(_PAST.arrays(series, _past), (slots, 1), strict=True)
        )
        before = np.full(lags[-1], 0.0 if self.fill else np.nan)
        start = max(first * slots - lags[-1], 0)
        past = np.concatenate([before, (known if self.fill else y)[start:]])
        for column, lag in enumerate(lags):
            shift = lags[-1] - lag - start
            out[:, column] = past[first * slots + shift : last * slots + shift]
        for column, (_, back, span) in enumerate(_levels(series.grid), start=len(lags)):
            out[:, column] = np.repeat(_recent_mean(means, first, last, back, span), slots)

    def _exogenous(self, series: Series, first: int, last: int) -> Floats:
        columns = series.exogenous[:last].reshape(-1, series.exogenous.shape[-1])
        if self.fill:
            columns = np.stack([carried(column, series.grid) for column in columns.T], axis=1)
        return columns[first * series.y.shape[1] :]


def training_rows(series: Series, features: Features, first: int, last: int) -> NDArray[np.bool_]:
    """Return which rows of batches ``first`` to ``last - 1`` a model is trained on.

    ``((last - first) * slots,) bool``: those whose target is observed. Rows whose longest lag lies
    before the stream's first value know less than any later row will; they are left out as long as
    half of the rows remain.
    """
    slots = series.y.shape[1]
    observed = np.isfinite(series.y[first:last]).ravel()
    seen = np.isfinite(series.y[:last]).ravel()
    born = int(seen.argmax()) if seen.any() else 0
    grown = born + features.lags(series.grid)[-1] - first * slots
    if grown <= 0:
        return observed
    full = observed.copy()
    full[:grown] = False
    return full if 2 * full.sum() >= observed.sum() else observed


@lru_cache(maxsize=64)
def _lags(mode: Mode, grid: Grid) -> tuple[int, ...]:
    season = day_slots(grid)
    shortest = grid.slots if mode == "day_ahead" else 1
    days = [k * season for k in _SEASONS if k * season >= shortest][:_MOST_SEASONS]
    recent = (1, 2, 3) if mode == "one_step" else ()
    return tuple(sorted({*days, *recent})) or (grid.slots,)


@lru_cache(maxsize=64)
def _levels(grid: Grid) -> tuple[tuple[str, int, int], ...]:
    """Return the recent means: name, batches between it and the cutoff, batches in it."""
    slots, season = grid.slots, day_slots(grid)
    levels = [("last_batch", 0, 1)]
    if slots < season and season % slots == 0:
        levels.append(("same_batch_yesterday", season // slots, 1))
    span = -(-7 * season // slots)
    levels.append(("last_week", 0, span) if span > 1 else ("last_four_batches", 0, 4))
    return tuple(levels)


def _past(series: Series) -> tuple[Floats, Floats]:
    """Return the values carried over gaps and their batch means; both are causal."""
    known = carried(series.y.ravel(), series.grid)
    known = known.copy() if np.shares_memory(known, series.y) else known
    return known, known.reshape(series.y.shape).mean(axis=1)


def _recent_mean(means: Floats, first: int, last: int, back: int, span: int) -> Floats:
    """Return for each batch the mean of ``span`` batch means that end ``back`` batches before it.

    ``(last - first,) float64``; batches before the start do not count, 0 where there is none.
    """
    padded = np.concatenate([np.zeros(back + span), means])
    windows = np.ascontiguousarray(sliding_window_view(padded, span)[first:last])
    count = np.clip(np.arange(first, last) - back, 1, span)
    return np.asarray(windows.sum(axis=1) / count)
