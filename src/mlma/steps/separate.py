"""Separate: what a stream has for itself, apart from what its group has in common.

Takes the scores of a cycle and the groups, gives own scores and the common part of each group. Next
is `find`, which looks at the groups, and `assess`, which looks at the streams.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns
from mlma.domain.groups import FEWEST_IN_GROUP, FLEET, Groups
from mlma.stats.common import CommonPart, fleet_common, group_common
from mlma.steps.compare import sampled

Floats = NDArray[np.float64]

MOST_STREAMS = 65_536
"""The fleet's median is taken over no more streams: its error is then .005 standard deviations."""


@dataclass(frozen=True, slots=True)
class OwnParts(Columns):
    """What the streams have for themselves; all ``(n_streams,)``, NaN = cannot tell.

    score, drift
        standard normal scores against the reference and against the anchored level.
    removed
        common part that was taken off the score.
    """

    score: Floats
    drift: Floats
    removed: Floats


@dataclass(frozen=True, slots=True)
class CommonParts:
    """What the groups have in common, the fleet first; all ``(n_groups,)``.

    size
        streams with a score.
    score, drift
        common part beyond that of the fleet, in standard deviations of a stream's batch, against
        the adaptive and the anchored reference; NaN = too few streams.
    """

    names: tuple[str, ...]
    size: NDArray[np.int64]
    score: Floats
    drift: Floats


def separate(
    score: Floats, drift: Floats, key: NDArray[np.uint64], groups: Groups, *, wanted: bool
) -> tuple[OwnParts, CommonParts]:
    """Return own and common parts of scores ``(n_streams,)``; not ``wanted`` = nothing is taken."""
    if not wanted or len(score) < FEWEST_IN_GROUP:
        nothing, told = np.full(1, np.nan), np.array([np.isfinite(score).sum()])
        own = OwnParts(score, drift, np.zeros(len(score)))
        return own, CommonParts((FLEET,), told, nothing, nothing)
    rows = sampled(key, MOST_STREAMS)
    whole, drifting = fleet_common(score, rows), fleet_common(drift, rows)
    mine, drifted = score - whole.removed[0], drift - drifting.removed[0]
    spread: Floats | float = float(whole.spread[0])
    parts, drifts = [whole], [drifting]
    for division in groups.divisions:
        codes, n_groups = division.codes, len(division.names)
        above = np.full(n_groups, whole.spread[0])
        parts.append(group_common(mine, codes, n_groups, above))
        drifts.append(group_common(drifted, codes, n_groups, above))
        mine, drifted = _less(mine, parts[-1], codes), _less(drifted, drifts[-1], codes)
        spread = np.where(codes >= 0, parts[-1].spread[codes], spread)
    common = CommonParts(
        names=groups.names(),
        size=np.concatenate([part.size for part in parts]),
        score=np.concatenate([part.location for part in parts]),
        drift=np.concatenate([part.location for part in drifts]),
    )
    removed = score - mine
    mine /= spread
    drifted /= spread
    return OwnParts(mine, drifted, removed), common


def _less(score: Floats, part: CommonPart, codes: NDArray[np.int32]) -> Floats:
    """Return the scores less the common part of each stream's group."""
    return score - np.where(codes >= 0, part.removed[codes], 0.0)
