"""Refer: the reference absorbs the healthy batch, or restarts with a new model version.

Takes the state and an assessed batch (or the held-out losses of new versions), gives the state
with new references. Next is the commit.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch
from mlma.domain.chance import uniforms
from mlma.domain.settings import MLMA
from mlma.domain.state import NOT_OPEN, AgentState, HeldOut, ReferenceState
from mlma.domain.verdicts import Verdict
from mlma.stats.levels import log_level
from mlma.steps.assess import Assessment

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_AGE_DRAW = -2


AGE_SPREAD = 0.25
"""Share of the review age by which ages vary from version to version."""


def absorb(
    state: AgentState, batch: LossBatch, difficulty: Floats, seen: Assessment, policy: MLMA
) -> AgentState:
    """Return the state whose references have taken in the batches that were not degraded.

    While follow-ups are due the reference waits, unless it is still too small to tell anything.
    Writes reference and birth_level.
    """
    count = state.reference.rolling.count()
    growing = count < policy.min_reference_batches
    healthy = np.isfinite(seen.loss) & (seen.verdict != Verdict.DEGRADED) & ~seen.alarm
    accepted = healthy & ((state.episode == NOT_OPEN) | growing)
    if policy.reference == "fixed":
        accepted &= count < policy.reference_batches
    rows = np.flatnonzero(accepted)
    reference = _appended(state.reference, rows, batch, difficulty)
    if policy.reference == "anchored":
        reference = _anchored(reference, rows)
    newborn = np.isnan(state.birth_level) & (count + accepted >= policy.min_reference_batches)
    born = np.flatnonzero(newborn)
    birth_level = state.birth_level.copy()
    birth_level[born] = log_level(reference.means[born])
    return replace(state, reference=reference, birth_level=birth_level)


def deploy(
    state: AgentState,
    rows: Ints,
    held_out: HeldOut | None,
    policy: MLMA,
    seed: int,
    *,
    provisional: NDArray[np.bool_] | None = None,
) -> AgentState:
    """Return the state after new versions of the streams ``rows`` went live.

    Model and reference change together: the reference restarts from the held-out losses, or
    empty where there are none. ``provisional (len(rows),)`` marks versions trained on a window
    with large holes: their follow-ups are due as after an alarm. Writes every column but key,
    cycle and benchmark_level.
    """
    old = state.rows(rows)
    next_review, oldest = _ages(old, policy, seed)
    reference = _restarted(old.reference, held_out)
    known = reference.rolling.count() >= policy.min_reference_batches
    episode = old.episode
    if provisional is not None and policy.follow_ups:
        episode = np.where(provisional & (episode == NOT_OPEN), 0, episode)
    new = replace(
        old,
        reference=reference,
        age=np.zeros_like(old.age),
        version=old.version + 1,
        cusum_up=np.zeros_like(old.cusum_up),
        cusum_down=np.zeros_like(old.cusum_down),
        alarms_in_a_row=np.zeros_like(old.alarms_in_a_row),
        episode=episode,
        birth_level=np.where(known, log_level(reference.means), np.nan),
        next_review=next_review,
        oldest=oldest,
        pending=np.zeros_like(old.pending),
    )
    return state.with_rows(rows, new)


def _ages(old: AgentState, policy: MLMA, seed: int) -> tuple[Floats, Floats]:
    """Return age of the first review and maximum age.

    A stream's first version starts in a random phase; later ones vary by a quarter, because a
    common shock re-trains many streams on one day, and their ages would stay in step for good.
    """
    review_age = np.inf if policy.review_age is None else float(policy.review_age)
    max_age = np.inf if policy.max_age is None else float(policy.max_age)
    sooner = min(review_age, max_age)
    draw = uniforms(seed, old.key, _AGE_DRAW - old.version)
    share = np.where(old.version == 0, -draw, AGE_SPREAD * (2 * draw - 1))
    shift = share * (sooner if np.isfinite(sooner) else 0.0)
    return review_age + shift, max_age + shift


def _restarted(old: ReferenceState, held_out: HeldOut | None) -> ReferenceState:
    n, places = old.means.shape
    slots = None if old.losses is None else old.losses.shape[2]
    fresh = ReferenceState.empty(n, places, slots)
    if held_out is None:
        return fresh
    means = (held_out.means() / held_out.difficulty)[:, -places:]
    taken = means.shape[1]
    filled, calendar = fresh.means.copy(), fresh.calendar.copy()
    filled[:, :taken], calendar[:, :taken] = means, held_out.calendar[:, -places:]
    losses = fresh.losses
    if losses is not None:
        losses = losses.copy()
        losses[:, :taken] = (held_out.losses / held_out.difficulty[:, :, None])[:, -places:]
    place = np.full(n, taken % places, dtype=np.int64)
    return ReferenceState(filled, calendar, losses, place, filled, calendar, losses)


def _appended(
    reference: ReferenceState, rows: Ints, batch: LossBatch, difficulty: Floats
) -> ReferenceState:
    """Return the rolling windows with one batch more; the oldest leaves where it is full."""
    at = reference.place[rows]
    eased = batch.losses[rows] / difficulty[rows, None]
    means, calendar = reference.means.copy(), reference.calendar.copy()
    means[rows, at] = LossBatch(eased, batch.calendar[rows]).mean()
    calendar[rows, at] = batch.calendar[rows]
    losses = reference.losses
    if losses is not None:
        losses = losses.copy()
        losses[rows, at] = eased
    place = reference.place.copy()
    place[rows] = (at + 1) % means.shape[1]
    return replace(reference, means=means, calendar=calendar, losses=losses, place=place)


def _anchored(reference: ReferenceState, rows: Ints) -> ReferenceState:
    """Return the references whose anchor follows the rolling window where that one is better.

    An anchor that is still growing follows in any case: a few good batches at the start would
    otherwise stay the whole reference.
    """
    rolling, anchor = reference.means[rows], reference.anchor_means[rows]
    filled, held = np.isfinite(rolling).sum(axis=1), np.isfinite(anchor).sum(axis=1)
    lower = ~(log_level(rolling) > log_level(anchor))
    better = (filled > held) | ((filled == held) & lower)
    at = rows[better]
    means, calendar = reference.anchor_means.copy(), reference.anchor_calendar.copy()
    means[at], calendar[at] = reference.means[at], reference.calendar[at]
    losses = reference.anchor_losses
    if losses is not None and reference.losses is not None:
        losses = losses.copy()
        losses[at] = reference.losses[at]
    return replace(reference, anchor_means=means, anchor_calendar=calendar, anchor_losses=losses)
