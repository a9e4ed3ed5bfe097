"""One score for each model that many streams share, and the streams that it does not fit.

Takes standard normal scores of one batch and the model that each stream uses, gives the combined
score of every model, in which streams that move together count as less than as many. Next is the
cusum, of models instead of streams.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

WINSORISED = 3.0
"""Scores beyond it count as it: one broken stream is not the news of its model."""

MEMORY = 2 / 57
"""Weight of a new batch in the correlation, once there are many: about 56 batches count."""

PRIOR_BATCHES = 3.0
"""Batches' weight of the other models in the correlation of one, and of the start in that of all.
"""

HIGHEST_CORRELATION = 0.95
"""Correlation that is assumed before anything is known, and the largest that is believed."""


@dataclass(frozen=True, slots=True)
class Comovement(Columns):
    """What is remembered of how the streams of each model move together; all ``(n_groups,)``.

    cross, square
        decayed sums over batches of the mean product of two different streams' scores, and of their
        mean square.
    """

    cross: Floats
    square: Floats

    @classmethod
    def new(cls, n_groups: int) -> "Comovement":
        """Return models of which nothing was seen."""
        return cls(np.zeros(n_groups), np.zeros(n_groups))


def combined_scores(score: Floats, group: Ints, n_groups: int, correlation: Floats) -> Floats:
    """Return one standard normal score per model, ``(n_groups,)``; NaN = no stream has a score.

    The sum of ``k`` scores over its standard deviation ``sqrt(k + k (k - 1) rho)``: Stouffer et
    al. (1949) for unrelated scores, Strube (1985) for dependent ones. Positive = the losses of its
    streams are higher than they should be. Assumes that scores are normal and that the streams of a
    model are about equally correlated.

    Parameters
    ----------
    score
        ``(n_streams,)``, standard normal where the model is healthy; NaN = none. Scores beyond -3
        and 3 count as -3 and 3. Where many models share a fleet, scores without the fleet's part:
        a bad day for all is not the fault of one model.
    group
        ``(n_streams,) int``, model of each stream; -1 = none.
    correlation
        ``(n_groups,)``, mean correlation of two streams of a model, see `running_correlation`.

    >>> score, group = np.array([1.0, 1.0, 1.0, 1.0, 2.0]), np.array([0, 0, 0, 0, 1])
    >>> combined_scores(score, group, 2, np.array([0.0, 0.0])).tolist()
    [2.0, 2.0]
    >>> combined_scores(score, group, 2, np.array([1.0, 1.0])).tolist()
    [1.0, 2.0]
    """
    size, total, _ = _sums(score, group, n_groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / np.sqrt(size + size * (size - 1) * correlation))


def updated(
    state: Comovement, score: Floats, group: Ints, healthy: Bools | None = None
) -> Comovement:
    """Return the state after a batch; the old state is read, not written.

    The mean product of two different of ``k`` scores is ``(k m^2 - q) / (k - 1)``, with their mean
    ``m`` and mean square ``q``: no pair is looked at.

    Parameters
    ----------
    score, group
        as in `combined_scores`.
    healthy
        ``(n_groups,)``, False = the model's batch says nothing of its healthy state; None = all
        are healthy. Models with fewer than two scores are left as they are.

    >>> state = updated(Comovement.new(1), np.array([1.0, 1.0, -1.0]), np.zeros(3, dtype=np.int64))
    >>> state.cross.round(3).tolist(), state.square.tolist()
    ([-0.333], [1.0])
    """
    size, total, squares = _sums(score, group, len(state.cross))
    seen = (size > 1) & (np.ones_like(size, dtype=np.bool_) if healthy is None else healthy)
    with np.errstate(invalid="ignore", divide="ignore"):
        cross = (total**2 - squares) / (size * (size - 1))
        square = squares / size
    kept = 1 - MEMORY
    return replace(
        state,
        cross=np.where(seen, kept * state.cross + cross, state.cross),
        square=np.where(seen, kept * state.square + square, state.square),
    )


def running_correlation(state: Comovement) -> Floats:
    """Return the mean correlation of two streams of each model, ``(n_groups,)``, 0 to .95.

    Mean product over mean square, both shrunk: those of a model towards those of all models, those
    of all towards .95, each with the weight of three batches. So a new model starts from what is
    usual, and a new fleet from streams that are all but copies of one another: no false news.

    >>> running_correlation(Comovement.new(2)).round(2).tolist()
    [0.95, 0.95]
    """
    usual = (state.cross.sum() + PRIOR_BATCHES * HIGHEST_CORRELATION) / (
        state.square.sum() + PRIOR_BATCHES
    )
    made = (state.cross + PRIOR_BATCHES * usual) / (state.square + PRIOR_BATCHES)
    return np.asarray(np.clip(made, 0.0, HIGHEST_CORRELATION))


def unfit(evidence: Floats, limit: float | Floats, group: Ints, model_alarm: Bools) -> Bools:
    """Return the streams that their model no longer fits, ``(n_streams,)``.

    Their own evidence is an alarm, while that of the model is none: a new version for all would not
    be theirs. Where the model has an alarm, it is first re-trained for all.

    Parameters
    ----------
    evidence
        ``(n_streams,)``, added up from what each stream has apart from the others: `cusum_up` of
        the agent's state; NaN = none.
    limit
        evidence that is an alarm.
    group
        ``(n_streams,) int``, model of each stream; -1 = none: such a stream is never unfit.
    model_alarm
        ``(n_groups,)``, whether the evidence of the model is an alarm.

    >>> alarm = np.array([False, True])
    >>> unfit(np.array([9.0, 1.0, 9.0]), 7.0, np.array([0, 0, 1]), alarm).tolist()
    [True, False, False]
    """
    shared = group >= 0
    kept = np.zeros(len(group), dtype=np.bool_)
    kept[shared] = ~model_alarm[group[shared]]
    return np.asarray(kept & (evidence >= limit))


def _sums(score: Floats, group: Ints, n_groups: int) -> tuple[Floats, Floats, Floats]:
    """Return number, sum and sum of squares of the winsorised scores of each model."""
    member = np.flatnonzero(np.isfinite(score) & (group >= 0))
    values, which = np.clip(score[member], -WINSORISED, WINSORISED), group[member]
    size = np.bincount(which, minlength=n_groups).astype(np.float64)
    total: Floats = np.bincount(which, weights=values, minlength=n_groups).astype(np.float64)
    squares: Floats = np.bincount(which, weights=values**2, minlength=n_groups).astype(np.float64)
    return size, total, squares
