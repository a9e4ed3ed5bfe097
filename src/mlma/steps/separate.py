"""Separate: what a stream has for itself, apart from what its group has in common.

Takes the scores of a cycle and the groups, gives own scores and the common part of each group. Next
is `find`, which looks at the groups, and `assess`, which looks at the streams.
"""

from dataclasses import dataclass, replace

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


@dataclass(frozen=True, slots=True)
class Layer:
    """What is taken off the scores of one division; ``(n_groups,)`` each.

    ``codes (n_streams,)`` is the group of each stream, -1 = none; None = the fleet, all in group 0.
    """

    codes: NDArray[np.int32] | None
    score: Floats
    drift: Floats
    spread: Floats

    def rows(self, at: slice) -> "Layer":
        """Return the layer of some streams."""
        return self if self.codes is None else replace(self, codes=self.codes[at])

    def of(self, values: Floats, otherwise: Floats | float) -> Floats | float:
        """Return the value of each stream's group; ``otherwise`` where it is in none."""
        if self.codes is None:
            return float(values[0])
        return np.where(self.codes >= 0, values[self.codes], otherwise)


def separate(
    score: Floats, drift: Floats, key: NDArray[np.uint64], groups: Groups, *, wanted: bool
) -> tuple[tuple[Layer, ...], CommonParts]:
    """Return the layers of scores ``(n_streams,)``, the fleet first, and the common parts.

    Not ``wanted`` = nothing is taken off.
    """
    if not wanted or len(score) < FEWEST_IN_GROUP:
        nothing, told = np.full(1, np.nan), np.array([np.isfinite(score).sum()])
        return (), CommonParts((FLEET,), told, nothing, nothing)
    rows = sampled(key, MOST_STREAMS)
    parts, drifts = [fleet_common(score, rows)], [fleet_common(drift, rows)]
    layers = [_layer(None, parts[0], drifts[0])]
    for division in groups.divisions:
        codes, n_groups = division.codes, len(division.names)
        above = np.full(n_groups, parts[0].spread[0])
        score, drift = _less(score, drift, layers[-1])
        parts.append(group_common(score, codes, n_groups, above))
        drifts.append(group_common(drift, codes, n_groups, above))
        layers.append(_layer(codes, parts[-1], drifts[-1]))
    common = CommonParts(
        names=groups.names(),
        size=np.concatenate([part.size for part in parts]),
        score=np.concatenate([part.location for part in parts]),
        drift=np.concatenate([part.location for part in drifts]),
    )
    return tuple(layers), common


def own_parts(score: Floats, drift: Floats, layers: tuple[Layer, ...]) -> OwnParts:
    """Return what streams have for themselves, any block of them."""
    if not layers:
        return OwnParts(score, drift, np.zeros(len(score)))
    mine, drifted = score, drift
    spread: Floats | float = 1.0
    for layer in layers:
        mine, drifted = _less(mine, drifted, layer)
        spread = layer.of(layer.spread, spread)
    removed = score - mine
    mine /= spread
    drifted /= spread
    return OwnParts(mine, drifted, removed)


def _layer(codes: NDArray[np.int32] | None, part: CommonPart, drifted: CommonPart) -> Layer:
    return Layer(codes, part.removed, drifted.removed, part.spread)


def _less(score: Floats, drift: Floats, layer: Layer) -> tuple[Floats, Floats]:
    """Return the scores less the common part of each stream's group."""
    return score - layer.of(layer.score, 0.0), drift - layer.of(layer.drift, 0.0)
