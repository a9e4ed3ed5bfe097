"""Together: the evidence of the streams that share a model becomes one decision for the model.

Takes what the cycle saw and decided per stream, gives decisions per model, spoken by one of its
streams, and the streams that the model no longer fits. Next is the budget.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns
from mlma.domain.outcomes import Kind, kinds
from mlma.domain.settings import MLMA
from mlma.domain.verdicts import Codes, CycleRecord, Decision, Reason
from mlma.stats.cusum import rising_above
from mlma.stats.dial import WEEK, limits_of
from mlma.stats.together import Comovement, combined_scores, running_correlation, updated

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SharedModels(Columns):
    """What is remembered of models that streams share, one row per model.

    comovement
        how the scores of a model's streams move together.
    evidence
        ``(n_models,) float64``, combined evidence added up.
    """

    comovement: Comovement
    evidence: Floats

    @classmethod
    def new(cls, n_models: int) -> "SharedModels":
        """Return models that were never judged."""
        return cls(Comovement.new(n_models), np.zeros(n_models))


def together(
    state: SharedModels,
    seen: CycleRecord,
    model: Ints,
    policy: MLMA,
    batches_per_week: float = WEEK,
) -> tuple[SharedModels, CycleRecord]:
    """Return the models after a cycle, and its record with one decision per model.

    The decision stands at the first stream of each model, its speaker; all others keep. A model is
    re-trained where the combined evidence of its streams reaches the dial, or its speaker is due by
    age. A stream whose own evidence is an alarm while its model's is not is named: the model no
    longer fits it.

    Parameters
    ----------
    seen
        of `mlma.agent.cycle.run_cycle`; its scores must still hold what the streams of a model have
        in common.
    model
        ``(n_streams,)``, index of the model of each stream.
    """
    n_models = len(state.evidence)
    correlation = running_correlation(state.comovement)
    score = combined_scores(seen.score, model, n_models, correlation)
    step = np.where(np.isfinite(score), score - policy.allowance, 0.0)
    evidence = np.maximum(state.evidence + step, 0.0)
    alarm = evidence > limits_of(policy, batches_per_week).up
    healthy = evidence <= rising_above(policy.allowance)
    comovement = updated(state.comovement, seen.score, model, healthy)
    after = SharedModels(comovement, np.where(alarm, 0.0, evidence))
    return after, _spoken(seen, model, alarm)


def speakers(model: Ints) -> Ints:
    """Return the first row of every model that is there.

    >>> speakers(np.array([1, 0, 1, 0])).tolist()
    [1, 0]
    """
    return np.asarray(np.unique(model, return_index=True)[1])


def _spoken(seen: CycleRecord, model: Ints, alarm: Bools) -> CycleRecord:
    rows = speakers(model)
    by_age = (seen.decision == Decision.RETRAIN) & (kinds(seen.reason) == Kind.AGE)
    decision = np.where(seen.decision == Decision.RETRAIN, np.int8(Decision.KEEP), seen.decision)
    reason = np.where(seen.decision == Decision.RETRAIN, np.int8(Reason.NONE), seen.reason)
    reason[seen.alarm & ~alarm[model]] = Reason.UNFIT
    called = alarm[model[rows]]
    going = called | by_age[rows]
    decision[rows[going]] = Decision.RETRAIN
    reason[rows[going]] = np.where(called, np.int8(Reason.ALARM), seen.reason[rows])[going]
    spoken = np.zeros(len(model), dtype=np.bool_)
    spoken[rows[called]] = True
    return replace(
        seen, decision=decision.astype(np.int8), reason=reason.astype(np.int8), alarm=spoken
    )


def echoed(decision: Codes, reason: Codes, model: Ints) -> tuple[Codes, Codes]:
    """Return decisions and reasons as each stream lives them: its speaker's, unless that keeps.

    ``decision``, ``reason (n_streams,) int8``, after the budget. A stream that the model no longer
    fits keeps that reason.

    >>> retrain, keep = Decision.RETRAIN, Decision.KEEP
    >>> made = np.array([retrain, keep, keep], dtype=np.int8)
    >>> why = np.array([Reason.ALARM, Reason.NONE, Reason.NONE], dtype=np.int8)
    >>> decision, reason = echoed(made, why, np.array([0, 0, 1]))
    >>> [Decision(code).label for code in decision], [Reason(code).name for code in reason]
    (['retrain', 'retrain', 'keep'], ['ALARM', 'ALARM', 'NONE'])
    """
    said, why = voiced(decision, model), voiced(reason, model)
    acts = said != Decision.KEEP
    named = reason == Reason.UNFIT
    return np.where(acts, said, decision), np.where(acts & ~named, why, reason)


def voiced(column: NDArray[Any], model: Ints) -> NDArray[Any]:
    """Return what each stream's speaker has in a column, ``(n_streams,)``.

    >>> voiced(np.array([3, 4, 5, 6]), np.array([1, 0, 1, 0])).tolist()
    [3, 4, 3, 4]
    """
    rows = speakers(model)
    return column[rows][np.searchsorted(model[rows], model)]
