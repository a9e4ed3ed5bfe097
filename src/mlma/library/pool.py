"""`mlma.ForecastPool`: forecasts of several models become one, for people who bring the forecasts.

Takes wide frames as Nixtla's libraries make them (one column per model), gives one forecast per
row; later takes the actuals and learns which model to trust, per stream and time of the week.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from os import PathLike
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.frames.columns import as_floats, read_ids, read_numbers, require
from mlma.adapters.frames.native import like
from mlma.adapters.frames.opening import Opened, open_frame
from mlma.adapters.frames.times import read_times
from mlma.domain.durations import duration, duration_text
from mlma.domain.errors import DataError, SettingsError, StateError
from mlma.domain.leftovers import LeftOut
from mlma.domain.pools import EMPTY, PoolState
from mlma.library.archives import read_columns, write_columns
from mlma.stats.calendar import slot_class_count, slot_classes
from mlma.stats.losses import loss_from
from mlma.stats.pool import entered, rule_from
from mlma.steps.pool import learnt_means

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FORMAT = "pool 1"


@dataclass(frozen=True, slots=True)
class _Rows:
    """A frame as arrays: stream and slot class per row, forecasts ``(n_rows, n_members)``."""

    opened: Opened
    row: Ints
    kind: NDArray[np.int8]
    forecasts: Floats


class ForecastPool:
    """Combines the forecasts of several models, with weights that follow their recent losses.

    Every stream has its own weights, one set per block of three hours on working days and on
    weekends (slots of a day or longer: working days and weekends). A model may come and go: a
    column that is missing, or a forecast that is missing, is asleep; one that is new starts with
    the mean weight of the others.

    Parameters
    ----------
    combine
        ``fixed_share``, ``exponential``, ``select`` or ``mean``: see `mlma.MLMA`.
    loss
        loss in which the models are compared: the one that is reported.
    slot
        length of a slot.
    learning_rate, share, half_life
        settings of the rule.
    unique_id, ds, y
        column names.

    >>> from datetime import datetime
    >>> pool = ForecastPool(slot="1d")
    >>> for day in range(1, 11):
    ...     frame = pl.DataFrame(
    ...         {"unique_id": ["a"], "ds": [datetime(2024, 1, day)], "good": [1.1], "bad": [3.0]}
    ...     )
    ...     combined = pool.combine(frame)
    ...     pool = pool.update(frame.with_columns(y=1.0))
    >>> print(combined["y_hat"].round(2)[0])
    1.12
    """

    def __init__(
        self,
        combine: str = "fixed_share",
        *,
        loss: Any = "absolute",
        slot: str | timedelta = "1h",
        learning_rate: float = 1.0,
        share: float = 0.02,
        half_life: float = 7.0,
        unique_id: str = "unique_id",
        ds: str = "ds",
        y: str = "y",
    ) -> None:
        self._settings = {
            **{"combine": combine, "loss": loss, "slot": duration_text(duration(slot, "slot"))},
            **{"learning_rate": learning_rate, "share": share, "half_life": half_life},
            **{"unique_id": unique_id, "ds": ds, "y": y},
        }
        self.rule = rule_from(combine, learning_rate, share, half_life)
        self.loss = loss_from(loss)
        if self.loss.needs_scale:
            raise SettingsError(
                f"The loss `{self.loss.name}` needs the scale of a history, which `ForecastPool` "
                f"has not. Hint: loss='absolute' gives the same weights."
            )
        self.slot = duration(slot, "slot")
        self.members: list[str] = []
        self.left_out: tuple[LeftOut, ...] = ()
        self._id, self._ds, self._y = unique_id, ds, y
        self._row: dict[str, int] = {}
        self._updates = 0
        self._state = PoolState.empty(0, slot_class_count(self.slot), 0)

    @property
    def streams(self) -> list[str]:
        """Names of the streams seen so far."""
        return list(self._row)

    def combine(self, forecasts: Any, models: Sequence[str] | None = None) -> Any:
        """Return one forecast per row: the columns ``unique_id, ds`` (``cutoff``) and ``y_hat``.

        Parameters
        ----------
        forecasts
            frame or path: ``unique_id, ds`` and one column of numbers per model. Prediction
            intervals (``-lo-``, ``-hi-``), ``cutoff`` and ``y`` are no models.
        models
            columns that are models; default: all columns of numbers.

        A row without any forecast has a null ``y_hat`` and is counted in ``left_out``. Nothing is
        learnt. The kind of the frame that was given.

        Raises
        ------
        DataError
            A column is missing or of the wrong type, or there is no model.
        """
        rows = self._read(forecasts, models)
        weights = self._weights(rows)
        awake = np.isfinite(rows.forecasts)
        y_hat = (weights * np.where(awake, rows.forecasts, 0.0)).sum(axis=1)
        silent = np.asarray(~awake.any(axis=1))
        y_hat[silent] = np.nan
        self._account({"no forecast of any model": silent}, rows)
        kept = [
            name for name in (self._id, self._ds, "cutoff") if name in rows.opened.frame.columns
        ]
        made = rows.opened.frame.select(kept)
        return like(made.with_columns(pl.Series("y_hat", y_hat).fill_nan(None)), forecasts)

    def update(self, pairs: Any, models: Sequence[str] | None = None) -> "ForecastPool":
        """Learn from one batch: forecasts as for `combine`, and their actuals ``y``.

        Call it once per batch (a day, say): the rule takes one step per call. Rows without an
        actual are counted in ``left_out``. Returns the pool itself.

        Raises
        ------
        DataError
            A column is missing or of the wrong type.
        """
        rows = self._read(pairs, models, with_y=True)
        y = read_numbers(rows.opened, self._y)
        losses = self.loss(np.broadcast_to(y[:, None], rows.forecasts.shape), rows.forecasts)
        self._account({f"missing {self._y}": ~np.isfinite(y)}, rows)
        shape = (len(self._row), slot_class_count(self.slot), len(self.members))
        seen = np.isfinite(losses)
        total, count = np.zeros(shape), np.zeros(shape)
        np.add.at(total, (rows.row, rows.kind), np.where(seen, losses, 0.0))
        np.add.at(count, (rows.row, rows.kind), seen)
        means = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
        self._state = learnt_means(self._state, means, np.arange(shape[1]), self.rule)
        self._updates += 1
        return self

    def weights(self) -> pl.DataFrame:
        """Return the weights: ``unique_id, weekend, from_hour, model, weight``, polars.

        ``from_hour`` is the first hour of the block of three, null for slots of a day or longer.
        """
        n_classes, n_members = self._state.scores.shape[1:]
        active = np.broadcast_to(self._state.active[:, None], self._state.scores.shape)
        weights = self.rule.weights(self._state.scores, active)
        n, blocks = len(self._row), n_classes // 2
        kind = np.tile(np.repeat(np.arange(n_classes), n_members), n)
        hour = (kind % blocks) * 3 if blocks > 1 else [None] * len(kind)
        return pl.DataFrame(
            {
                self._id: np.repeat(self.streams, n_classes * n_members),
                "weekend": kind >= blocks,
                "from_hour": pl.Series(hour, dtype=pl.Int64),
                "model": np.tile(self.members, n * n_classes),
                "weight": weights.reshape(-1).astype(np.float64),
            }
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the pool to a file that `load` reads back; a crash leaves the old file whole.

        Raises
        ------
        StateError
            The file cannot be written, or the loss is a function of yours.
        """
        if not isinstance(self._settings["loss"], str):
            raise StateError(
                "A pool whose loss is a Python function cannot be saved. Hint: loss='absolute'."
            )
        head = {
            "format": _FORMAT,
            "settings": self._settings,
            "members": self.members,
            "streams": self.streams,
            "updates": self._updates,
        }
        write_columns(path, "pool", head, self._state.flat())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "ForecastPool":
        """Return the pool that `save` wrote.

        Raises
        ------
        StateError
            The file is missing, damaged, or no pool.
        """
        head, columns = read_columns(path, "pool")
        try:
            if head["format"] != _FORMAT:
                raise StateError(f"{path} is no saved pool of this version of mlma.")
            pool = cls(**head["settings"])
            pool.members = list(head["members"])
            pool._row = {name: row for row, name in enumerate(head["streams"])}
            pool._updates = int(head["updates"])
            pool._state = PoolState(columns["scores"], columns["unit"], columns["born"])
        except (KeyError, TypeError) as error:
            raise StateError(f"{path} lacks {error}: it is damaged.") from error
        n_members, n = len(pool.members), len(pool._row)
        shapes = pool._state.scores.shape[::2], pool._state.born.shape, pool._state.unit.shape[:1]
        if shapes != ((n, n_members), (n, n_members), (n,)):
            raise StateError(f"{path} is damaged: its columns are not as long as its names.")
        return pool

    def _weights(self, rows: _Rows) -> Floats:
        """Return the weights of the models that are awake, ``(n_rows, n_members)``."""
        scores = self._state.scores[rows.row, rows.kind]
        awake = np.isfinite(rows.forecasts) & self._state.active[rows.row]
        return np.asarray(self.rule.weights(scores, awake), dtype=np.float64)

    def _read(self, source: Any, models: Sequence[str] | None, *, with_y: bool = False) -> _Rows:
        opened = open_frame(source, [self._id, self._ds])
        wanted = [("unique_id", self._id), ("ds", self._ds)]
        require(opened, [*wanted, ("y", self._y)] if with_y else wanted)
        names = _model_columns(opened, models, {self._id, self._ds, self._y, "cutoff"})
        ids, times = read_ids(opened, self._id), read_times(opened, self._ds).wall
        gone = ids.is_null().to_numpy() | np.isnat(times)
        if gone.any():
            raise DataError(
                f"{int(gone.sum())} of {len(gone)} rows have no `{self._id}` or `{self._ds}`. "
                f"Expected both in every row. Hint: drop them before."
            )
        row = self._known(ids)
        forecasts = self._placed(opened, names)
        self._join(row, forecasts)
        return _Rows(opened, row, slot_classes(times, self.slot), forecasts)

    def _known(self, ids: pl.Series) -> Ints:
        """Return the row of every stream; those never seen before are added."""
        for name in ids.unique(maintain_order=True).to_list():
            self._row.setdefault(str(name), len(self._row))
        more = len(self._row) - len(self._state)
        if more:
            _, n_classes, n_members = self._state.scores.shape
            self._state = self._state.joined(PoolState.empty(more, n_classes, n_members))
        return np.array([self._row[str(name)] for name in ids.to_list()], dtype=np.int64)

    def _placed(self, opened: Opened, names: list[str]) -> Floats:
        """Return the forecasts, a column per member; NaN = asleep. New members get a place."""
        new = [name for name in names if name not in self.members]
        if new:
            self.members += new
            self._state = _widened(self._state, len(new))
        out = np.full((opened.frame.height, len(self.members)), np.nan)
        for name in names:
            out[:, self.members.index(name)] = as_floats(opened.frame[name])
        out[~np.isfinite(out)] = np.nan
        return out

    def _join(self, row: Ints, forecasts: Floats) -> None:
        """Let members in at the streams for which they forecast for the first time."""
        heard = np.zeros(self._state.born.shape, dtype=np.bool_)
        np.logical_or.at(heard, row, np.isfinite(forecasts))
        for place in range(len(self.members)):
            rows = np.flatnonzero(heard[:, place] & (self._state.born[:, place] == EMPTY))
            if not len(rows):
                continue
            part = self._state.rows(rows)
            active = np.broadcast_to(part.active[:, None], part.scores.shape)
            scores = entered(part.scores, active, np.full(len(rows), place))
            born = part.born.copy()
            born[:, place] = self._updates
            self._state = self._state.with_rows(rows, replace(part, scores=scores, born=born))

    def _account(self, masks: dict[str, NDArray[np.bool_]], rows: _Rows) -> None:
        names = rows.opened.frame[self._id].cast(pl.String)
        self.left_out = tuple(
            LeftOut(
                reason, "rows", int(mask.sum()), tuple(names.filter(mask).unique()[:3].to_list())
            )
            for reason, mask in masks.items()
            if mask.any()
        )


def _widened(state: PoolState, more: int) -> PoolState:
    n, n_classes, _ = state.scores.shape
    fresh = PoolState.empty(n, n_classes, more)
    return PoolState(
        np.concatenate([state.scores, fresh.scores], axis=2),
        state.unit,
        np.concatenate([state.born, fresh.born], axis=1),
    )


def _model_columns(opened: Opened, models: Sequence[str] | None, taken: set[str]) -> list[str]:
    """Return the columns that are models."""
    if models is not None:
        require(opened, [("model", name) for name in models])
        return list(models)
    found = [
        name
        for name, kind in opened.frame.schema.items()
        if kind.is_numeric() and name not in taken and "-lo-" not in name and "-hi-" not in name
    ]
    if not found:
        raise DataError(
            f"There is no forecast. Expected a column of numbers per model beside "
            f"{', '.join(sorted(taken))}. Got {', '.join(opened.frame.columns)}."
        )
    return found
