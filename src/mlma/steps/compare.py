"""Compare: each incoming loss batch with the reference of its stream.

Takes the state and a batch, gives a standard normal score per stream and what the reference
expected. Next is `separate`, which takes out what a group has in common.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch, TestOutcome
from mlma.domain.columns import Columns
from mlma.domain.moments import Moments
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState
from mlma.domain.verdicts import Codes, Reason
from mlma.stats.batch_mean import compared, prior_of
from mlma.stats.cusum import scores
from mlma.stats.moderation import MOST_STREAMS, NOTHING, Prior
from mlma.stats.moments import expectation, log_means
from mlma.stats.profile import profile_test
from mlma.stats.registry import batch_test

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.int64] | slice

MOST_OUTLYING = 0.25
"""A reference of which more batches than this share are outlying spans an outage."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """What comes in with one cycle.

    batch
        the losses.
    difficulty
        ``(n_streams,)``, what the losses are divided by before they are compared; None = 1.
    excluded
        ``(n_streams,) bool``, batches that count neither as evidence nor for the reference (events,
        labels); None = none.
    hold
        ``(n_streams,) int8``, why a stream is not re-trained whatever the evidence says, a code of
        `Reason`; 0 = it may be. None = all may.
    told
        ``(n_streams,) int8``, verdict of an engineer, `Verdict.HEALTHY` or `Verdict.DEGRADED`; 0 =
        none. None = none at all.
    """

    batch: LossBatch
    difficulty: Floats | None = None
    excluded: Bools | None = None
    hold: Codes | None = None
    told: Codes | None = None

    def rows(self, at: Rows) -> "Incoming":
        """Return what comes in for some streams."""
        return Incoming(
            self.batch.rows(at),
            None if self.difficulty is None else self.difficulty[at],
            None if self.excluded is None else self.excluded[at],
            None if self.hold is None else self.hold[at],
            None if self.told is None else self.told[at],
        )


@dataclass(frozen=True, slots=True)
class Compared(Columns):
    """What the references say of the incoming batches; all ``(n_streams,)``.

    n, loss
        number of losses and their mean.
    logs
        log of the mean, difficulty taken out, floored; NaN = none.
    centre, variance, count
        expected log mean, variance of a log mean, and effective number of reference batches.
    score, drift
        standard normal score, against the reference and against the anchored level; NaN = cannot
        tell.
    statistic, spread, df
        as in `mlma.domain.verdicts.Evidence`.
    slot_log
        log of the loss that a test by slots expects; None = that is the centre.
    why
        reason code where it cannot be told; 0 = it can.
    awakened
        every reference loss is zero and the incoming loss is not.
    """

    n: NDArray[np.int64]
    loss: Floats
    logs: Floats
    centre: Floats
    variance: Floats
    count: Floats
    score: Floats
    drift: Floats
    statistic: Floats
    spread: Floats
    df: Floats
    why: Codes
    awakened: Bools
    slot_log: Floats | None = None


def prior_for(state: AgentState, incoming: Incoming, policy: MLMA) -> Prior:
    """Return what the fleet says of variances; `NOTHING` where the test does not ask for it."""
    calendar, n_classes = incoming.batch.calendar, state.reference.moments.n_classes
    if calendar.min(initial=0) < 0 or calendar.max(initial=0) >= n_classes:
        raise ValueError(f"calendar classes must be from 0 to {n_classes - 1}")
    if not batch_test(policy.test).moderated:
        return NOTHING
    rows = sampled(state.key, MOST_STREAMS)
    moments = state.reference.moments.rows(rows)
    expected = expectation(moments, incoming.batch.calendar[rows])
    return prior_of(expected, policy.min_reference_batches)


def compare(state: AgentState, incoming: Incoming, policy: MLMA, prior: Prior) -> Compared:
    """Return the comparison of all streams; the state is read, not written."""
    moments = state.reference.moments
    n, loss = incoming.batch.summary()
    eased = loss if incoming.difficulty is None else loss / incoming.difficulty
    logs = log_means(eased, moments.typical)
    expected = expectation(moments, incoming.batch.calendar)
    risen = expected.level - state.reference.anchor_level
    above = logs
    if policy.margin:
        above = above - np.log1p(policy.margin)
    if policy.reference == "anchored":
        above = above + np.nan_to_num(risen)
    made = compared(above, expected, prior)
    seen = Compared(
        n=n,
        loss=loss,
        logs=logs,
        centre=expected.centre,
        variance=expected.variance,
        count=expected.count,
        score=made.score,
        drift=made.score,
        statistic=made.statistic,
        spread=made.spread,
        df=made.df,
        why=np.zeros(len(loss), dtype=np.int8),
        awakened=np.zeros(len(loss), dtype=np.bool_),
    )
    if batch_test(policy.test).memory != "means":
        seen = _by_slots(seen, state, incoming.batch, np.exp(above - logs) * eased, policy)
    seen = _untold(seen, moments, incoming.excluded, policy)
    if policy.reference == "anchored":
        return replace(seen, drift=seen.score)
    with np.errstate(divide="ignore", invalid="ignore"):
        return replace(seen, drift=seen.score + risen / made.spread)


def sampled(key: NDArray[np.uint64], most: int) -> NDArray[np.int64]:
    """Return about ``most`` rows, chosen by the streams' names: all of them in a small fleet."""
    if len(key) <= most:
        return np.arange(len(key))
    return np.flatnonzero(key < np.uint64(2.0**64 * most / len(key)))


def reference_logs(seen: Compared, state: AgentState, incoming: Incoming, policy: MLMA) -> Floats:
    """Return the log of the loss that each reference expects; NaN = none, minus infinity = 0."""
    made = seen.centre if seen.slot_log is None else seen.slot_log
    if policy.reference == "anchored":
        made = made - np.nan_to_num(state.reference.moments.level() - state.reference.anchor_level)
    if incoming.difficulty is not None:
        made = made + np.log(incoming.difficulty)
    unknown = np.isnan(state.reference.moments.typical)
    if unknown.any():
        made = np.where(unknown, np.where(seen.count > 0, -np.inf, np.nan), made)
    return made


def eased_losses(loss: Floats, eased: Floats, batch: LossBatch) -> LossBatch:
    """Return the batch with its difficulty taken out, as it was taken out of its mean."""
    scale = np.divide(eased, loss, out=np.ones_like(loss), where=loss > 0)
    return LossBatch(batch.losses * scale[:, None], batch.calendar)


def _by_slots(
    seen: Compared, state: AgentState, batch: LossBatch, eased: Floats, policy: MLMA
) -> Compared:
    """Return the comparison by a test that reads more of the reference than its batch means."""
    outcome = _outcome(state, eased_losses(seen.loss, eased, batch), policy)
    score = outcome.score
    if score is None or policy.accumulate == "none":
        score = scores(outcome.p_value, outcome.statistic, policy.side)
    nothing = np.full(len(eased), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        level, rise = np.log(outcome.reference_loss), np.log1p(outcome.effect)
    logs = seen.logs
    if state.reference.slot_profile is not None:
        # A part of a day has another mean: what it is to the whole days is its rise.
        logs = np.where(np.isfinite(rise), seen.centre + rise, logs)
    return replace(
        seen,
        logs=logs,
        slot_log=level,
        score=score,
        statistic=outcome.statistic,
        spread=nothing if outcome.spread is None else outcome.spread,
        df=nothing if outcome.df is None else outcome.df,
    )


def _outcome(state: AgentState, batch: LossBatch, policy: MLMA) -> TestOutcome:
    window, profile = state.reference.window, state.reference.slot_profile
    if window is not None:
        return batch_test(policy.test).function(batch, window.reference(), policy.side)
    if profile is not None:
        return profile_test(batch, profile, policy.side)
    raise ValueError(f"the state does not remember what the test {policy.test} reads")


def _untold(seen: Compared, moments: Moments, excluded: Bools | None, policy: MLMA) -> Compared:
    """Return the comparison with reasons where it cannot be told, and no score there."""
    untold = np.isnan(seen.score)
    few = seen.count < policy.min_reference_batches
    outage = moments.outlying > MOST_OUTLYING
    dead = np.isnan(moments.typical)
    usual = not (untold.any() or few.any() or outage.any() or dead.any())
    if usual and excluded is None:
        return seen
    why = np.zeros(len(few), dtype=np.int8)
    why[untold] = Reason.FLAT
    why[outage] = Reason.OUTAGE
    why[few] = Reason.UNCLEAR
    why[np.isnan(seen.loss)] = Reason.WAITING
    awakened = ~few & dead & (seen.loss > 0)
    if excluded is not None:
        why[excluded] = Reason.EXCLUDED
        awakened &= ~excluded
    score = np.where(why == Reason.NONE, seen.score, np.nan)
    return replace(seen, score=score, why=why, awakened=awakened)
