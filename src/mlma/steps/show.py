"""Show: the record of a cycle as evidence that people read.

Takes what a cycle wrote, gives p-values, effects and all else that can be derived. The cycle itself
does without them: at a million streams they would cost more than the test.
"""

import numpy as np
from numpy.typing import NDArray

from mlma.domain.settings import MLMA
from mlma.domain.verdicts import CycleRecord, Evidence
from mlma.stats.multiplicity import adjusted_p_values
from mlma.stats.tails import normal_p
from mlma.steps.assess import tails

Floats = NDArray[np.float64]


def shown(record: CycleRecord, policy: MLMA) -> Evidence:
    """Return the evidence of one cycle ``(n_streams,)`` or of many ``(n_streams, n_batches)``."""
    p_value = normal_p(record.score, policy.side)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        reference_loss = np.exp(record.reference_log)
        effect = record.loss / reference_loss - 1
    effect[~np.isfinite(record.reference_log)] = np.nan
    p_adjusted = _by_cycle(p_value, policy)
    return Evidence(
        n=record.n,
        loss=record.loss,
        reference_loss=reference_loss,
        effect=effect,
        spread=record.spread,
        df=record.df,
        statistic=record.statistic,
        score=record.score,
        common=record.common,
        p_value=p_value,
        p_adjusted=p_adjusted,
        evidence=record.evidence,
        drift=record.drift,
        p_evidence=_p_evidence(record, p_adjusted, policy),
        alarm=record.alarm,
        verdict=record.verdict,
        decision=record.decision,
        reason=record.reason,
    )


def _p_evidence(record: CycleRecord, p_adjusted: Floats, policy: MLMA) -> Floats:
    if policy.accumulate == "none":
        return p_adjusted
    highest = np.maximum(record.evidence, record.drift)
    sides = 1
    if policy.side == "two-sided":
        highest, sides = np.maximum(highest, record.evidence_down), 2
    tail = np.minimum(sides * tails(highest, policy), 1.0)
    tail = np.where(np.isfinite(record.score), tail, np.nan)
    return tail if policy.false_retrainings is not None else _by_cycle(tail, policy)


def _by_cycle(p_value: Floats, policy: MLMA) -> Floats:
    """Return p-values adjusted across the streams of each cycle."""
    if p_value.ndim == 1:
        return adjusted_p_values(p_value, policy.multiplicity)
    columns = [adjusted_p_values(one, policy.multiplicity) for one in p_value.T]
    return np.stack(columns, axis=1) if columns else p_value
