"""One-sided cusum of standardised batch scores: evidence that adds up over batches.

Takes the p-value of each batch, gives the evidence so far and its p-value. Next is the decision.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]

LOWEST_SCORE, HIGHEST_SCORE = -3.0, 4.0
"""Limits of a batch's score, so that one batch alone, however bad, is not the whole evidence."""

OVERSHOOT = 0.5826
"""Mean overshoot of a normal random walk over a boundary (Siegmund 1985, ch. 10)."""


def scores(p_value: Floats, statistic: Floats, side: str) -> Floats:
    """Return the standard normal score of each batch; positive = loss above the reference.

    ``(n_streams,)``, within -3 and 4; NaN = the test could not tell.

    >>> scores(np.array([0.5, 0.025, 0.0]), np.array([0.0, 2.0, 9.0]), "greater").round(2).tolist()
    [0.0, 1.96, 4.0]
    """
    if side == "two-sided":
        upper = np.where(statistic > 0, p_value / 2, 1 - p_value / 2)
    else:
        upper = p_value
    return np.asarray(np.clip(-ndtri(upper), LOWEST_SCORE, HIGHEST_SCORE) + 0.0)  # no -0.0


def accumulated(evidence: Floats, score: Floats, allowance: float) -> Floats:
    """Return ``max(0, evidence + score - allowance)`` (Page 1954); a NaN score changes nothing.

    >>> accumulated(np.array([1.0, 0.0]), np.array([2.0, np.nan]), 0.5).tolist()
    [2.5, 0.0]
    """
    step = np.where(np.isfinite(score), score - allowance, 0.0)
    return np.maximum(0.0, evidence + step)


def tail_probability(evidence: Floats, allowance: float) -> Floats:
    """Return the probability that a healthy stream's evidence stands this high at a given time.

    ``exp(-2 k (S + 0.583))``: the reflected walk has in the long run the law of the maximum of a
    normal random walk with drift ``-k`` (Lindley 1952), whose tail is this (Siegmund 1985, eq.
    10.13 and the corrected diffusion approximation). Assumes independent standard normal scores;
    the reference's own error makes the true tail heavier (see docs/statistics/cusum.md).

    >>> float(tail_probability(np.array([10.0]), 0.5)[0].round(7))
    2.54e-05
    """
    tail = np.exp(-2.0 * allowance * (evidence + OVERSHOOT))
    return np.where(evidence > 0, tail, 1.0)
