"""Find: a common rise of a group of streams becomes one finding.

Takes the common parts of a cycle and what is remembered of the groups, gives the groups after the
cycle and which of them are no longer healthy. Next is `assess`.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mlma.domain.fleet import Finding, FleetState, GroupColumns
from mlma.domain.groups import Groups
from mlma.domain.settings import MLMA
from mlma.stats.cusum import accumulated, bounded, rising_above, tail_probability
from mlma.stats.dial import Limits, group_limits
from mlma.stats.multiplicity import adjusted_p_values
from mlma.steps.compare import Compared
from mlma.steps.separate import CommonParts

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

LEAST_DEVIATION = 0.25
"""A common part below this share of a stream's standard deviation is never far from usual: it
concerns nobody, and a few broken streams of their own move a median by less."""

PRIOR_CYCLES = 3
"""The variance of a common part starts at 1, the largest it can be, with so many cycles' weight."""

MEMORY = 2 / 29
"""Weight of a new cycle in the variance of a common part, once there are many."""

NO_FINDING = -1


@dataclass(frozen=True, slots=True)
class Found:
    """The groups of this cycle; all ``(n_groups,)`` in the order of `CommonParts.names`.

    rows
        their rows in `FleetState.groups`.
    score, p_value
        standard normal score of the common part and its p-value; NaN = cannot tell.
    open, alarm
        a finding is open; it adds up to the dial.
    rising
        the evidence of the group is growing.
    was_open, since
        a finding was open before this cycle, and since which one.
    """

    rows: Ints
    score: Floats
    p_value: Floats
    evidence: Floats
    open: Bools
    alarm: Bools
    rising: Bools
    was_open: Bools
    since: Ints

    @property
    def told(self) -> bool:
        """Whether there is any finding to tell of in this cycle."""
        return bool((self.open | self.was_open).any())


def find(
    fleet: FleetState, parts: CommonParts, policy: MLMA, limits: Limits
) -> tuple[FleetState, Found]:
    """Return the fleet after this cycle, and its groups.

    A finding opens where the common part of this batch is significant among the groups, or where
    its evidence adds up to the dial; it closes when neither is so and its evidence has fallen to
    half of what a stream's alarm takes.
    """
    fleet = fleet.named(parts.names)
    place = {name: row for row, name in enumerate(fleet.names)}
    rows = np.array([place[name] for name in parts.names], dtype=np.int64)
    old = fleet.groups.rows(rows)
    deviation = np.sqrt(np.maximum(old.variance, LEAST_DEVIATION**2))
    score, told = parts.score / deviation, np.isfinite(parts.score)
    p_value = ndtr(-score)
    limit = group_limits(limits, parts.size, policy.allowance)
    # Little above the limit at most, so that a finding closes soon after its cause is gone.
    cusum = np.minimum(_added(old.cusum, score, policy), limit + 1)
    drift = old.drift
    if policy.drift:
        # The anchored level is the best of many, and low by chance for every member alike.
        low = np.sqrt(2 / policy.reference_batches)
        drift = np.minimum(_added(drift, (parts.drift - low) / deviation, policy), limit + 1)
    jump = adjusted_p_values(p_value, policy.multiplicity) <= policy.finding_level
    alarm = told & _alarm(jump, cusum, limit, policy)
    was_open = old.since != NO_FINDING
    # One healthy cycle halves the evidence of an open finding: an event that is over soon closes.
    over = was_open & ~jump & (score < policy.allowance)
    cusum = np.where(over, cusum / 2, cusum)
    fading = (cusum > limits.group / 2) | (drift > limits.group / 2)
    is_open = jump | alarm | (drift >= limit) | (was_open & (fading | ~told))
    groups = GroupColumns(
        batches=old.batches + told,
        variance=_variance(old, parts.score, is_open),
        cusum=np.where(told, cusum, old.cusum),
        drift=np.where(told, drift, old.drift),
        recent=old.recent,
        since=np.where(is_open, np.where(was_open, old.since, fleet.cycle), NO_FINDING),
    )
    highest = np.maximum(groups.cusum, groups.drift)
    rising = groups.cusum > rising_above(policy.allowance)
    found = Found(rows, score, p_value, highest, is_open, alarm, rising, was_open, old.since)
    return replace(fleet, groups=fleet.groups.with_rows(rows, groups), cycle=fleet.cycle + 1), found


def _alarm(jump: Bools, cusum: Floats, limit: Floats, policy: MLMA) -> Bools:
    """Return where the evidence of a group calls for the re-training of its members.

    A slow common drift is a finding and no alarm: which models it takes to heart, reviews tell.
    """
    if policy.accumulate == "none":
        return jump
    if policy.false_retrainings is None:
        tail = tail_probability(cusum, policy.allowance)
        return adjusted_p_values(tail, policy.multiplicity) <= policy.level
    return np.asarray(cusum >= limit)


def member_of(flag: Bools, groups: Groups) -> Bools:
    """Return whether a stream is in a group for which ``flag (n_groups,)`` holds.

    The first group is the fleet; all streams are in it.
    """
    member = np.full(groups.n_streams, bool(flag[0]))
    first = 1
    for division in groups.divisions:
        last = first + len(division.names)
        if len(flag) >= last and flag[first:last].any():
            member |= (division.codes >= 0) & flag[first:last][division.codes]
        first = last
    return member


def findings(
    found: Found,
    parts: CommonParts,
    fleet: FleetState,
    groups: Groups,
    *,
    seen: Compared,
    own: Bools,
) -> tuple[Finding, ...]:
    """Return what opened, is open or closed in this cycle, the fleet first.

    ``own (n_streams,)``: alarms that streams raised on their own.
    """
    made: list[Finding] = []
    if not found.told:
        return ()
    rise = seen.logs - seen.centre
    for group in np.flatnonzero(found.open | found.was_open):
        only = np.arange(len(parts.names)) == group
        member = member_of(only, groups)
        rises = rise[member]
        rises = rises[np.isfinite(rises)]
        now, before = bool(found.open[group]), bool(found.was_open[group])
        made.append(
            Finding(
                scope=parts.names[group],
                state=("open" if before else "opened") if now else "closed",
                since=int(fleet.groups.since[found.rows[group]] if now else found.since[group]),
                streams=int(parts.size[group]),
                alarmed=int(own[member].sum()),
                score=float(parts.score[group]),
                p_value=float(found.p_value[group]),
                evidence=float(found.evidence[group]),
                effect=float(np.expm1(np.median(rises))) if len(rises) else float("nan"),
                alarm=bool(found.alarm[group]),
            )
        )
    return tuple(made)


def _added(evidence: Floats, score: Floats, policy: MLMA) -> Floats:
    return accumulated(evidence, bounded(score), policy.allowance)


def _variance(old: GroupColumns, location: Floats, is_open: Bools) -> Floats:
    """Return the variance of the common part; a cycle with a finding says nothing of health."""
    rate = np.maximum(1 / (old.batches + PRIOR_CYCLES + 1), MEMORY)
    healthy = np.isfinite(location) & ~is_open
    squared = np.where(healthy, location, 0.0) ** 2
    return np.where(healthy, old.variance + rate * (squared - old.variance), old.variance)
