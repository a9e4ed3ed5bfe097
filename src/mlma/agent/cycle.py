"""READ FIRST: one pass of the agent over its streams.

Library, replay and live service run this same cycle; only clock, source and store differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.agent.blocks import changed_in_blocks, in_blocks
from mlma.domain.fleet import Finding, FleetState
from mlma.domain.groups import Groups
from mlma.domain.policy import Policy
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState
from mlma.domain.verdicts import CycleRecord, Evidence
from mlma.stats.dial import WEEK, limits_of
from mlma.stats.registry import batch_test
from mlma.steps.assess import Weighed, added_up, alarmed, judged, overruled, with_sums
from mlma.steps.audit import audited
from mlma.steps.coincide import coincide
from mlma.steps.compare import Compared, Incoming, compare, prior_for, reference_logs
from mlma.steps.decide import Decisions, decide
from mlma.steps.find import find, findings
from mlma.steps.refer import absorb, empty_reference
from mlma.steps.separate import own_parts, separate
from mlma.steps.show import shown

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Others = Sequence[tuple[Policy, Ints]]
"""Policies of some streams, and their rows; all others have that of the fleet."""


@dataclass(frozen=True, slots=True)
class Cycled:
    """What a cycle gives: the state of streams and fleet after it, its record, and findings."""

    state: AgentState
    fleet: FleetState
    record: CycleRecord
    findings: tuple[Finding, ...]
    policy: MLMA

    @property
    def evidence(self) -> Evidence:
        """What was seen and decided, with p-values and effects."""
        return shown(self.record, self.policy)


def monitor_of(policy: Policy) -> MLMA:
    """Return the settings by which the evidence is read: the policy's own, or the defaults."""
    return policy if isinstance(policy, MLMA) else MLMA()


def new_state(key: NDArray[np.uint64], policy: Policy, slots: int) -> AgentState:
    """Return the state of streams that were never seen, with what the policy's test remembers."""
    return AgentState.new(key, empty_reference(len(key), monitor_of(policy), slots))


def run_cycle(
    state: AgentState,
    incoming: Incoming,
    fleet: FleetState,
    groups: Groups,
    policy: Policy,
    *,
    others: Others = (),
    seed: int = 0,
    batches_per_week: float = WEEK,
) -> Cycled:
    """Return streams and fleet after one loss batch per stream, and what was seen and decided.

    ``others`` decide by policies of their own; what they read of the evidence is that of
    ``policy`` (see `mlma.domain.settings.same_reading`).

    Steps that need no other stream run block by block (`in_blocks`). Re-training is not part of the
    cycle: it comes back later as `mlma.steps.refer.deploy`.
    """
    monitor, n = monitor_of(policy), len(state)
    limits = limits_of(monitor, batches_per_week)
    prior = prior_for(state, incoming, monitor)
    seen = in_blocks(
        lambda at: compare(state.rows(at), incoming.rows(at), monitor, prior),
        n,
        whole=batch_test(monitor.test).memory == "profile",  # it pools over what it is given
    )
    layers, common = separate(seen.score, seen.drift, state.key, groups, wanted=monitor.common)
    fleet, found = find(fleet, common, monitor, limits)

    def weighed(at: slice) -> Weighed:
        part = seen.rows(at)
        own = own_parts(part.score, part.drift, tuple(layer.rows(at) for layer in layers))
        return Weighed(own, added_up(state.rows(at), part, own, monitor))

    weight = in_blocks(weighed, n)
    alarms = alarmed(seen, weight, found=found, groups=groups, policy=monitor, limits=limits)
    for other, at in others:
        own = monitor_of(other)
        limit = limits_of(own, batches_per_week)
        theirs = alarmed(seen, weight, found=found, groups=groups, policy=own, limits=limit)
        alarms = alarms.with_rows(at, theirs.rows(at))
    raised = alarms.own
    fleet, found, alarms = coincide(fleet, found, alarms, groups, monitor)
    noted = findings(found, common, fleet, groups, seen=seen, own=raised)
    fleet = audited(fleet, weight.own.score, raised, alarms.better, limits)
    weight, alarms = overruled(weight, alarms, incoming.told)

    def concluded(
        at: slice | Ints, before: AgentState, policy: Policy = policy
    ) -> tuple[AgentState, Decisions]:
        batch = incoming.rows(at)
        made = judged(seen.rows(at), weight.rows(at), alarms.rows(at), batch.told)
        decided, decisions = decide(before, made, policy, seed, batch.hold)
        return absorb(decided, batch, made, monitor), decisions

    summed = with_sums(state, weight.sums)
    after, decisions = changed_in_blocks(concluded, summed, n)
    for other, at in others:
        changed, told = concluded(at, summed.rows(at), other)
        after, decisions = after.with_rows(at, changed), decisions.with_rows(at, told)
    reference_log = reference_logs(seen, state, incoming, monitor)
    return Cycled(after, fleet, _record(seen, weight, decisions, reference_log), noted, monitor)


def _record(
    seen: Compared, weight: Weighed, decisions: Decisions, reference_log: Floats
) -> CycleRecord:
    own, sums = weight.own, weight.sums
    return CycleRecord(
        n=seen.n,
        loss=seen.loss,
        reference_log=reference_log,
        spread=seen.spread,
        df=seen.df,
        statistic=seen.statistic,
        score=own.score,
        common=own.removed,
        evidence=sums.up,
        evidence_down=sums.down,
        drift=sums.drift,
        alarm=decisions.alarm,
        verdict=decisions.verdict,
        decision=decisions.decision,
        reason=decisions.reason,
    )
