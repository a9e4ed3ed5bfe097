"""READ FIRST: one pass of the agent over its streams.

Library, replay and live service run this same cycle; only clock, source and store differ.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.agent.blocks import changed_in_blocks, in_blocks
from mlma.domain.fleet import Finding, FleetState
from mlma.domain.groups import Groups
from mlma.domain.settings import MLMA, Policy
from mlma.domain.state import AgentState
from mlma.domain.verdicts import CycleRecord, Evidence
from mlma.stats.dial import WEEK, limits_of
from mlma.steps.assess import Sums, added_up, alarmed, judged, with_groups
from mlma.steps.audit import audited
from mlma.steps.compare import Compared, Incoming, compare, prior_for, reference_logs
from mlma.steps.decide import Decisions, decide
from mlma.steps.find import coincide, find, findings
from mlma.steps.refer import absorb, empty_reference
from mlma.steps.separate import OwnParts, separate
from mlma.steps.show import shown

Floats = NDArray[np.float64]


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
    seed: int = 0,
    batches_per_week: float = WEEK,
) -> Cycled:
    """Return streams and fleet after one loss batch per stream, and what was seen and decided.

    Steps that need no other stream run block by block: they are marked so below. Re-training is not
    part of the cycle: it comes back later as `mlma.steps.refer.deploy`.
    """
    monitor, n = monitor_of(policy), len(state)
    limits = limits_of(monitor, batches_per_week)
    prior = prior_for(state, incoming, monitor)
    seen = in_blocks(lambda at: compare(state.rows(at), incoming.rows(at), monitor, prior), n)
    own, common = separate(seen.score, seen.drift, state.key, groups, wanted=monitor.common)
    fleet, found = find(fleet, common, monitor, limits)
    sums = in_blocks(lambda at: added_up(state.rows(at), seen.rows(at), own.rows(at), monitor), n)
    alarms = alarmed(own, seen, sums, found=found, groups=groups, policy=monitor, limits=limits)
    fleet, found, together = coincide(fleet, found, alarms.own, groups, monitor)
    if together.any():
        alarms = with_groups(alarms, together)
    rise = seen.logs - seen.centre if found.told else seen.score
    noted = findings(found, common, fleet, groups, rise=rise, own=alarms.own)
    fleet = audited(fleet, own.score, alarms.own, alarms.better, limits)

    summed = replace(
        state,
        cusum_up=sums.up,
        cusum_down=sums.down,
        cusum_drift=sums.drift,
        cusum_all=sums.all,
    )

    def finished(at: slice, before: AgentState) -> tuple[AgentState, Decisions]:
        made = judged(seen.rows(at), own.rows(at), sums.rows(at), alarms.rows(at))
        decided, decisions = decide(before, made, policy, seed)
        return absorb(decided, incoming.rows(at), made, monitor), decisions

    after, decisions = changed_in_blocks(finished, summed, n)
    reference_log = reference_logs(seen, state, incoming, monitor)
    record = _record(seen, own, sums, decisions, reference_log)
    return Cycled(after, fleet, record, noted, monitor)


def _record(
    seen: Compared, own: OwnParts, sums: Sums, decisions: Decisions, reference_log: Floats
) -> CycleRecord:
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
