"""Decide: evidence, age and policy become decisions, each with its reason.

Takes the state and an assessment, gives the state after the batch and the decisions. Next is
`refer`.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.settings import MLMA, Policy
from mlma.domain.state import NOT_OPEN, AgentState
from mlma.domain.verdicts import Codes, Decision, Reason, Verdict
from mlma.stats.levels import log_level, rise_p_value
from mlma.steps.assess import Assessment
from mlma.steps.schedule import scheduled

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decision and reason per stream, codes of `Decision` and `Reason`, ``(n_streams,) int8``.

    ``alarm (n_streams,) bool``: the evidence itself called for a re-training.
    """

    decision: Codes
    reason: Codes
    alarm: Bools


def decide(
    state: AgentState, seen: Assessment, policy: Policy, seed: int
) -> tuple[AgentState, Decisions]:
    """Return the state after this batch and what is to be done.

    Writes age, cycle, cusum_up, cusum_down, alarms_in_a_row, episode, next_review, oldest, pending.
    """
    aged = replace(
        state,
        age=state.age + 1,
        cycle=state.cycle + 1,
        cusum_up=seen.cusum_up,
        cusum_down=seen.cusum_down,
    )
    if isinstance(policy, MLMA):
        decided, retrain, alarm, reason = _by_evidence(aged, seen, policy)
    else:
        retrain = scheduled(policy, state.key, aged.cycle, seed)
        decided, reason = aged, _quiet_reason(seen)
        alarm = np.zeros(len(state), dtype=np.bool_)
        reason[retrain] = Reason.SCHEDULE
    wanted = retrain & ~state.pending
    reason[retrain & state.pending] = Reason.PENDING
    decision = np.where(wanted, Decision.RETRAIN, Decision.KEEP).astype(np.int8)
    return replace(decided, pending=state.pending | wanted), Decisions(decision, reason, alarm)


def _by_evidence(
    state: AgentState, seen: Assessment, policy: MLMA
) -> tuple[AgentState, Bools, Bools, Codes]:
    """Return the new state, where to re-train, where by an alarm, and why."""
    told = np.isfinite(seen.p_value) | seen.awakened
    in_a_row = np.where(seen.alarm, state.alarms_in_a_row + 1, state.alarms_in_a_row)
    in_a_row = np.where(told & ~seen.alarm, 0, in_a_row)
    was_open = state.episode != NOT_OPEN
    opened = seen.alarm & (in_a_row >= policy.confirm) & ~was_open & ~state.pending
    episode, follow_up = _followed_up(state, opened, policy)
    quiet = ~was_open & ~opened
    review, next_review = _reviewed(state, quiet, policy)
    too_old = quiet & (state.age >= state.oldest)

    reason = _quiet_reason(seen)
    reason[seen.alarm & state.pending] = Reason.PENDING
    reason[seen.alarm & was_open] = Reason.EPISODE
    for where, why in (
        (review, Reason.REVIEW),
        (too_old, Reason.MAX_AGE),
        (follow_up, Reason.FOLLOW_UP),
        (opened, Reason.ALARM),
        (opened & (seen.verdict == Verdict.IMPROVED), Reason.IMPROVED),  # two-sided
        (opened & seen.awakened, Reason.AWAKENED),
    ):
        reason[where] = why
    decided = replace(
        state,
        cusum_up=np.where(opened, 0.0, state.cusum_up),
        cusum_down=np.where(opened, 0.0, state.cusum_down),
        alarms_in_a_row=np.where(opened, 0, in_a_row),
        episode=episode,
        next_review=next_review,
        # Asked for once: if no version comes of it, again as late as a review, not every batch.
        oldest=np.where(too_old, state.age + float(policy.review_every), state.oldest),
    )
    return decided, opened | follow_up | review | too_old, opened, reason


def _followed_up(state: AgentState, opened: Bools, policy: MLMA) -> tuple[NDArray[np.int64], Bools]:
    """Return the batches since each open alarm, and where a follow-up is due now."""
    last = policy.follow_ups[-1] if policy.follow_ups else 0
    since = np.where(state.episode != NOT_OPEN, state.episode + 1, NOT_OPEN)
    follow_up = np.isin(since, policy.follow_ups)
    since = np.where(since >= last, NOT_OPEN, since)
    return np.where(opened & (last > 0), 0, since), follow_up


def _reviewed(state: AgentState, quiet: Bools, policy: MLMA) -> tuple[Bools, NDArray[np.float64]]:
    """Return where a review asks for a re-training, and the age of the next review."""
    due = np.flatnonzero(quiet & (state.age >= state.next_review))
    risen = np.zeros(len(state), dtype=np.bool_)
    means, birth_level = state.reference.means[due], state.birth_level[due]
    matters = log_level(means) - birth_level > np.log1p(policy.review_rise)
    risen[due] = matters & (rise_p_value(means, birth_level) <= policy.review_level)
    next_review = state.next_review.copy()
    next_review[due] = state.age[due] + policy.review_every
    return risen, next_review


def _quiet_reason(seen: Assessment) -> Codes:
    """Return the reason for doing nothing, by verdict."""
    reason = np.full(len(seen.n), Reason.NONE, dtype=np.int8)
    for verdict, why in (
        (Verdict.WAITING, Reason.WAITING),
        (Verdict.UNCLEAR, Reason.UNCLEAR),
        (Verdict.IMPROVED, Reason.IMPROVED),
        (Verdict.DEGRADED, Reason.GATHERING),
    ):
        reason[seen.verdict == verdict] = why
    return reason
