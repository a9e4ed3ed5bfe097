"""An e-process of batch scores: evidence with a guarantee, instead of an approximation.

Takes the score of each batch, gives the logarithm of the evidence. It is an e-detector of the
Shiryaev-Roberts kind: whatever else holds, a healthy stream whose scores are no larger than
standard normal ones needs on average at least ``c`` batches to reach ``c``.
"""

from math import log

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def detected(evidence: Floats, score: Floats, allowance: float) -> Floats:
    """Return ``log(1 + (M + 1) e)`` from ``log(1 + M)``, with ``e = exp(2 k z - 2 k^2)``.

    The betting size is twice the allowance, so that ``log e`` grows where a cusum with this
    allowance grows. NaN scores change nothing. ``evidence (n_streams,)``; 0 = none.

    Shin, Ramdas and Rinaldo (2024, "E-detectors", def. 2.2): each ``e`` has mean 1 at most under
    a healthy stream, so the run length to ``M >= c`` is at least ``c``.

    >>> float(detected(np.array([0.0]), np.array([2.0]), 0.5)[0].round(3))
    1.701
    """
    bet = 2 * allowance
    silent = np.isnan(score)
    known = np.where(silent, 0.0, score)
    made: Floats = np.logaddexp(0.0, evidence + (bet * known - bet**2 / 2))
    return np.where(silent, evidence, made)


def e_limit(batches_to_false_alarm: float) -> float:
    """Return the evidence ``log(1 + c)`` that a healthy stream reaches every ``c`` batches at most.

    >>> round(e_limit(99.0), 3)
    4.605
    """
    return log(1 + batches_to_false_alarm)


def e_tail(evidence: Floats) -> Floats:
    """Return ``1 / M``, at most 1: what the evidence is worth as a p-value of the run so far.

    >>> e_tail(np.array([0.0, np.log(11.0)])).round(6).tolist()
    [1.0, 0.1]
    """
    rest = np.exp(-evidence)
    with np.errstate(divide="ignore"):
        tail = rest / (1 - rest)
    return np.asarray(np.clip(tail, np.finfo(np.float64).tiny, 1.0))
