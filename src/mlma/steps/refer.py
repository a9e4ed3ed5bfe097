"""Refer: the reference absorbs the healthy batch, or restarts with a new model version.

Takes the state and an assessed batch (or the held-out losses of new versions), gives the state
with new references. Next is the commit.
"""

from dataclasses import replace
from math import log

import numpy as np
from numpy.typing import NDArray

from mlma.domain.chance import uniforms
from mlma.domain.moments import Moments
from mlma.domain.profiles import ProfileMoments
from mlma.domain.settings import MLMA
from mlma.domain.state import (
    NOT_OPEN,
    AgentState,
    HeldOut,
    LossWindow,
    ReferenceState,
    Waiting,
)
from mlma.domain.verdicts import Reason, Verdict
from mlma.stats.calendar import class_count
from mlma.stats.cusum import RISING, rising_above
from mlma.stats.moderation import SMALLEST_SD
from mlma.stats.moments import absorbed, copied, moments_of, released
from mlma.stats.profile import profile_of, profile_updated
from mlma.stats.registry import batch_test
from mlma.steps.assess import Assessment
from mlma.steps.compare import Incoming, eased_losses

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_AGE_DRAW = -2

WINSOR = 3.0
"""A batch enters no further from the expected log mean than so many standard errors."""

AGE_SPREAD = 0.25
"""Share of the review age by which ages vary from version to version."""


def absorb(state: AgentState, incoming: Incoming, made: Assessment, policy: MLMA) -> AgentState:
    """Return the state whose references have taken in the batches that are known to be healthy.

    A batch that adds to evidence which is still growing waits outside: a reference that follows a
    rise while the evidence for it adds up would never see it. If the evidence dissolves, the
    waiting batches were healthy and enter after all, so that the reference is not biased towards
    low losses; if it becomes an alarm they are dropped. A batch that stands above its reference
    together with its group, while a finding is open, never enters: it is an event. While follow-ups
    are due the reference takes in nothing, unless it is still too small to tell anything. Writes
    reference and birth_level.
    """
    count = made.seen.count
    suspect = _suspect(state, made, policy)
    usable = np.isfinite(made.seen.logs) & (made.seen.why != Reason.EXCLUDED)
    usable &= ~made.alarms.shared
    usable &= (state.episode == NOT_OPEN) | (count < policy.min_reference_batches)
    if policy.reference == "fixed":
        usable &= count < policy.reference_batches
    alarm = made.alarm
    away, moved = _deviation(made, policy)
    reference, taken = state.reference, usable & ~suspect
    moments, waiting = _released(reference, taken, alarm, policy)
    moments = absorbed(
        moments,
        np.where(moved, made.seen.centre + away, made.seen.logs) if moved.any() else made.seen.logs,
        incoming.batch.calendar,
        taken=taken,
        positive=made.seen.loss > 0,
        moved=moved,
        cap=policy.reference_batches,
        own=True,
    )
    waiting = _with_more(waiting, usable & suspect & ~alarm, away)
    window = _appended(reference.window, np.flatnonzero(taken), incoming)
    profile = _profiled(reference.slot_profile, taken, incoming, policy)
    level, new_count = moments.level(), moments.count()
    known = new_count >= policy.min_reference_batches
    anchor = _anchored(reference.anchor_level, level, new_count, made.seen.variance, policy)
    anchor = np.where(made.seen.n > 0, anchor, reference.anchor_level)
    newborn = np.isnan(state.birth_level) & known
    birth_level = state.birth_level
    if newborn.any():
        birth_level = np.where(newborn, level, birth_level)
    return replace(
        state,
        reference=ReferenceState(moments, waiting, anchor, window, profile),
        birth_level=birth_level,
    )


def _suspect(state: AgentState, made: Assessment, policy: MLMA) -> Bools:
    """Return where the batch is degraded, or evidence against the stream is growing."""
    sums = made.sums
    highest = np.maximum(sums.up, sums.drift)
    if made.alarms.rising.any():
        # With their group only: streams that sit out days of a common rise each by itself would
        # differ from one another ever after.
        highest = np.maximum(highest, np.where(made.alarms.rising, sums.all, 0.0))
    if policy.accumulate != "none":  # low runs wait as high ones do, or the reference would sink
        highest = np.maximum(highest, sums.down)
    if policy.accumulate == "e_process":
        limit = log(1 + 1 / RISING)
    else:
        limit = rising_above(policy.allowance)
    suspect = (highest > limit) & (state.reference.waiting.batches < policy.reference_batches)
    if made.alarms.better.any():
        suspect &= ~made.alarms.better
    degraded = made.verdict == Verdict.DEGRADED
    return np.asarray(suspect | degraded | made.alarm)


def _deviation(made: Assessment, policy: MLMA) -> tuple[Floats, Bools]:
    """Return the winsorised deviation of each log mean from the expected one; which were moved."""
    seen = made.seen
    away, spread = seen.logs - seen.centre, seen.spread
    if batch_test(policy.test).memory != "means":
        spread = np.sqrt(seen.variance)
    limit = WINSOR * spread
    with np.errstate(invalid="ignore"):
        moved = np.abs(away) > limit
    if moved.any():
        moved &= (seen.count >= policy.min_reference_batches) & (limit > SMALLEST_SD)
    if moved.any():
        away = np.where(moved, np.clip(away, -limit, limit), away)
    return away, moved


def _released(
    reference: ReferenceState, calm: Bools, alarm: Bools, policy: MLMA
) -> tuple[Moments, Waiting]:
    """Return moments with the waiting batches taken in where calm, and what still waits.

    Where an alarm was raised they are dropped. The moments are a copy.
    """
    moments, waiting = copied(reference.moments), reference.waiting
    going = np.flatnonzero((calm | alarm) & (waiting.batches > 0))
    if not len(going):
        return moments, waiting
    entering = going[calm[going]]
    if len(entering):
        held = waiting.rows(entering)
        merged = released(
            moments.rows(entering),
            held.batches.astype(np.float64),
            held.total.astype(np.float64),
            held.squares.astype(np.float64),
            policy.reference_batches,
        )
        for name, column in merged.flat().items():
            getattr(moments, name)[entering] = column
    return moments, waiting.with_rows(going, Waiting.none(len(going)))


def _with_more(waiting: Waiting, more: Bools, away: Floats) -> Waiting:
    """Return what waits, with this batch where ``more``."""
    rows = np.flatnonzero(more)
    if not len(rows):
        return waiting
    held, deviation = waiting.rows(rows), np.nan_to_num(away[rows]).astype(np.float32)
    longer = Waiting(
        held.batches + np.float32(1), held.total + deviation, held.squares + deviation**2
    )
    return waiting.with_rows(rows, longer)


def _anchored(
    anchor: Floats, level: Floats, count: Floats, variance: Floats, policy: MLMA
) -> Floats:
    """Return the best level since the last re-training.

    An anchor whose reference is still growing follows it. Afterwards it only moves down, and only
    by what the level lies further below it than its standard error: the lowest of many levels is
    low by chance.
    """
    known = count >= policy.min_reference_batches
    with np.errstate(divide="ignore", invalid="ignore"):
        error = variance * 2 / count
    moved: Floats = np.sqrt(error, out=error)
    moved += level
    moved = np.fmin(anchor, moved, out=moved)  # an error that is not known moves nothing
    fresh = np.isnan(anchor) | (count < policy.reference_batches)
    fresh &= known
    if fresh.any():
        moved = np.where(fresh, level, moved)
    unknown = ~known & np.isnan(anchor)
    if unknown.any():
        moved[unknown] = np.nan
    return moved


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
    reference = _restarted(old.reference, held_out, policy)
    known = reference.moments.count() >= policy.min_reference_batches
    level = np.where(known, reference.moments.level(), np.nan)
    episode = old.episode
    if provisional is not None and policy.due_follow_ups:
        episode = np.where(provisional & (episode == NOT_OPEN), np.int32(0), episode)
    nothing = np.zeros(len(rows))
    new = replace(
        old,
        reference=replace(reference, anchor_level=level),
        age=np.zeros_like(old.age),
        version=old.version + np.int32(1),
        cusum_up=nothing,
        cusum_down=nothing,
        cusum_drift=nothing,
        cusum_all=nothing,
        alarms_in_a_row=np.zeros_like(old.alarms_in_a_row),
        episode=episode,
        birth_level=level,
        next_review=next_review.astype(np.float32),
        oldest=oldest.astype(np.float32),
        pending=np.zeros_like(old.pending),
    )
    return state.with_rows(rows, new)


def start_anew(state: AgentState, rows: Ints, policy: MLMA) -> AgentState:
    """Return the state in which the references of the streams ``rows`` start empty.

    The version stays: what it is usually like has changed for good. Writes reference, cusums,
    alarms_in_a_row, episode and birth_level.
    """
    old, nothing = state.rows(rows), np.zeros(len(rows))
    fresh = replace(
        old,
        reference=empty_reference(len(rows), policy, _slots_of(old.reference)),
        cusum_up=nothing,
        cusum_down=nothing,
        cusum_drift=nothing,
        cusum_all=nothing,
        alarms_in_a_row=np.zeros_like(old.alarms_in_a_row),
        episode=np.full_like(old.episode, NOT_OPEN),
        birth_level=np.full(len(rows), np.nan),
    )
    return state.with_rows(rows, fresh)


def admit(state: AgentState, rows: Ints, policy: MLMA, seed: int) -> AgentState:
    """Return the state after new versions joined the pools of the streams ``rows``.

    The pool forecasts on with all its members, so its reference stays. Writes age, version,
    birth_level, next_review, oldest, pending.
    """
    old = state.rows(rows)
    next_review, oldest = _ages(old, policy, seed)
    known = old.reference.moments.count() >= policy.min_reference_batches
    new = replace(
        old,
        age=np.zeros_like(old.age),
        version=old.version + np.int32(1),
        birth_level=np.where(known, old.reference.moments.level(), np.nan),
        next_review=next_review.astype(np.float32),
        oldest=oldest.astype(np.float32),
        pending=np.zeros_like(old.pending),
    )
    return state.with_rows(rows, new)


def _ages(old: AgentState, policy: MLMA, seed: int) -> tuple[Floats, Floats]:
    """Return age of the first review and maximum age.

    A stream's first version starts in a random phase; later ones vary by a quarter, because a
    common shock re-trains many streams on one day, and their ages would stay in step for good.
    """
    review_age, max_age = policy.first_review, policy.oldest
    sooner = min(review_age, max_age)
    draw = uniforms(seed, old.key, _AGE_DRAW - old.version.astype(np.int64))
    share = np.where(old.version == 0, -draw, AGE_SPREAD * (2 * draw - 1))
    shift = share * (sooner if np.isfinite(sooner) else 0.0)
    return review_age + shift, max_age + shift


def _restarted(old: ReferenceState, held_out: HeldOut | None, policy: MLMA) -> ReferenceState:
    places, n_classes = policy.reference_batches, old.moments.n_classes
    fresh = empty_reference(len(old.anchor_level), policy, _slots_of(old))
    if held_out is None:
        return fresh
    means = (held_out.means() / held_out.difficulty)[:, -places:]
    calendar = held_out.calendar[:, -places:]
    window, profile = fresh.window, fresh.slot_profile
    losses = (held_out.losses / held_out.difficulty[:, :, None])[:, -places:]
    if window is not None:
        window = _filled(window, losses, calendar)
    if profile is not None:
        profile = profile_of(losses, calendar, n_classes)
    moments = moments_of(means, calendar, n_classes)
    return replace(fresh, moments=moments, window=window, slot_profile=profile)


def empty_reference(n_streams: int, policy: MLMA, slots: int) -> ReferenceState:
    """Return empty references, with what the test of the policy remembers."""
    memory, n_classes = batch_test(policy.test).memory, class_count(policy.calendar)
    window = profile = None
    if memory == "losses":
        window = LossWindow.empty(n_streams, policy.reference_batches, slots)
    if memory == "profile":
        profile = ProfileMoments.empty(n_streams, n_classes, slots)
    return ReferenceState.empty(n_streams, n_classes, window, profile)


def _slots_of(reference: ReferenceState) -> int:
    if reference.window is not None:
        return int(reference.window.losses.shape[2])
    profile = reference.slot_profile
    return 0 if profile is None else int(profile.profile.shape[2])


def _profiled(
    profile: ProfileMoments | None, taken: Bools, incoming: Incoming, policy: MLMA
) -> ProfileMoments | None:
    """Return the slot profiles after a batch."""
    if profile is None:
        return None
    loss = incoming.batch.mean()
    eased = loss if incoming.difficulty is None else loss / incoming.difficulty
    batch = eased_losses(loss, eased, incoming.batch)
    return profile_updated(profile, batch, taken, policy.reference_batches)


def _filled(window: LossWindow, losses: Floats, calendar: NDArray[np.int8]) -> LossWindow:
    """Return windows that hold some batches, oldest first."""
    kept, classes = window.losses.copy(), window.calendar.copy()
    taken, places = losses.shape[1], kept.shape[1]
    kept[:, :taken], classes[:, :taken] = losses, calendar
    return LossWindow(kept, classes, np.full(len(kept), taken % places, dtype=np.int32))


def _appended(window: LossWindow | None, rows: Ints, incoming: Incoming) -> LossWindow | None:
    """Return the windows with one batch more; the oldest leaves where it is full."""
    if window is None:
        return None
    at, batch = window.place[rows], incoming.batch
    eased = batch.losses[rows]
    if incoming.difficulty is not None:
        eased = eased / incoming.difficulty[rows, None]
    losses, calendar, place = window.losses.copy(), window.calendar.copy(), window.place.copy()
    losses[rows, at], calendar[rows, at] = eased, batch.calendar[rows]
    place[rows] = (at + 1) % losses.shape[1]
    return LossWindow(losses, calendar, place)
