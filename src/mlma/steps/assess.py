"""Assess: evidence added up per stream, alarms and a verdict.

Takes what the references said and the own parts of the scores, gives the evidence. `added_up` and
`judged` look at any block of streams; `alarmed` in between needs all of them, because it counts how
many there are. Next is `decide`.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mlma.domain.columns import Columns
from mlma.domain.groups import Groups
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState
from mlma.domain.verdicts import Codes, Reason, Verdict
from mlma.stats.cusum import accumulated, bounded, tail_probability
from mlma.stats.dial import Limits
from mlma.stats.e_process import detected, e_tail
from mlma.stats.multiplicity import adjusted_p_values, rejected
from mlma.stats.tails import normal_p
from mlma.steps.compare import Compared
from mlma.steps.find import Found, member_of
from mlma.steps.separate import OwnParts

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LARGEST_REFERENCE_ERROR = 2.0
"""Standard errors by which the anchored level may be off: the cusum must not add these up."""


@dataclass(frozen=True, slots=True)
class Sums(Columns):
    """Evidence after this batch; all ``(n_streams,)``, as in `AgentState`."""

    up: Floats
    down: Floats
    drift: Floats
    all: Floats


@dataclass(frozen=True, slots=True)
class Weighed(Columns):
    """Own parts of the scores, and the evidence with them added."""

    own: OwnParts
    sums: Sums


@dataclass(frozen=True, slots=True)
class Alarms(Columns):
    """What the evidence says; all ``(n_streams,) bool``.

    batch
        this batch alone is significantly worse (two-sided: or better), across the streams.
    own, drift
        the evidence of the stream itself adds up to an alarm; it is that of the anchored reference.
    common
        the stream alarms as part of a finding.
    shared
        it is part of an open finding and stands above its reference.
    rising
        the evidence of a group of the stream is growing.
    better
        the mirrored evidence adds up: losses are lower.
    """

    batch: Bools
    own: Bools
    drift: Bools
    common: Bools
    shared: Bools
    rising: Bools
    better: Bools


@dataclass(frozen=True, slots=True)
class Assessment:
    """The evidence of a cycle, for any block of its streams."""

    seen: Compared
    own: OwnParts
    sums: Sums
    alarms: Alarms
    verdict: Codes

    @property
    def alarm(self) -> Bools:
        """Alarms, on the stream's own or as part of a finding."""
        return self.alarms.own | self.alarms.common


def added_up(state: AgentState, seen: Compared, own: OwnParts, policy: MLMA) -> Sums:
    """Return the evidence with this batch added; the state is read, not written."""
    add = detected if policy.accumulate == "e_process" else accumulated
    allowance, score = policy.allowance, bounded(own.score)
    drift = state.cusum_drift
    if policy.drift:
        error = LARGEST_REFERENCE_ERROR / np.sqrt(np.maximum(seen.count, 1))
        drift = add(drift, bounded(own.drift) - error, allowance)
    return Sums(
        up=add(state.cusum_up, score, allowance),
        down=add(state.cusum_down, bounded(mirrored(own.score, seen.spread, policy)), allowance),
        drift=drift,
        all=add(state.cusum_all, bounded(seen.score), allowance),
    )


def mirrored(score: Floats, spread: Floats, policy: MLMA) -> Floats:
    """Return the scores of a lower loss: as far below the reference as the margin lies above it."""
    if not policy.margin:
        return -score
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = 2 * np.log1p(policy.margin) / spread
    return np.asarray(-score - np.nan_to_num(shift, posinf=0.0))


def alarmed(
    seen: Compared,
    weight: Weighed,
    *,
    found: Found,
    groups: Groups,
    policy: MLMA,
    limits: Limits,
) -> Alarms:
    """Return the alarms of all streams of the cycle."""
    own, sums = weight.own, weight.sums
    told = np.isfinite(own.score)
    below = mirrored(own.score, seen.spread, policy)
    size = np.maximum(own.score, below) if policy.side == "two-sided" else own.score
    batch = _unlikely(size, told, policy)
    if policy.accumulate == "none":
        up = batch & (own.score > 0)
        up, drift = (batch, up & False) if policy.side == "two-sided" else (up, up & False)
        better = batch & (own.score < 0)
    elif policy.false_retrainings is None:
        up, drift, better = _by_level(sums, told, policy)
    else:
        highest = np.maximum(sums.up, sums.down) if policy.side == "two-sided" else sums.up
        up = (highest >= limits.up) & told
        drift = (sums.drift >= limits.drift) & told
        better = (sums.down >= limits.up) & told
    shared = _shared(seen.score, found, groups, policy)
    common = np.zeros(len(told), dtype=np.bool_)
    if found.alarm.any():
        member = np.isfinite(seen.score) & member_of(found.alarm, groups)
        common = _with_group(member, shared, sums, policy, limits)
    mine = up | drift | seen.awakened
    rising = member_of(found.rising, groups)
    return Alarms(batch, mine, drift & ~up, common & ~mine, shared, rising, better)


def overruled(weight: Weighed, alarms: Alarms, told: Codes | None) -> tuple[Weighed, Alarms]:
    """Return evidence and alarms after what an engineer said of batches.

    A batch that is said to be healthy raises nothing, and the evidence starts anew; one that is
    said to be degraded raises an alarm. ``told`` is that of `mlma.steps.compare.Incoming`.
    """
    if told is None or not told.any():
        return weight, alarms
    well, ill = told == Verdict.HEALTHY, told == Verdict.DEGRADED
    said = well | ill

    def kept(flag: Bools) -> Bools:
        return np.asarray(flag & ~said)

    def without(evidence: Floats) -> Floats:
        return np.where(well, 0.0, evidence)

    sums = weight.sums
    sums = Sums(without(sums.up), without(sums.down), without(sums.drift), without(sums.all))
    changed = Alarms(
        batch=kept(alarms.batch),
        own=kept(alarms.own) | ill,
        drift=kept(alarms.drift),
        common=kept(alarms.common),
        shared=kept(alarms.shared),
        rising=alarms.rising & ~well,
        better=kept(alarms.better),
    )
    return replace(weight, sums=sums), changed


def with_sums(state: AgentState, sums: Sums) -> AgentState:
    """Return the state with the evidence of this batch in it."""
    return replace(
        state,
        cusum_up=sums.up,
        cusum_down=sums.down,
        cusum_drift=sums.drift,
        cusum_all=sums.all,
    )


def judged(
    seen: Compared, weight: Weighed, alarms: Alarms, told: Codes | None = None
) -> Assessment:
    """Return the assessment with the verdict on each stream's batch; ``told`` as in `overruled`."""
    own = weight.own
    verdict = np.full(len(seen.n), Verdict.HEALTHY, dtype=np.int8)
    verdict[np.isnan(own.score)] = Verdict.UNCLEAR
    if alarms.better.any():
        verdict[alarms.better] = Verdict.IMPROVED
    worse = (alarms.own & ~alarms.better) | alarms.common | alarms.shared
    worse |= alarms.batch & (own.score > 0)
    verdict[worse] = Verdict.DEGRADED
    verdict[alarms.batch & (own.score < 0)] = Verdict.IMPROVED
    verdict[(seen.why == Reason.WAITING) | (seen.n == 0)] = Verdict.WAITING
    if told is not None and told.any():
        verdict = np.where(told == 0, verdict, told).astype(np.int8)
    return Assessment(seen, own, weight.sums, alarms, verdict)


def tails(evidence: Floats, policy: MLMA) -> Floats:
    """Return the p-value of evidence, by the way in which the policy adds up."""
    if policy.accumulate == "e_process":
        return e_tail(evidence)
    return tail_probability(evidence, policy.allowance)


def _unlikely(size: Floats, told: Bools, policy: MLMA) -> Bools:
    """Return which batches alone are significant, across the streams of the cycle."""
    at_most = policy.level / 2 if policy.side == "two-sided" else policy.level
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(size >= -float(ndtri(at_most)) - 1e-9)
    made = np.zeros(len(size), dtype=np.bool_)
    p_value = normal_p(size[rows], policy.side)
    rows, p_value = rows[p_value <= policy.level], p_value[p_value <= policy.level]
    made[rows] = rejected(p_value, policy.level, policy.multiplicity, int(told.sum()))
    return made


def _by_level(sums: Sums, told: Bools, policy: MLMA) -> tuple[Bools, Bools, Bools]:
    """Return alarms, those of the drift, and improvements, where the level decides."""

    def adjusted(evidence: Floats, sides: int) -> Floats:
        tail = np.where(told, np.minimum(sides * tails(evidence, policy), 1.0), np.nan)
        return adjusted_p_values(tail, policy.multiplicity)

    both = policy.side == "two-sided"
    up = np.maximum(sums.up, sums.down) if both else sums.up
    highest = np.maximum(up, sums.drift)
    alarm = adjusted(highest, 2 if both else 1) <= policy.level
    better = adjusted(sums.down, 1) <= policy.level
    drift = sums.drift > up
    return alarm & ~drift, alarm & drift, better


def _shared(score: Floats, found: Found, groups: Groups, policy: MLMA) -> Bools:
    """Return which streams stand above their references with a group whose finding is open."""
    if not found.open.any():
        return np.zeros(len(score), dtype=np.bool_)
    above = normal_p(score, "greater") <= policy.level
    return np.asarray(above & member_of(found.open, groups))


def _with_group(member: Bools, shared: Bools, sums: Sums, policy: MLMA, limits: Limits) -> Bools:
    """Return which members alarm with their group: by their evidence, common part included."""
    if policy.accumulate == "none":
        return member & shared
    if policy.false_retrainings is None:
        tail = np.where(member, tails(sums.all, policy), np.nan)
        return adjusted_p_values(tail, policy.multiplicity) <= policy.level
    return np.asarray(member & (sums.all >= limits.up))
