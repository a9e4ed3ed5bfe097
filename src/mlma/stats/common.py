"""What a group of streams has in common: the median of its scores, and their spread.

Takes standard normal scores of one cycle, gives the common part of each group and each stream's own
part. Next are the cusums: of every stream's own part, and of the common part of every group.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.groups import FEWEST_IN_GROUP

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]

MAD_TO_SD = 1.482602218505602
"""Standard deviation of a normal distribution whose median absolute deviation is 1."""

SPREAD_PRIOR_STREAMS = 20
"""A group of so many streams gives its own spread half the weight, that above the other half."""

LEAST_SPREAD = 0.25
"""Spread below which a group is not taken to be: its streams would be copies of one another."""


@dataclass(frozen=True, slots=True)
class CommonPart:
    """Medians of one division; all ``(n_groups,)``.

    size
        number of streams with a score.
    location
        median score; NaN = fewer than eight streams.
    removed
        what is taken off the members' scores: the location, shrunk by what chance alone would make.
    spread
        robust standard deviation of the scores about the location.
    """

    size: NDArray[np.int64]
    location: Floats
    removed: Floats
    spread: Floats


def fleet_common(score: Floats, rows: NDArray[np.int64] | None = None) -> CommonPart:
    """Return what all streams have in common; ``rows`` = the ones that are looked at.

    >>> made = fleet_common(np.array([3.0, 2.5, 3.5, 2.0, 4.0, 3.2, 2.8, 3.1, 2.9]))
    >>> float(made.location[0]), round(float(made.removed[0]), 2)
    (3.0, 2.96)
    """
    sample = score if rows is None else score[rows]
    sample = sample[np.isfinite(sample)]
    location, deviation = _centre_and_deviation(sample)
    sizes = np.array([len(sample)])
    return _common(sizes, np.array([location]), np.array([deviation]), np.ones(1))


def group_common(score: Floats, codes: Codes, n_groups: int, above: Floats) -> CommonPart:
    """Return what each group has in common.

    Parameters
    ----------
    score
        ``(n_streams,)``; NaN = none.
    codes
        ``(n_streams,)``, group of each stream; -1 = none.
    above
        ``(n_groups,)``, spread of the division above, towards which small groups are shrunk.

    >>> score, codes = np.repeat([0.0, 2.0], 9), np.repeat([0, 1], 9)
    >>> made = group_common(score, codes, 2, np.ones(2))
    >>> made.location.tolist()
    [0.0, 2.0]
    """
    member = np.flatnonzero(np.isfinite(score) & (codes >= 0))
    values, group = score[member], codes[member]
    sizes = np.bincount(group, minlength=n_groups)
    location = _group_medians(values, group, sizes)
    deviation = MAD_TO_SD * _group_medians(np.abs(values - location[group]), group, sizes)
    return _common(sizes, location, deviation, above)


def _group_medians(values: Floats, group: Codes, sizes: NDArray[np.int64]) -> Floats:
    """Return the median of each group, ``(n_groups,)``; NaN = fewer than eight values."""
    ranked = values[np.lexsort((values, group))]
    starts, large = np.cumsum(sizes) - sizes, sizes >= FEWEST_IN_GROUP
    low, high = starts + (sizes - 1) // 2, starts + sizes // 2
    made = np.full(len(sizes), np.nan)
    made[large] = (ranked[low[large]] + ranked[high[large]]) / 2
    return made


def _centre_and_deviation(sample: Floats) -> tuple[float, float]:
    if len(sample) < FEWEST_IN_GROUP:
        return np.nan, np.nan
    centre = float(np.median(sample))
    return centre, MAD_TO_SD * float(np.median(np.abs(sample - centre)))


def _common(
    sizes: NDArray[np.int64], location: Floats, deviation: Floats, above: Floats
) -> CommonPart:
    known = np.isfinite(location)
    size = np.where(known, sizes, 0).astype(np.float64)
    own = np.where(known, deviation, 0.0)
    total = size * own**2 + SPREAD_PRIOR_STREAMS * above**2
    spread = np.maximum(np.sqrt(total / (size + SPREAD_PRIOR_STREAMS)), LEAST_SPREAD)
    # The median of n normal numbers of deviation d has the variance pi / 2 d^2 / n.
    noise = np.pi / 2 * spread**2 / np.maximum(size, 1)
    squared = np.where(known, location, 0.0) ** 2
    kept = np.maximum(1 - noise / np.maximum(squared, 1e-300), 0.0)
    removed = np.where(known, location, 0.0) * kept
    return CommonPart(sizes, location, removed, spread)
