"""The pools of one policy in a replay: which versions each stream has, and what they forecast.

Takes versions as they come, gives the combined forecast of each batch and learns from its actuals.
A single model is a pool of one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.agent.stage import Stage
from mlma.agent.training import Failure
from mlma.agent.workshop import Workshop
from mlma.domain.policy import Policy, Pooled
from mlma.domain.pools import PoolState
from mlma.ports import FittedForecaster
from mlma.stats.calendar import slot_class_count
from mlma.stats.pool import CombinationRule, Mean, rule_from
from mlma.steps.pool import admitted, combined, leading, learnt, places_for

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LONG_WINDOWS = 8
"""The long-history member is trained on so many windows at most."""


@dataclass(slots=True)
class Pools:
    """The pools of all streams under one policy.

    versions
        places for versions; behind them stand the long-history member and the naive one.
    members
        the fitted models by stream and place.
    forecasts
        ``(n_streams, n_members, chunk, slots)`` of the book's present chunk; NaN = none.
    """

    rule: CombinationRule
    versions: int
    long_place: int | None
    naive_place: int | None
    state: PoolState
    members: list[list[FittedForecaster | None]]
    forecasts: Floats

    @classmethod
    def of(cls, stage: Stage, policy: Policy) -> "Pools":
        """Return pools without a member, as large as the policy says."""
        n, grid = len(stage.panel), stage.panel.grid
        versions, long_place, naive_place = _places(policy, stage)
        n_members = versions + (long_place is not None) + (naive_place is not None)
        n_classes = slot_class_count(grid.step) if n_members > 1 else 1
        return cls(
            rule=_rule(policy),
            versions=versions,
            long_place=long_place,
            naive_place=naive_place,
            state=PoolState.empty(n, n_classes, n_members),
            members=[[None] * n_members for _ in range(n)],
            forecasts=np.empty((n, n_members, 0, grid.slots)),
        )

    @property
    def n_members(self) -> int:
        """Places of a pool."""
        return int(self.state.born.shape[1])

    @property
    def single(self) -> bool:
        """Whether there is one model at a time, and nothing to combine."""
        return self.n_members == 1

    def admit(self, rows: Ints, fitted: list[FittedForecaster], batch: int) -> None:
        """Let new versions in, each in place of the stream's oldest where all places are taken."""
        self._enter(rows, places_for(self.state, rows, self.versions), fitted, batch)

    def admit_long(self, rows: Ints, fitted: list[FittedForecaster], batch: int) -> None:
        """Let a new long-history member in, in place of the former one."""
        assert self.long_place is not None
        self._enter(rows, np.full(len(rows), self.long_place), fitted, batch)

    def admit_naive(self, rows: Ints, naive: FittedForecaster, batch: int) -> None:
        """Let the naive member in."""
        assert self.naive_place is not None
        self._enter(rows, np.full(len(rows), self.naive_place), [naive] * len(rows), batch)

    def _enter(self, rows: Ints, places: Ints, fitted: list[FittedForecaster], batch: int) -> None:
        self.state = admitted(self.state, rows, places, batch, self.rule)
        for row, place, model in zip(rows.tolist(), places.tolist(), fitted, strict=True):
            self.members[row][place] = model
            self.forecasts[row, place] = np.nan

    def latest(self, row: int) -> FittedForecaster:
        """Return the newest version of a stream that has one."""
        place = int(self.state.born[row, : self.versions].argmax())
        fitted = self.members[row][place]
        assert fitted is not None  # a stream that is alive has a version
        return fitted

    def alive(self) -> Bools:
        """Return which streams have a member, ``(n_streams,)``."""
        return np.asarray(self.state.active.any(axis=1))

    def ready(self, rows: Ints, batch: int, workshop: Workshop) -> Ints:
        """Return the rows whose members all have forecasts of this batch, after asking for them."""
        book = workshop.book
        length = book.last - book.first
        if self.forecasts.shape[2] != length or book.first == batch:
            n, n_members, _, slots = self.forecasts.shape
            self.forecasts = np.full((n, n_members, length, slots), np.nan)
        missing = self.state.active[rows] & np.isnan(self.forecasts[rows, :, batch - book.first, 0])
        for at, place in zip(*np.nonzero(missing), strict=True):
            row = int(rows[at])
            model = self.members[row][place]
            assert model is not None  # an active place has a model
            page = book.page(row, model, batch)
            if isinstance(page, Failure):
                workshop.broken[row] = page.message
            else:
                self.forecasts[row, place] = page
        return np.array([row for row in rows if int(row) not in workshop.broken], dtype=np.int64)

    def combined(self, rows: Ints, place: int, classes: NDArray[np.int8]) -> Floats:
        """Return the forecast of the batch that is ``place`` batches into the chunk."""
        forecasts = self.forecasts[rows, :, place]
        if self.single:
            return np.asarray(forecasts[:, 0])
        return combined(self.state.rows(rows), forecasts, classes, self.rule)

    def learn(self, rows: Ints, losses: Floats, classes: NDArray[np.int8]) -> None:
        """Take the members' pointwise losses, ``(len(rows), n_members, slots)``."""
        after = learnt(self.state.rows(rows), losses, classes, self.rule)
        self.state = self.state.with_rows(rows, after)

    def leaders(self, rows: Ints) -> Ints:
        """Return the place of the member with the highest weight, ``(len(rows),)``."""
        return np.asarray(leading(self.state.rows(rows), self.rule).argmax(axis=1))

    def shares(self, rows: Ints) -> Floats:
        """Return the weights of newest and older versions, long and naive member, ``(k, 4)``."""
        weights: Floats = np.asarray(leading(self.state.rows(rows), self.rule), dtype=np.float64)
        born: NDArray[np.int32] = self.state.born[rows]
        newest = born[:, : self.versions].argmax(axis=1)
        latest = np.take_along_axis(weights, newest[:, None], axis=1)[:, 0]
        older = weights[:, : self.versions].sum(axis=1) - latest
        others = [
            np.zeros(len(rows)) if place is None else weights[:, [place]].sum(axis=1)
            for place in (self.long_place, self.naive_place)
        ]
        return np.stack([latest, older, *others], axis=1)


def _places(policy: Policy, stage: Stage) -> tuple[int, int | None, int | None]:
    """Return the number of versions, and the places of the long and the naive member."""
    if not isinstance(policy, Pooled) or not policy.has_pool:
        return 1, None, None
    naive = policy.naive_member
    if naive is None:
        naive = stage.loss.name in _ABSOLUTE
    long_place = policy.pool if policy.long_member else None
    return policy.pool, long_place, policy.pool + policy.long_member if naive else None


_ABSOLUTE = ("absolute", "mase")


def _rule(policy: Policy) -> CombinationRule:
    if not isinstance(policy, Pooled):
        return Mean()
    return rule_from(policy.combine, policy.learning_rate, policy.share, policy.half_life)


def long_due(stage: Stage, window: int) -> Bools:
    """Return where the long-history member is trained anew, ``(n_streams, n_batches) bool``.

    At a stream's first version, and whenever the history behind it has doubled since.
    """
    n_batches = stage.panel.grid.n_batches
    due = np.zeros((len(stage.panel), n_batches), dtype=np.bool_)
    rows = np.arange(len(due))
    waited = 0
    while waited < n_batches:
        at = stage.start[stage.heads] + waited  # streams that share a model share its members
        inside = (at < n_batches) & (at >= stage.start)
        due[rows[inside], at[inside]] = True
        waited = 2 * waited + window
    return due
