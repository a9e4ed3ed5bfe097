"""Means of losses per slot class, and forecasts combined with weights per slot class.

Takes forecasts of the members of pools, gives mean losses for `mlma.stats.pool`, and with its
weights the combined forecast. Works in blocks of streams that fit into a core's cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlma.stats import fast
from mlma.stats.losses import Loss, absolute, mase, rmsse, squared
from mlma.stats.pool import LARGEST, over_members

Floats = NDArray[np.floating]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Unsigned = NDArray[np.uint64]
D = TypeVar("D", bound=np.floating)

BLOCK_BYTES = 2**21
"""Forecasts of one block of streams; temporary arrays are a few of this size."""

_ABSOLUTE = (absolute().function, mase().function)
_SQUARED = (squared().function, rmsse().function)


@dataclass(frozen=True, slots=True)
class Kinds:
    """The slot classes that a batch has.

    classes
        ``(n_kinds,) int64``, rising.
    place
        ``(slots,) int64``, where in ``classes`` each slot's class is.
    starts, ends
        ``(n_runs,) int64``, neighbouring slots of one class.
    """

    classes: Ints
    place: Ints
    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, classes: NDArray[np.int8]) -> "Kinds":
        """Return the kinds of slots with these classes.

        >>> Kinds.of(np.array([3, 3, 1, 3], dtype=np.int8)).place.tolist()
        [1, 1, 0, 1]
        """
        present, place = np.unique(classes, return_inverse=True)
        place = place.reshape(-1).astype(np.int64)
        edges = np.flatnonzero(np.diff(place, prepend=-1, append=-1))
        return cls(present.astype(np.int64), place, edges[:-1], edges[1:])

    @property
    def runs(self) -> tuple[Unsigned, Unsigned, Unsigned]:
        """Starts, ends and places of the runs of neighbouring slots."""
        place = self.place[self.starts].astype(np.uint64)
        return self.starts.astype(np.uint64), self.ends.astype(np.uint64), place

    def indicator(self, dtype: Any) -> NDArray[Any]:
        """Return which slot is of which kind, ``(slots, n_kinds)`` of 0 and 1."""
        return np.asarray(self.place[:, None] == np.arange(len(self.classes)), dtype=dtype)


def blocks(like: NDArray[Any]) -> Iterator[slice]:
    """Return rows of an array in blocks of about `BLOCK_BYTES`.

    >>> len(list(blocks(np.zeros((1000, 8, 96)))))
    3
    """
    per_row = max(like[:1].nbytes, 1)
    size = max(BLOCK_BYTES // per_row, 1)
    return (slice(start, start + size) for start in range(0, len(like), size))


def class_means(losses: Floats, kinds: Kinds) -> Singles:
    """Return the mean loss of each kind of slot, ``(n_streams, n_kinds, n_members) float32``.

    ``losses (n_streams, n_members, slots)``; NaN = not observed, left out; infinite ones count as
    1e30. NaN where no slot of the kind is observed.

    >>> losses = np.array([[[1.0, 3.0, np.nan, 5.0]]])
    >>> class_means(losses, Kinds.of(np.array([0, 0, 1, 1], dtype=np.int8))).tolist()
    [[[2.0], [5.0]]]
    """
    made = np.empty((len(losses), len(kinds.classes), losses.shape[1]), dtype=np.float32)
    indicator = kinds.indicator(losses.dtype)
    for rows in blocks(losses):
        made[rows] = _means(losses[rows], indicator).swapaxes(1, 2)
    return made


def loss_means(
    loss: Loss, y: Floats, forecasts: Floats, kinds: Kinds, scale: Floats | float = 1.0
) -> Singles:
    """Return `class_means` of the losses of forecasts, without laying out the losses.

    ``y (n_streams, slots)``, ``forecasts (n_streams, n_members, slots)``, ``scale (n_streams,)`` of
    `mlma.stats.losses.Loss.scale_from`.

    >>> from mlma.stats.losses import absolute
    >>> kinds = Kinds.of(np.array([0, 0], dtype=np.int8))
    >>> loss_means(absolute(), np.array([[1.0, 2.0]]), np.array([[[2.0, 4.0]]]), kinds).tolist()
    [[[1.5]]]
    """
    scales = np.broadcast_to(scale, (len(y),))
    is_squared = loss.function in _SQUARED
    if fast.AVAILABLE and (is_squared or loss.function in _ABSOLUTE):
        made = np.empty((len(y), len(kinds.classes), forecasts.shape[1]), dtype=np.float32)
        fast.difference_means(y, forecasts, is_squared, *kinds.runs, made)
        return _scaled(made, scales, squared=is_squared) if loss.needs_scale else made
    indicator = kinds.indicator(forecasts.dtype)
    made = np.empty((len(y), len(kinds.classes), forecasts.shape[1]), dtype=np.float32)
    for rows in blocks(forecasts):
        losses = _pointwise(loss, y[rows], forecasts[rows], scales[rows])
        made[rows] = _means(losses, indicator).swapaxes(1, 2)
    return made


def mixture(
    weights: Singles, forecasts: NDArray[D], kinds: Kinds, out: NDArray[D] | None = None
) -> NDArray[D]:
    """Return weighted means of the members' forecasts, ``(n_streams, slots)``, of their type.

    ``weights (n_streams, n_kinds, n_members)``, made to sum to 1 in this type; a forecast with
    weight 0 is not read. ``forecasts (n_streams, n_members, slots)``. NaN where all weights are 0.
    Written to ``out`` where it is given.

    >>> weights = np.array([[[0.25, 0.75]]], dtype=np.float32)
    >>> forecasts = np.array([[[4.0, 8.0], [0.0, 4.0]]])
    >>> mixture(weights, forecasts, Kinds.of(np.array([0, 0], dtype=np.int8))).tolist()
    [[1.0, 5.0]]
    """
    shape = (len(forecasts), forecasts.shape[2])
    made = np.empty(shape, dtype=forecasts.dtype) if out is None else out
    if fast.AVAILABLE:
        parts = np.ascontiguousarray(weights), np.ascontiguousarray(forecasts)
        if fast.mixed(*parts, *kinds.runs, made):
            return made
    indicator = kinds.indicator(forecasts.dtype).T.copy()
    for rows in blocks(forecasts):
        made[rows] = _mixed(weights[rows], forecasts[rows], indicator)
    return made


def _mixed(weights: Singles, forecasts: NDArray[D], indicator: NDArray[D]) -> NDArray[D]:
    with np.errstate(invalid="ignore", over="ignore"):
        shares = weights.astype(forecasts.dtype)
        shares /= over_members(np.add, shares)
        spread = _spread(shares, indicator)
        made: NDArray[D] = (spread * forecasts).sum(axis=1)
        if not np.isfinite(made).all():  # what has no weight may be infinite or NaN
            read = np.where(spread != 0, forecasts, forecasts.dtype.type(0))
            made = (spread * read).sum(axis=1)
    return made


def _spread(shares: NDArray[D], indicator: NDArray[D]) -> NDArray[D]:
    """Return the weight of each slot, ``(n_streams, n_members, slots)``."""
    n, kinds, members = shares.shape
    flat: NDArray[D] = shares.swapaxes(1, 2).reshape(n * members, kinds) @ indicator
    return flat.reshape(n, members, -1)


def _means(losses: Floats, indicator: Floats) -> Floats:
    """Return mean losses of a block, ``(n, n_members, n_kinds)``.

    Sums per class are one product of matrices. It knows no NaN: where one comes out, they are
    counted and left out.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        sums = _product(losses, indicator)
        if (np.abs(sums) < LARGEST).all():
            return np.asarray(sums / indicator.sum(axis=0))
        seen = ~np.isnan(losses)
        sums = _product(np.where(seen, np.clip(losses, -LARGEST, LARGEST), 0), indicator)
        count = _product(seen.astype(losses.dtype), indicator)
        return np.asarray(np.where(count > 0, sums / np.where(count > 0, count, 1), np.nan))


def _product(losses: Floats, indicator: Floats) -> Floats:
    n, members, slots = losses.shape
    return np.asarray((losses.reshape(n * members, slots) @ indicator).reshape(n, members, -1))


def _pointwise(loss: Loss, y: Floats, forecasts: Floats, scale: Floats) -> Floats:
    """Return losses of a block, in the type of the forecasts."""
    with np.errstate(all="ignore"):
        if loss.function not in _ABSOLUTE + _SQUARED:
            actual: Any = np.broadcast_to(y[:, None], forecasts.shape)
            there: Any = forecasts
            made: Floats = loss(actual, there, scale[:, None, None].astype(np.float64))
            return made.astype(forecasts.dtype, copy=False)
        away = y[:, None] - forecasts
        if loss.needs_scale:
            away /= scale[:, None, None].astype(away.dtype)
        if loss.function in _SQUARED:
            return np.multiply(away, away, out=away)
        return np.abs(away, out=away)


def _scaled(means: Singles, scale: Floats, *, squared: bool) -> Singles:
    divisor = scale**2 if squared else scale
    with np.errstate(over="ignore"):
        return np.asarray(means / divisor[:, None, None], dtype=np.float32)
