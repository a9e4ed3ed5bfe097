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
    ``e_bh``
        e-BH (Wang and Ramdas 2022, JRSS B 84): as ``bh``, whatever the dependence; p-values
        become e-values by ``(1 - p + p log p) / (p log(p)^2)`` (Vovk and Wang 2021, eq. 2).
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


def rejected(p: Floats, level: float, method: str, n_told: int) -> NDArray[np.bool_]:
    """Return where the adjusted p-value is at or below the level, ``(k,) bool``.

    ``p (k,)`` are all p-values at or below the level out of ``n_told``: no adjustment makes a
    p-value smaller, so the others cannot be rejected and need not be looked at.

    >>> rejected(np.array([0.001, 0.04]), 0.05, "bh", 40).tolist()
    [True, False]
    """
    if method not in METHODS:
        raise unknown_name("multiplicity", method, METHODS)
    if method == "none" or not len(p):
        return np.ones(len(p), dtype=np.bool_)
    if method == "bonferroni":
        return p * n_told <= level
    order = np.argsort(p)
    inverse = p[order] if method == "bh" else 1 / e_values(p[order])
    passing = np.flatnonzero(inverse * n_told <= level * np.arange(1, len(p) + 1))
    made = np.zeros(len(p), dtype=np.bool_)
    if len(passing):
        made[order[: passing[-1] + 1]] = True
    return made


def _benjamini_hochberg(p: Floats) -> Floats:
    order = np.argsort(p)
    stepped = p[order] * (len(p) / np.arange(1, len(p) + 1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def _e_benjamini_hochberg(p: Floats) -> Floats:
    """Return ``min over j >= k of n / (j e_(j))``, at most 1, with e-values in falling order."""
    order = np.argsort(p)  # the e-value falls with p
    with np.errstate(divide="ignore"):
        inverse = 1 / e_values(p[order])
    stepped = inverse * (len(p) / np.arange(1, len(p) + 1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def e_values(p: Floats) -> Floats:
    """Return e-values of p-values: the mean of the calibrators ``k p^(k-1)`` over k in (0, 1).

    >>> e_values(np.array([1.0, 0.001])).round(2).tolist()
    [0.5, 20.79]
    """
    safe = np.clip(p, 1e-300, 1.0)
    log = np.log(safe)
    with np.errstate(divide="ignore", invalid="ignore"):
        made = (1 - safe + safe * log) / (safe * log * log)
    # Near 1 the formula is 0 / 0; its expansion about 1 is 1/2 - log(p)/6.
    return np.where(log > -1e-4, 0.5 - log / 6, made)


def _bonferroni(p: Floats) -> Floats:
    return np.minimum(p * len(p), 1.0)


def _unchanged(p: Floats) -> Floats:
    return p


METHODS: Mapping[str, Callable[[Floats], Floats]] = {
    "bh": _benjamini_hochberg,
    "bonferroni": _bonferroni,
    "e_bh": _e_benjamini_hochberg,
    "none": _unchanged,
}
