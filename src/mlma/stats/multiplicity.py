"""Multiplicity: p-values of many streams in one cycle, adjusted so that a level still holds.

Takes the p-values of a cycle, gives adjusted ones. Next is the decision at the policy's level.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import unknown_name

Floats = NDArray[np.float64]


def adjusted_p_values(p: Floats, method: str) -> Floats:
    """Return adjusted p-values, ``(n,) float64``; a stream alarms where its own is <= the level.

    NaN (cannot tell) stays NaN and does not count as a hypothesis.

    ``bh``
        step-up of Benjamini and Hochberg (1995, JRSS B 57, eq. 1): the level bounds the expected
        share of false alarms among the alarms, for independent or positively dependent streams.
    ``bonferroni``
        the level bounds the chance of any false alarm in the cycle, whatever the dependence.
    ``none``
        unchanged: the level bounds the chance of a false alarm of each stream.

    Raises
    ------
    SettingsError
        ``method`` is unknown.

    >>> adjusted_p_values(np.array([0.01, 0.04, np.nan]), "bh").round(3).tolist()
    [0.02, 0.04, nan]
    """
    if method not in METHODS:
        raise unknown_name("multiplicity", method, METHODS)
    adjusted = np.full(p.shape, np.nan)
    told = np.isfinite(p)
    adjusted[told] = METHODS[method](p[told])
    return adjusted


def _benjamini_hochberg(p: Floats) -> Floats:
    order = np.argsort(p)
    stepped = p[order] * (len(p) / np.arange(1, len(p) + 1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def _bonferroni(p: Floats) -> Floats:
    return np.minimum(p * len(p), 1.0)


def _unchanged(p: Floats) -> Floats:
    return p


METHODS: Mapping[str, Callable[[Floats], Floats]] = {
    "bh": _benjamini_hochberg,
    "bonferroni": _bonferroni,
    "none": _unchanged,
}
