"""Trials in a replay: versions in the shadow of the deployed one, to go live or to come back.

Takes new versions and, batch after batch, the losses of the deployed ones, gives the streams whose
candidate goes live and those that go back to their former version. One model at a time only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.agent.training import Failure, Version, forecast
from mlma.agent.workshop import Workshop
from mlma.domain.batches import mean_losses
from mlma.domain.challengers import Challengers, Role
from mlma.domain.settings import MLMA
from mlma.ports import FittedForecaster
from mlma.steps.gate import (
    closed,
    judged_former,
    judged_trial,
    no_challengers,
    open_trial,
    opened_trial,
    watch_former,
)
from mlma.steps.rollback import Former

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Scorer = Callable[[Ints, int, Floats], Floats]
"""Gives pointwise losses of ``(k, n, slots)`` forecasts of streams from a batch on."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version on trial, and the batch before which the trial began."""

    version: Version
    since: int


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a batch decided: rows whose candidate goes live or is dropped, and rows that go back."""

    deploy: Ints
    drop: Ints
    back: Ints


@dataclass(slots=True)
class Trials:
    """The challengers of all streams under one policy.

    deploying, returning
        streams whose candidate goes live, or whose former version comes back, with the next batch.
    """

    policy: MLMA
    challengers: Challengers
    candidates: dict[int, Candidate] = field(default_factory=dict)
    former: dict[int, tuple[Former, FittedForecaster]] = field(default_factory=dict)
    deploying: list[int] = field(default_factory=list)
    returning: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, n_streams: int, policy: MLMA) -> "Trials":
        """Return trials of streams that have no challenger."""
        return cls(policy, no_challengers(n_streams))

    def open(
        self, rows: Ints, versions: list[Version], champion: Floats, new: Floats, age: Ints
    ) -> tuple[Ints, Ints]:
        """Put versions on trial; return the rows that deploy at once, and those dropped at once.

        ``champion``, ``new (len(rows), n_batches)`` mean losses on held-out batches; ``age`` of the
        champions.
        """
        self.challengers = open_trial(self.challengers, rows, champion, new, champion_age=age)
        for row, version in zip(rows.tolist(), versions, strict=True):
            self.candidates[row] = Candidate(version, version.at)
            self.former.pop(row, None)
        deploy, drop = opened_trial(self.challengers, rows, level=self.policy.gate_level)
        return rows[deploy], rows[drop]

    def close(self, rows: Ints) -> None:
        """Let the challengers of these streams go."""
        self.challengers = closed(self.challengers, rows)
        for row in rows.tolist():
            self.candidates.pop(row, None)
            self.former.pop(row, None)

    def watch(self, row: int, former: Former, fitted: FittedForecaster) -> None:
        """Keep the version that was just replaced beside its successor."""
        self.challengers = watch_former(self.challengers, np.array([row]))
        self.candidates.pop(row, None)
        self.former[row] = former, fitted

    def judge(
        self, rows: Ints, losses: Floats, batch: int, workshop: Workshop, score: Scorer
    ) -> Verdicts:
        """Return what this batch decides.

        ``losses (len(rows), slots)`` of the deployed versions; the challengers' are made here.
        """
        n = len(self.challengers)
        champion, shadow = np.full(n, np.nan), np.full(n, np.nan)
        champion[rows] = mean_losses(losses)
        role, failed = self.challengers.role, np.zeros(n, dtype=np.bool_)
        for row in np.intersect1d(np.flatnonzero(role != Role.NONE), rows).tolist():
            made_loss = self._shadow_loss(row, batch, workshop, score)
            failed[row] = made_loss is None
            shadow[row] = np.nan if made_loss is None else made_loss
        level = self.policy.gate_level
        made, deploy, drop = judged_trial(
            self.challengers, champion, shadow, level=level, batches=self.policy.gate_batches
        )
        longest = max(self.policy.rollback_batches, 1)
        made, back, over = judged_former(made, champion, shadow, level=level, batches=longest)
        # A challenger that fails to forecast leaves, whatever it showed before.
        deploy, drop = deploy & ~failed, drop | (failed & (role == Role.CANDIDATE))
        back, over = back & ~failed, over | (failed & (role == Role.FORMER))
        self.challengers = made
        self.deploying = np.flatnonzero(deploy).tolist()
        self.returning = np.flatnonzero(back).tolist()
        self.close(np.flatnonzero(drop | over))
        return Verdicts(np.flatnonzero(deploy), np.flatnonzero(drop), np.flatnonzero(back))

    def shadow_forecasts(self, row: int, batch: int, workshop: Workshop) -> Floats | Failure:
        """Return what a candidate would have forecast since its trial began, ``(k, slots)``."""
        candidate = self.candidates[row]
        series = workshop.stage.series[row]
        return forecast(candidate.version.fitted, series, candidate.since, batch)

    def _shadow_loss(self, row: int, batch: int, workshop: Workshop, score: Scorer) -> float | None:
        """Return the challenger's mean loss in a batch; NaN = no batch, None = it failed."""
        fitted = self.candidates[row].version.fitted if row in self.candidates else None
        if fitted is None:
            fitted = self.former[row][1]
        page = workshop.book.page(row, fitted, batch)
        if isinstance(page, Failure):
            return None
        y_hat = page[batch - workshop.book.first]
        return float(mean_losses(score(np.array([row]), batch, y_hat[None, None])[0])[0])
