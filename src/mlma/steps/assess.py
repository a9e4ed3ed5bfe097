"""Assess: the incoming loss batch against the reference, all streams at once.

Takes the state and a batch, gives the evidence and a verdict per stream. Next is `decide`.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState
from mlma.domain.verdicts import Codes, Verdict
from mlma.stats.cusum import accumulated, scores, tail_probability
from mlma.stats.multiplicity import adjusted_p_values
from mlma.stats.registry import batch_test

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Assessment:
    """The evidence of a cycle; all ``(n_streams,)``, NaN = cannot tell.

    ``alarm``: the evidence reached the policy's level for a higher loss (or, two-sided, for any
    change). ``awakened``: every reference loss is zero and the incoming loss is not.
    """

    n: NDArray[np.int64]
    loss: Floats
    reference_loss: Floats
    effect: Floats
    statistic: Floats
    p_value: Floats
    p_adjusted: Floats
    cusum_up: Floats
    cusum_down: Floats
    p_evidence: Floats
    verdict: Codes
    alarm: Bools
    awakened: Bools


def assess(state: AgentState, batch: LossBatch, difficulty: Floats, policy: MLMA) -> Assessment:
    """Return the evidence of all streams; the state is read, not written.

    ``difficulty (n_streams,)`` is what the batch's losses are divided by before the test.
    """
    reference = tested_reference(state, policy)
    eased = LossBatch(batch.losses / (difficulty * (1 + policy.margin))[:, None], batch.calendar)
    outcome = batch_test(policy.test).function(eased, reference, policy.side)
    known = reference.count() >= policy.min_reference_batches
    p_value = np.where(known, outcome.p_value, np.nan)
    score = scores(p_value, outcome.statistic, policy.side)
    up = accumulated(state.cusum_up, score, policy.allowance)
    down = accumulated(state.cusum_down, -score, policy.allowance)
    loss = batch.mean()
    expected = outcome.reference_loss * difficulty
    dead = known & ~(np.isfinite(reference.means) & (reference.means != 0)).any(axis=1)
    evidence = Assessment(
        n=batch.count(),
        loss=loss,
        reference_loss=np.where(dead, 0.0, expected),
        effect=(1 + outcome.effect) * (1 + policy.margin) - 1,
        statistic=outcome.statistic,
        p_value=p_value,
        p_adjusted=adjusted_p_values(p_value, policy.multiplicity),
        cusum_up=up,
        cusum_down=down,
        p_evidence=np.full(len(loss), np.nan),
        verdict=np.zeros(len(loss), dtype=np.int8),
        alarm=np.zeros(len(loss), dtype=np.bool_),
        awakened=dead & (loss > 0),
    )
    return _judged(evidence, policy)


def tested_reference(state: AgentState, policy: MLMA) -> ReferenceBatch:
    """Return the reference that the policy tests against."""
    return state.reference.anchored if policy.reference == "anchored" else state.reference.rolling


def _judged(seen: Assessment, policy: MLMA) -> Assessment:
    """Return the assessment with verdict and alarm filled in."""
    told = np.isfinite(seen.p_value)
    up = _adjusted_tail(seen.cusum_up, told, policy)
    down = _adjusted_tail(seen.cusum_down, told, policy)
    level, both = policy.level, policy.side == "two-sided"
    p_evidence = np.minimum(1.0, 2 * np.minimum(up, down)) if both else up
    in_batch = told & (seen.p_adjusted <= level)
    worse_batch = in_batch & (seen.statistic > 0)
    worse = worse_batch | (up <= level)
    better_batch = in_batch & (seen.statistic < 0)
    better = better_batch | (down <= level)
    if policy.accumulate == "cusum":
        alarm = told & (p_evidence <= level)
    else:
        alarm = in_batch if both else worse_batch
        worse, better, p_evidence = worse_batch, better_batch, seen.p_adjusted
    verdict = np.where(told, Verdict.HEALTHY, Verdict.UNCLEAR)
    verdict = np.where(told & better, Verdict.IMPROVED, verdict)
    verdict = np.where((told & worse) | seen.awakened, Verdict.DEGRADED, verdict)
    verdict = np.where(seen.n == 0, Verdict.WAITING, verdict)
    return replace(
        seen,
        p_evidence=p_evidence,
        verdict=verdict.astype(np.int8),
        alarm=alarm | seen.awakened,
    )


def _adjusted_tail(evidence: Floats, told: Bools, policy: MLMA) -> Floats:
    tail = np.where(told, tail_probability(evidence, policy.allowance), np.nan)
    return adjusted_p_values(tail, policy.multiplicity)
