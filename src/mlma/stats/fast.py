"""Compiled twins of the hottest loops, where numba is installed (``mlma[fast]``).

Takes and gives what the functions of the same names do in `mlma.stats`; these call a twin where
there is one. One pass over memory does here what takes NumPy a dozen. The environment variable
``MLMA_FAST=0`` goes without.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def _numba() -> Any:
    if os.environ.get("MLMA_FAST", "1") == "0":
        return None
    try:
        import numba
    except ImportError:
        return None
    return numba


_NUMBA = _numba()
AVAILABLE = _NUMBA is not None
"""Whether the twins are there."""


def _compiled(function: F) -> F:
    if _NUMBA is None:
        return function
    made: F = _NUMBA.njit(nogil=True, cache=True, error_model="numpy")(function)
    return made


@_compiled
def accumulated(evidence: Any, score: Any, allowance: Any, made: Any) -> None:
    """Write ``max(0, evidence + score - allowance)``; a NaN score changes nothing."""
    for row in range(len(evidence)):
        added = evidence[row] + (score[row] - allowance)
        if np.isnan(added):
            made[row] = evidence[row]
        else:
            made[row] = max(added, 0.0)


@_compiled
def absorbed(  # noqa: PLR0917 - compiled functions take positions only
    logs: Any,
    calendar: Any,
    taken: Any,
    positive: Any,
    moved: Any,
    cap: int,
    weight: Any,
    mean: Any,
    variance: Any,
    third: Any,
    typical: Any,
    outlying: Any,
) -> None:
    """Take one batch more into moments, in place: see `mlma.stats.moments.absorbed`."""
    for row in range(len(logs)):
        if not (taken[row] and np.isfinite(logs[row])):
            continue
        one = calendar[row]
        count = 0.0
        for place in range(weight.shape[1]):
            count += weight[row, place]
        size = 1.0 * weight[row, one]
        growing = count < cap or size < 2
        rate = (1.0 if growing else 2.0) / (size + 1)
        away = logs[row] - mean[row, one]
        if growing:
            size += 1
            count += 1
        part = size * rate / count
        kept, square = 1 - rate, away * away
        bend = kept * away * ((kept - rate) * square - 3 * variance[row])
        weight[row, one] = size
        mean[row, one] += rate * away
        third[row] += part * (bend - third[row])
        variance[row] += part * (kept * square - variance[row])
        outlying[row] += part * ((1.0 if moved[row] else 0.0) - outlying[row])
        if positive[row]:
            typical[row] += part * (logs[row] - typical[row])


@_compiled
def expectation(  # noqa: PLR0917 - as above
    weight: Any,
    mean: Any,
    variance: Any,
    third: Any,
    calendar: Any,
    fewest: int,
    centre: Any,
    spread: Any,
    df: Any,
    skewness: Any,
    class_count: Any,
    count: Any,
    level: Any,
) -> None:
    """Write what references expect: see `mlma.stats.moments.expectation`, and their level."""
    for row in range(len(variance)):
        total, held, sum_of_means = 0.0, 0, 0.0
        for place in range(weight.shape[1]):
            total += weight[row, place]
            held += weight[row, place] > 0
            sum_of_means += weight[row, place] * mean[row, place]
        average = sum_of_means / total
        own, middle = 1.0 * weight[row, calendar[row]], mean[row, calendar[row]]
        squares, free = variance[row] * total, total - held
        if own == 0:
            for place in range(weight.shape[1]):
                if weight[row, place] > 0:
                    squares += weight[row, place] * (mean[row, place] - average) ** 2
            middle, own, free = average, total, total - 1
        skew = third[row] / (variance[row] * np.sqrt(variance[row]))
        skew *= np.sqrt(total * (total - 1)) / (total - 2)
        centre[row], class_count[row], count[row], level[row] = middle, own, total, average
        df[row] = free if free > 0 else np.nan
        spread[row] = squares / df[row]
        skewness[row] = skew if total >= fewest and np.isfinite(skew) else 0.0
