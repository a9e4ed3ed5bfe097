"""Decide: evidence, age and policy become decisions, each with its reason.

Takes the state and an assessment, gives the state after the batch and the decisions. Next is
`refer`.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns
from mlma.domain.policy import Policy
from mlma.domain.settings import MLMA
from mlma.domain.state import NOT_OPEN, AgentState
from mlma.domain.verdicts import Codes, Decision, Reason, Verdict
from mlma.stats.levels import rise_p_value
from mlma.steps.assess import Assessment
from mlma.steps.schedule import scheduled

Bools = NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Decisions(Columns):
    """Verdict, decision and reason per stream, their codes, ``(n_streams,) int8``.

    ``alarm (n_streams,) bool``: the evidence itself called for a re-training.
    """

    verdict: Codes
    decision: Codes
    reason: Codes
    alarm: Bools


def decide(
    state: AgentState, made: Assessment, policy: Policy, seed: int, hold: Codes | None = None
) -> tuple[AgentState, Decisions]:
    """Return the state after this batch and what is to be done.

    The evidence of the batch is in the state already. ``hold`` is that of
    `mlma.steps.compare.Incoming`. Writes age, cycle, cusums where they start anew, alarms_in_a_row,
    episode, next_review, oldest, pending.
    """
    aged = replace(
        state,
        age=state.age + np.int32(1),
        cycle=state.cycle + np.int32(1),
        cusum_down=_unless(made.alarms.better, state.cusum_down),
    )
    if isinstance(policy, MLMA):
        decided, retrain, alarm, reason = _by_evidence(aged, made, policy)
    else:
        retrain = scheduled(policy, state.key, aged.cycle.astype(np.int64), seed)
        decided, reason = aged, _quiet_reason(made)
        alarm = np.zeros(len(state), dtype=np.bool_)
        reason[retrain] = Reason.SCHEDULE
    wanted = retrain & ~state.pending
    held = np.zeros(len(state), dtype=np.bool_) if hold is None else wanted & (hold != 0)
    wanted &= ~held
    if retrain.any():
        reason[retrain & state.pending] = Reason.PENDING
        decided = replace(decided, pending=state.pending | wanted)
    decision = wanted * np.int8(Decision.RETRAIN)  # all others keep theirs
    if hold is not None and held.any():
        decision[held], reason[held] = Decision.HOLD, hold[held]
    return decided, Decisions(made.verdict, decision, reason, alarm)


def _by_evidence(
    state: AgentState, made: Assessment, policy: MLMA
) -> tuple[AgentState, Bools, Bools, Codes]:
    """Return the new state, where to re-train, where by an alarm, and why."""
    alarm = made.alarm
    told = np.isfinite(made.seen.score) | made.seen.awakened
    in_a_row = _in_a_row(state.alarms_in_a_row, alarm, told)
    was_open = state.episode != NOT_OPEN
    opened = alarm & (in_a_row >= policy.confirm) & ~was_open & ~state.pending
    if policy.has_pool:
        opened &= (state.age >= policy.cooldown) | (state.version <= 1)
    episode, follow_up = _followed_up(state, opened, policy)
    quiet = ~was_open & ~opened
    review, next_review = _reviewed(state, quiet, policy)
    too_old = quiet & (state.age >= state.oldest)

    reason = _quiet_reason(made)
    if alarm.any():
        reason[alarm & state.pending] = Reason.PENDING
        reason[alarm & was_open] = Reason.EPISODE
    for where, why in (
        (review, Reason.REVIEW),
        (too_old, Reason.MAX_AGE),
        (follow_up, Reason.FOLLOW_UP),
        (opened, Reason.ALARM),
        (opened & made.alarms.drift, Reason.DRIFT),
        (opened & made.alarms.common, Reason.COMMON),
        (opened & (made.verdict == Verdict.IMPROVED), Reason.IMPROVED),  # two-sided
        (opened & made.seen.awakened, Reason.AWAKENED),
    ):
        if where.any():
            reason[where] = why
    if too_old.any():
        # Asked for once: if no version comes of it, again as late as a review, not every batch.
        later = state.age + np.float32(policy.review_every)
        state = replace(state, oldest=np.where(too_old, later, state.oldest).astype(np.float32))
    decided = replace(state, alarms_in_a_row=in_a_row, episode=episode, next_review=next_review)
    return _anew(decided, opened), opened | follow_up | review | too_old, opened, reason


def _in_a_row(before: NDArray[np.int32], alarm: Bools, told: Bools) -> NDArray[np.int32]:
    """Return the number of alarms in a row; what cannot be told changes nothing."""
    rows = np.flatnonzero(alarm | (before != 0))
    if not len(rows):
        return before
    made = before.copy()
    kept = np.where(told[rows], 0, before[rows])
    made[rows] = np.where(alarm[rows], before[rows] + 1, kept)
    return made


def _anew(state: AgentState, opened: Bools) -> AgentState:
    """Return the state in which opened alarms start their evidence anew."""
    if not opened.any():
        return state
    return replace(
        state,
        alarms_in_a_row=_unless(opened, state.alarms_in_a_row),
        cusum_up=_unless(opened, state.cusum_up),
        cusum_down=_unless(opened, state.cusum_down),
        cusum_drift=_unless(opened, state.cusum_drift),
        cusum_all=_unless(opened, state.cusum_all),
    )


def _unless(gone: Bools, column: NDArray[Number]) -> NDArray[Number]:
    """Return the column, 0 where ``gone``."""
    rows = np.flatnonzero(gone)
    if not len(rows):
        return column
    made = column.copy()
    made[rows] = 0
    return made


def _followed_up(state: AgentState, opened: Bools, policy: MLMA) -> tuple[NDArray[np.int32], Bools]:
    """Return the batches since each open alarm, and where a follow-up is due now."""
    last = policy.due_follow_ups[-1] if policy.due_follow_ups else 0
    due = np.zeros(len(opened), dtype=np.bool_)
    rows = np.flatnonzero(opened | (state.episode != NOT_OPEN))
    if not last or not len(rows):
        return state.episode, due
    since = np.where(opened[rows], np.int32(0), state.episode[rows] + np.int32(1))
    due[rows] = np.isin(since, policy.due_follow_ups)
    episode = state.episode.copy()
    episode[rows] = np.where(since >= last, np.int32(NOT_OPEN), since)
    return episode, due


def _reviewed(state: AgentState, quiet: Bools, policy: MLMA) -> tuple[Bools, NDArray[np.float32]]:
    """Return where a review asks for a re-training, and the age of the next review."""
    due = np.flatnonzero(quiet & (state.age >= state.next_review))
    risen = np.zeros(len(state), dtype=np.bool_)
    if not len(due):
        return risen, state.next_review
    moments, birth_level = state.reference.moments.rows(due), state.birth_level[due]
    matters = moments.level() - birth_level > np.log1p(policy.review_rise)
    risen[due] = matters & (rise_p_value(moments, birth_level) <= policy.review_level)
    next_review = state.next_review.copy()
    next_review[due] = state.age[due] + policy.review_every
    return risen, next_review


def _quiet_reason(made: Assessment) -> Codes:
    """Return the reason for doing nothing, by verdict."""
    reason = made.seen.why.copy()
    if made.alarms.better.any() or made.alarms.batch.any():
        reason[made.verdict == Verdict.IMPROVED] = Reason.IMPROVED
    degraded = made.verdict == Verdict.DEGRADED
    if degraded.any():
        reason[degraded] = Reason.GATHERING
        reason[degraded & made.alarms.shared & ~made.alarms.own] = Reason.COMMON
    return reason
