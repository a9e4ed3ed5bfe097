"""Plays the policies that look at losses: batch after batch, all streams in lockstep.

Every policy has its own agent state and runs the same cycle as the live agent. A version that two
policies want at the same batch is trained once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from mlma.agent.cycle import new_state, run_cycle
from mlma.agent.groups import policy_groups
from mlma.agent.stage import Stage
from mlma.agent.training import Failure, Recipe, Version, forecast, train
from mlma.domain.batches import LossBatch, mean_losses
from mlma.domain.fleet import Finding, FleetState
from mlma.domain.groups import Groups
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState, HeldOut
from mlma.domain.verdicts import RECORD_FLOATS, CycleRecord, Decision, Evidence, Reason
from mlma.ports import Executor
from mlma.steps.compare import Incoming
from mlma.steps.ease import difficulty
from mlma.steps.gate import passes_gate
from mlma.steps.refer import deploy
from mlma.steps.show import shown

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HORIZON = 28
"""Batches that a version forecasts ahead in one call; the rest is asked for when it is needed."""

WORTH_SENDING_SECONDS = 0.5
"""Work below this is done here: sending it to other processes takes longer."""


@dataclass(slots=True)
class Play:
    """One policy being played: its state, its deployed versions, what it wrote."""

    policy: MLMA
    state: AgentState
    fleet: FleetState
    groups: Groups
    difficulty: Floats
    wanted: Bools
    fitted: list[Version | None]
    forecasts: list[Floats]
    forecast_from: Ints
    retrained: Bools
    fits: Ints
    columns: dict[str, NDArray[np.generic]]
    findings: list[tuple[int, Finding]] = field(default_factory=list)
    seconds: float = 0.0

    def evidence(self) -> Evidence:
        """Return what was seen and decided, ``(n_streams, n_batches)``."""
        return shown(CycleRecord(**self.columns), self.policy)  # type: ignore[arg-type]


@dataclass(slots=True)
class EvidencePlayer:
    """Plays MLMA policies on a stage; ``play`` returns one `Play` per policy."""

    stage: Stage
    recipe: Recipe
    executor: Executor
    versions: dict[tuple[int, int], Version] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    _fit_seconds: float = 0.0

    def play(
        self, policies: list[MLMA], progress: Callable[[int, int], None] | None = None
    ) -> list[Play]:
        """Return the plays of all policies after the last batch."""
        plays = [_new_play(self.stage, policy) for policy in policies]
        n_batches = self.stage.panel.grid.n_batches
        first = int(self.stage.start.min()) if len(self.stage.start) else n_batches
        for batch in range(first, n_batches):
            self._retrain(plays, batch)
            for play in plays:
                start = perf_counter()
                self._cycle(play, batch)
                play.seconds += perf_counter() - start
            if progress:
                progress(batch - first + 1, n_batches - first)
        return plays

    def _retrain(self, plays: list[Play], batch: int) -> None:
        """Train what any policy wants at this batch, and deploy it."""
        born = np.flatnonzero(self.stage.start == batch)
        asked = [np.union1d(np.flatnonzero(play.wanted), born) for play in plays]
        rows = np.unique(np.concatenate([born, *asked]))
        possible = rows[self.stage.trainable[rows, batch]]
        self._train([row for row in possible.tolist() if row not in self.broken], batch)
        for play, wanted in zip(plays, asked, strict=True):
            self._deploy(play, [int(row) for row in wanted], batch)
            play.wanted[:] = False

    def _train(self, rows: list[int], batch: int) -> None:
        horizon = min(HORIZON, self.stage.panel.grid.n_batches - batch)
        tasks = [(self.recipe, self.stage.series[row], batch, horizon) for row in rows]
        if len(tasks) * self._fit_seconds > WORTH_SENDING_SECONDS:
            results = list(self.executor.map(train, tasks, "train"))
        else:
            results = [train(*task) for task in tasks]
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, Version):
                self.versions[row, batch] = result
                self._fit_seconds = max(result.all_seconds, 0.9 * self._fit_seconds)
            else:
                self.failures.setdefault(row, result.message)
                if self.stage.start[row] == batch:
                    self.broken[row] = result.message

    def _deploy(self, play: Play, wanted: list[int], batch: int) -> None:
        """Let the new versions go live, or clear the request where there is none."""
        arrived = [row for row in wanted if (row, batch) in self.versions]
        for row in arrived:
            _charge(play, row, self.versions[row, batch])
        going = [row for row in arrived if self._passes(play, row, batch)]
        held = np.array(sorted(set(wanted) - set(going)), dtype=np.int64)
        play.state = _without_request(play.state, held)
        failed = held[play.wanted[held] & (batch < self.stage.stop[held])]
        _hold(play, np.setdiff1d(failed, arrived), batch, Reason.FAILED)
        if not going:
            return
        rows = np.array(going, dtype=np.int64)
        held_out = self._held_out(play, rows, batch)
        provisional = ~self.stage.whole[rows, batch]
        seed = self.stage.seed
        play.state = deploy(play.state, rows, held_out, play.policy, seed, provisional=provisional)
        for row in going:
            version = self.versions[row, batch]
            play.retrained[row, batch] = play.fitted[row] is not None
            play.fitted[row] = version
            play.forecasts[row], play.forecast_from[row] = version.forecasts, batch

    def _passes(self, play: Play, row: int, batch: int) -> bool:
        """Whether a new version may replace the old one; writes the decision if it may not."""
        version = self.versions[row, batch]
        if not play.policy.gate or play.fitted[row] is None or version.held_out is None:
            return True
        held_out = version.held_out[-play.policy.reference_batches :]
        first = batch - len(held_out)
        new = mean_losses(self._losses(np.array([row]), first, held_out[None])[0])
        old = np.asarray(play.columns["loss"][row, first:batch], dtype=np.float64)
        if passes_gate(old[None], new[None])[0]:
            return True
        _hold(play, np.array([row]), batch, Reason.GATE)
        return False

    def _losses(self, rows: Ints, first: int, y_hat: Floats) -> Floats:
        """Return pointwise losses of ``(k, n, slots)`` forecasts; NaN in incomplete batches."""
        last = first + y_hat.shape[1]
        y = self.stage.panel.y[rows, first:last]
        y = np.where(self.stage.complete[rows, first:last, None], y, np.nan)
        return self.stage.loss(y, y_hat, self.stage.scale[rows, None, None])

    def _held_out(self, play: Play, rows: Ints, batch: int) -> HeldOut | None:
        if play.policy.reference_from != "held_out" or not self.recipe.held_out:
            return None
        forecasts = [self.versions[int(row), batch].held_out for row in rows]
        y_hat = np.stack([made for made in forecasts if made is not None])
        first = batch - y_hat.shape[1]
        calendar = self.stage.calendar[play.policy.calendar][first:batch]
        return HeldOut(
            losses=self._losses(rows, first, y_hat),
            calendar=np.broadcast_to(calendar, (len(rows), len(calendar))),
            difficulty=play.difficulty[rows, first:batch],
        )

    def _cycle(self, play: Play, batch: int) -> None:
        """Let the policy see one batch of every stream that is live."""
        live = (self.stage.start <= batch) & (batch < self.stage.stop)
        live[list(self.broken)] = False
        live &= np.array([version is not None for version in play.fitted])
        rows = self._with_forecasts(play, np.flatnonzero(live), batch)
        if not len(rows):
            return
        y_hat = np.stack([play.forecasts[row][batch - play.forecast_from[row]] for row in rows])
        losses = self._losses(rows, batch, y_hat[:, None])[:, 0]
        calendar = self.stage.calendar[play.policy.calendar][batch]
        everyone = len(rows) == len(play.state)
        incoming = Incoming(
            LossBatch(losses, np.full(len(rows), calendar)), play.difficulty[rows, batch]
        )
        cycled = run_cycle(
            play.state if everyone else play.state.rows(rows),
            incoming,
            play.fleet,
            play.groups if everyone else play.groups.rows(rows),
            play.policy,
            seed=self.stage.seed,
            batches_per_week=self.stage.batches_per_week,
        )
        state, seen = cycled.state, cycled.record
        play.state = state if everyone else play.state.with_rows(rows, state)
        play.fleet = cycled.fleet
        play.findings += [(batch, one) for one in cycled.findings]
        for name, column in play.columns.items():
            column[rows, batch] = getattr(seen, name)
        play.wanted[rows] = seen.decision == Decision.RETRAIN

    def _with_forecasts(self, play: Play, rows: Ints, batch: int) -> Ints:
        """Return the rows that have a forecast for this batch, after asking for missing ones."""
        for row in rows:
            if batch - play.forecast_from[row] < len(play.forecasts[row]):
                continue
            version = play.fitted[row]
            assert version is not None  # live rows have a version
            last = min(batch + HORIZON, self.stage.panel.grid.n_batches)
            made = forecast(version.fitted, self.stage.series[int(row)], batch, last)
            if isinstance(made, Failure):
                self.broken[int(row)] = made.message
                continue
            play.forecasts[row], play.forecast_from[row] = made, batch
        return np.array([row for row in rows if int(row) not in self.broken], dtype=np.int64)


def _new_play(stage: Stage, policy: MLMA) -> Play:
    n, n_batches = stage.complete.shape
    groups = policy_groups(stage.panel.tags, n, policy)
    shape = (n, n_batches)
    columns: dict[str, NDArray[np.generic]] = {"n": np.zeros(shape, dtype=np.int32)}
    for name in RECORD_FLOATS:
        columns[name] = np.full(shape, np.nan)
    for name in ("verdict", "decision", "reason"):
        columns[name] = np.zeros(shape, dtype=np.int8)
    columns["alarm"] = np.zeros(shape, dtype=np.bool_)
    return Play(
        policy=policy,
        state=new_state(stage.keys, policy, stage.panel.grid.slots),
        fleet=FleetState.new(groups.names()),
        groups=groups,
        difficulty=difficulties(stage.benchmark, policy.adjustment),
        wanted=np.zeros(n, dtype=np.bool_),
        fitted=[None] * n,
        forecasts=[np.empty((0, 0))] * n,
        forecast_from=np.zeros(n, dtype=np.int64),
        retrained=np.zeros(shape, dtype=np.bool_),
        fits=np.zeros(n, dtype=np.int64),
        columns=columns,
    )


def needs_held_out(policy: MLMA) -> bool:
    """Whether a policy looks at out-of-sample losses of the training window."""
    return policy.reference_from == "held_out" or policy.gate


def _charge(play: Play, row: int, version: Version) -> None:
    """Count what a version cost this policy: what it would have cost without the others."""
    held_out = needs_held_out(play.policy)
    play.fits[row] += 1 + held_out * version.siblings
    play.seconds += version.seconds + version.forecast_seconds
    play.seconds += held_out * version.held_out_seconds


def _hold(play: Play, rows: Ints, batch: int, reason: Reason) -> None:
    """Write that a re-training that was decided on at the batch before came to nothing."""
    play.columns["decision"][rows, batch - 1] = Decision.HOLD
    play.columns["reason"][rows, batch - 1] = reason


def _without_request(state: AgentState, rows: Ints) -> AgentState:
    pending = state.pending.copy()
    pending[rows] = False
    return replace(state, pending=pending)


def difficulties(benchmark: Floats, power: float) -> Floats:
    """Return the difficulty of every batch, ``(n_streams, n_batches)``, past levels only."""
    made = np.ones_like(benchmark)
    level = np.full(len(benchmark), np.nan)
    if power:
        for batch in range(benchmark.shape[1]):
            made[:, batch], level = difficulty(benchmark[:, batch], level, power)
    return made
