"""One-sided cusum of standardised batch scores: evidence that adds up over batches.

Takes the score of each batch, gives the evidence so far, its p-value, and the limit that belongs to
an expected number of batches to a false alarm. Next is the decision.
"""

from math import exp, log

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mlma.stats import fast

Floats = NDArray[np.float64]

LOWEST_SCORE, HIGHEST_SCORE = -3.0, 4.0
"""Limits of a batch's score, so that one batch alone, however bad, is not the whole evidence."""

OVERSHOOT = 0.5826
"""Mean overshoot of a normal random walk over a boundary (Siegmund 1985, ch. 10)."""


def scores(p_value: Floats, statistic: Floats, side: str) -> Floats:
    """Return the standard normal score of each batch; positive = loss above the reference.

    ``(n_streams,)``; NaN = the test could not tell.

    >>> scores(np.array([0.5, 0.025]), np.array([0.0, 2.0]), "greater").round(2).tolist()
    [0.0, 1.96]
    """
    if side == "two-sided":
        upper = np.where(statistic > 0, p_value / 2, 1 - p_value / 2)
    else:
        upper = p_value
    return np.asarray(-ndtri(upper) + 0.0)  # no -0.0


def bounded(score: Floats) -> Floats:
    """Return scores within -3 and 4; NaN stays.

    >>> bounded(np.array([-9.0, 0.5, 9.0])).tolist()
    [-3.0, 0.5, 4.0]
    """
    return np.asarray(np.clip(score, LOWEST_SCORE, HIGHEST_SCORE))


def accumulated(evidence: Floats, score: Floats, allowance: float | Floats) -> Floats:
    """Return ``max(0, evidence + score - allowance)`` (Page 1954); a NaN score changes nothing.

    >>> accumulated(np.array([1.0, 0.0]), np.array([2.0, np.nan]), 0.5).tolist()
    [2.5, 0.0]
    """
    if fast.AVAILABLE and not isinstance(allowance, np.ndarray):
        made: Floats = np.empty_like(evidence)
        fast.accumulated(evidence, score, allowance, made)
        return made
    made = score - allowance
    made += evidence
    np.maximum(made, 0.0, out=made)
    silent = np.isnan(made)
    if silent.any():
        made[silent] = evidence[silent]
    return made


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


RISING = 0.05
"""Evidence that a healthy stream has this rarely is taken to be growing."""


def rising_above(allowance: float) -> float:
    """Return the evidence above which it is taken to be growing: see `RISING`.

    >>> round(rising_above(0.5), 2)
    2.41
    """
    return -log(RISING) / (2 * allowance) - OVERSHOOT


def run_length(limit: float, allowance: float) -> float:
    """Return the expected number of batches until a healthy stream's evidence reaches a limit.

    ``(e^b - b - 1) / (2 k^2)`` with ``b = 2 k (h + 1.166)`` (Siegmund 1985, eq. 2.56). Assumes
    independent standard normal scores.

    >>> round(run_length(4.0, 0.5), 1)  # 335 in the tables of exact values
    337.8
    """
    b = 2 * allowance * (limit + 2 * OVERSHOOT)
    return (exp(min(b, 700.0)) - b - 1) / (2 * allowance**2)


def limit_for(batches_to_false_alarm: float, allowance: float) -> float:
    """Return the limit at which a healthy stream raises an alarm every so many batches; at least 0.

    >>> round(limit_for(run_length(5.0, 0.5), 0.5), 6)
    5.0
    """
    wanted = 2 * allowance**2 * batches_to_false_alarm + 1
    b = log(wanted)
    for _ in range(60):  # b = log(wanted + b) contracts, because its slope is below 1
        b = log(wanted + b)
    return max(b / (2 * allowance) - 2 * OVERSHOOT, 0.0)
