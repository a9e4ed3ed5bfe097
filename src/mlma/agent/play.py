"""A play: one policy on a stage, with its state, its pools and what it wrote."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlma.agent.cycle import monitor_of, new_state
from mlma.agent.groups import policy_groups
from mlma.agent.pools import Pools
from mlma.agent.rationing import Ledger
from mlma.agent.service import ServiceLog
from mlma.agent.stage import Stage
from mlma.agent.training import Version
from mlma.agent.trials import Trials
from mlma.domain.fleet import Finding, FleetState
from mlma.domain.groups import Groups
from mlma.domain.policy import Policy
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState
from mlma.domain.verdicts import RECORD_FLOATS, CycleRecord, Decision, Evidence, Reason
from mlma.steps.ease import difficulty
from mlma.steps.show import shown
from mlma.steps.together import SharedModels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


LEAST_WINDOW = 14
"""Batches that any version is trained on at least."""

LONG = 4
"""Windows in a long window."""


@dataclass(slots=True)
class Play:
    """One policy being played.

    wanted
        ``(n_streams,) bool``, a re-training was decided on in the last batch.
    retrained
        ``(n_streams, n_batches) bool``, a version that is not the first went live.
    fits
        ``(n_streams,) float64``, models trained for this policy; a shared one counts in parts.
    columns
        of `CycleRecord`, each ``(n_streams, n_batches)``.
    shares
        ``(n_streams, n_batches, 4) float32``, weights in the pool: newest version, older versions,
        long-history member, naive member; None without a pool.
    ledger
        outcomes, budget and tries.
    trials
        versions in the shadow of the deployed one; None = neither a gate nor roll-backs.
    arrived
        ``(n_streams,) bool``, a version that is not the first went live before this batch.
    broke
        ``(n_streams,) int64``, batch from which the last alarm saw a break; -1 = none.
    grown
        ``(n_streams,) bool``, the long-history member is due, and waits for the budget.
    models
        what is remembered of shared models; None = every stream has its own.
    due
        where a policy that does not look at losses re-trains, ``(n_streams, n_batches) bool``.
    service
        what came into service; None = nobody asked for it.
    """

    policy: Policy
    monitor: MLMA
    state: AgentState
    fleet: FleetState
    groups: Groups
    pools: Pools
    difficulty: Floats
    wanted: Bools
    retrained: Bools
    fits: Floats
    columns: dict[str, NDArray[np.generic]]
    shares: NDArray[np.float32] | None
    ledger: Ledger
    trials: Trials | None
    arrived: Bools
    broke: Ints
    grown: Bools
    models: SharedModels | None = None
    due: Bools | None = None
    service: ServiceLog | None = None
    findings: list[tuple[int, Finding]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def watches(self) -> bool:
        """Whether the policy looks at losses."""
        return isinstance(self.policy, MLMA)

    @property
    def gated(self) -> bool:
        """Whether a new version has to prove itself."""
        return isinstance(self.policy, MLMA) and self.policy.gate

    def needs_held_out(self, row: int) -> bool:
        """Whether a new version of this stream needs out-of-sample losses of its window."""
        if not self.watches or not needs_held_out(self.monitor):
            return False
        chooses = isinstance(self.policy, MLMA) and self.policy.train_on == "best"
        return self.pools.single or chooses or not self.pools.state.active[row].any()

    def growing(self, grown: Ints) -> Ints:
        """Return the streams whose long-history member is trained now.

        ``grown`` are those that have become due. Under a budget they get what the re-trainings of
        the cycle left over, and wait where there is nothing.
        """
        if self.pools.long_place is None:
            return grown[:0]
        self.grown[grown] = True
        due = np.flatnonzero(self.grown & self.pools.alive())
        if self.watches and self.models is None:
            n, self.ledger = self.ledger.with_spare_spent(len(due), self.monitor)
            due = np.sort(due[np.argsort(self.state.key[due])][:n])  # whatever the streams' order
        self.grown[due] = False
        return due

    def windows(self, row: int, base: int, batch: int) -> list[int]:
        """Return the windows of which a new version of this stream is trained, in batches."""
        if not isinstance(self.policy, MLMA) or not self.pools.state.active[row].any():
            return [base]
        short = min(max(base // 2, LEAST_WINDOW), base)
        long = min(LONG * base, max(batch, base))
        since = batch - int(self.broke[row]) if self.broke[row] >= 0 else base
        return {
            "window": [base],
            "short": [short],
            "long": [long],
            "since_break": [min(max(since, LEAST_WINDOW), base)],
            "best": list(dict.fromkeys((base, short, long))),  # where none is better, the first
        }[self.policy.train_on]

    def evidence(self) -> Evidence:
        """Return what was seen and decided, ``(n_streams, n_batches)``."""
        return shown(CycleRecord(**self.columns), self.monitor)  # type: ignore[arg-type]

    def charge(self, row: int, version: Version, *, judged: bool) -> None:
        """Count what a version cost this policy: what it would have cost without the others."""
        self.fits[row] += version.part * (1 + judged * version.siblings)
        self.seconds += version.seconds + version.forecast_seconds
        self.seconds += judged * version.held_out_seconds

    def hold(self, rows: Ints, batch: int, reason: Reason) -> None:
        """Write that a re-training that was decided on at the batch before came to nothing."""
        self.columns["decision"][rows, batch - 1] = Decision.HOLD
        self.columns["reason"][rows, batch - 1] = reason

    def clear_requests(self, rows: Ints) -> None:
        """Let the streams ask again."""
        self._set_pending(rows, False)

    def ask(self, rows: Ints) -> None:
        """Mark the streams as waiting for a version: they ask for nothing more meanwhile."""
        self._set_pending(rows, True)

    def _set_pending(self, rows: Ints, waits: bool) -> None:
        pending = self.state.pending.copy()
        pending[rows] = waits
        self.state = replace(self.state, pending=pending)


def new_play(stage: Stage, policy: Policy, due: Bools | None = None) -> Play:
    """Return a play at its start."""
    n, n_batches = stage.complete.shape
    monitor = monitor_of(policy)
    monitor, tags = _layers(stage, monitor)
    groups = policy_groups(tags, n, monitor)
    shape = (n, n_batches)
    columns: dict[str, NDArray[np.generic]] = {"n": np.zeros(shape, dtype=np.int32)}
    for name in RECORD_FLOATS:
        columns[name] = np.full(shape, np.nan)
    for name in ("verdict", "decision", "reason"):
        columns[name] = np.zeros(shape, dtype=np.int8)
    columns["alarm"] = np.zeros(shape, dtype=np.bool_)
    pools = Pools.of(stage, policy)
    shares = None if pools.single else np.full((*shape, 4), np.nan, dtype=np.float32)
    return Play(
        policy=policy,
        monitor=monitor,
        state=new_state(stage.keys, policy, stage.panel.grid.slots),
        fleet=FleetState.new(groups.names()),
        groups=groups,
        pools=pools,
        difficulty=difficulties(stage.benchmark, monitor.adjustment),
        wanted=np.zeros(n, dtype=np.bool_),
        retrained=np.zeros(shape, dtype=np.bool_),
        fits=np.zeros(n),
        columns=columns,
        shares=shares,
        ledger=Ledger.new(n),
        trials=_trials(n, policy),
        arrived=np.zeros(n, dtype=np.bool_),
        broke=np.full(n, -1),
        grown=np.zeros(n, dtype=np.bool_),
        models=SharedModels.new(int(stage.model.max()) + 1) if stage.shared else None,
        due=due,
    )


def _layers(stage: Stage, monitor: MLMA) -> tuple[MLMA, Mapping[str, tuple[str, ...]]]:
    """Return monitor and tags whose groups do not take off what a shared model's streams share."""
    tags = stage.panel.tags
    if not stage.shared:
        return monitor, tags
    if not stage.model.any():  # one model: the fleet's part is the model's
        return replace(monitor, common=False), tags
    others = {name: labels for name, labels in tags.items() if name != stage.scope}
    by = tuple(name for name in monitor.group_by if name != stage.scope)
    if monitor.group_by and not by:  # empty would mean all tags
        others = {}
    return replace(monitor, group_by=by), others


def _trials(n_streams: int, policy: Policy) -> Trials | None:
    if isinstance(policy, MLMA) and (policy.gate or policy.rollback_batches):
        return Trials.of(n_streams, policy)
    return None


def needs_held_out(policy: MLMA) -> bool:
    """Whether a policy looks at out-of-sample losses of the training window."""
    return policy.reference_from == "held_out" or policy.gate or policy.train_on == "best"


def difficulties(benchmark: Floats, power: float) -> Floats:
    """Return the difficulty of every batch, ``(n_streams, n_batches)``, past levels only."""
    made = np.ones_like(benchmark)
    level = np.full(len(benchmark), np.nan)
    if power:
        for batch in range(benchmark.shape[1]):
            made[:, batch], level = difficulty(benchmark[:, batch], level, power)
    return made
