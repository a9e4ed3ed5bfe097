"""The weights of pools, seen from the fleet: their mean over streams, over time and in all.

Takes the shares of a run, gives arrays. Next are the chart, the result and its JSON.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.runs import PolicyRun, Replayed
from mlma.report.timelines import block_batches, blocks, played_span, ratio

Floats = NDArray[np.float64]

MEMBERS = ("newest", "older", "long", "naive")
"""Last axis of `PolicyRun.shares`."""


@dataclass(frozen=True, slots=True)
class WeightTimeline:
    """Mean weights over streams, per block of ``batches`` batches.

    ``starts (n_blocks,)``; ``weights (n_blocks, 4)`` in the order of `MEMBERS`, each block's sum 1;
    NaN = no stream had a pool yet.
    """

    starts: NDArray[np.datetime64]
    batches: int
    weights: Floats


def weight_timeline(replayed: Replayed, run: PolicyRun) -> WeightTimeline | None:
    """Return the fleet's mean weights under one run, in its blocks; None without a pool."""
    if run.shares is None:
        return None
    first, last = played_span(replayed)
    size = block_batches(replayed)
    shares = run.shares[:, first:last].astype(np.float64)
    there = np.asarray(np.isfinite(shares).all(axis=2))
    filled = np.where(there[:, :, None], shares, 0.0)
    count = blocks(there, size).sum(axis=(0, 2))
    sums = np.stack([blocks(filled[:, :, i], size).sum(axis=(0, 2)) for i in range(4)], axis=1)
    told = np.broadcast_to(count[:, None] > 0, sums.shape)
    starts = replayed.grid.batch_starts()[first:last:size]
    return WeightTimeline(starts, size, ratio(sums, np.maximum(count, 1)[:, None], told))


def mean_weights(run: PolicyRun) -> dict[str, float] | None:
    """Return the mean weights over streams and batches, by `MEMBERS`; None without a pool.

    >>> shares = np.array([[[0.5, 0.25, 0.25, 0], [0.25, 0.5, 0.25, 0]]], dtype=np.float32)
    >>> still = np.zeros((1, 2), dtype=bool)
    >>> run = PolicyRun("p", "policy", "", np.ones((1, 2)), still, np.ones(1), 0.0, shares=shares)
    >>> mean_weights(run)
    {'newest': 0.375, 'older': 0.375, 'long': 0.25, 'naive': 0.0}
    """
    if run.shares is None:
        return None
    shares = run.shares[np.isfinite(run.shares).all(axis=2)].astype(np.float64)
    means = shares.mean(axis=0) if len(shares) else np.full(len(MEMBERS), np.nan)
    return {name: float(mean) for name, mean in zip(MEMBERS, means, strict=True)}
