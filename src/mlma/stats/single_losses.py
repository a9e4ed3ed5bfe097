"""What the tests on single losses share: their unit, their moments, their blocks of streams.

Takes the losses of both sides as arrays over streams. Next are the tests of ``sample_tests.py``,
``dependent_tests.py`` and ``block_bootstrap.py``.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch, ReferenceBatch, TestOutcome
from mlma.domain.errors import DataError
from mlma.stats.ratios import ratio

Floats = NDArray[np.float64]

ROUNDING = 1e-12
"""Standard error, relative to the largest loss, below which it is taken for rounding."""


def reference_losses(reference: ReferenceBatch, test: str) -> Floats:
    """Return the single losses of the reference, ``(n_streams, m, slots)``; NaN = missing.

    Raises
    ------
    DataError
        The reference holds batch means only.

    >>> means, classes = np.ones((1, 1)), np.zeros((1, 1), np.int8)
    >>> reference_losses(ReferenceBatch(means, classes, np.ones((1, 1, 24))), "welch").size
    24
    """
    if reference.losses is None:
        raise DataError(
            f"`losses` of the reference must be there for the test `{test}`. Got batch means "
            "only. Hint: keep the single losses, or use the test `batch_t`.",
        )
    return reference.losses


def pooled(reference: ReferenceBatch, test: str) -> Floats:
    """Return all reference losses of a stream side by side, ``(n_streams, m * slots)``.

    >>> means, classes = np.ones((1, 2)), np.zeros((1, 2), np.int8)
    >>> pooled(ReferenceBatch(means, classes, np.ones((1, 2, 24))), "welch").shape[1]
    48
    """
    return side_by_side(reference_losses(reference, test))


def side_by_side(losses: Floats) -> Floats:
    """Return ``(n_streams, m, slots)`` losses as ``(n_streams, m * slots)``.

    >>> side_by_side(np.ones((0, 2, 3))).shape[1]
    6
    """
    n_streams, m, slots = losses.shape
    return losses.reshape(n_streams, m * slots)


def largest(new: Floats, old: Floats) -> Floats:
    """Return the largest absolute loss of a stream, to work in its unit; 1 where there is none.

    Takes both sides as ``(n_streams, ...)``, gives ``(n_streams,)``. Squares of losses of 1e200
    are infinite, those of losses in this unit are not.

    >>> float(largest(np.array([[1.0, np.nan]]), np.array([[-4.0, 2.0]]))[0])
    4.0
    """
    both = [np.max(np.abs(np.nan_to_num(x)), axis=1, initial=0.0) for x in (new, old)]
    most: Floats = np.maximum(*both)
    return np.where(most > 0, most, 1.0)


def moments(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return count, mean and squared standard error of the mean of each row; NaN = too few.

    The standard error takes the values of a row for independent.

    >>> count, mean, square = moments(np.array([[1.0, 3.0, np.nan]]))
    >>> float(count[0]), float(mean[0]), float(square[0])
    (2.0, 2.0, 1.0)
    """
    finite = np.isfinite(values)
    count = finite.sum(axis=1).astype(np.float64)
    mean = ratio(np.where(finite, values, 0.0).sum(axis=1), count)
    residual = np.where(finite, values - mean[:, None], 0.0)
    return count, mean, ratio((residual**2).sum(axis=1), count * (count - 1))


def by_blocks(
    per_stream: Callable[[Floats, Floats], Floats], new: Floats, old: Floats, size: int
) -> Floats:
    """Apply a vectorised function to blocks of streams, to bound the memory that it needs.

    A block holds about ``size`` losses, and one stream at least. The first axis of ``new``, ``old``
    and of what comes out is the stream.

    >>> ones = np.ones((3, 2))
    >>> by_blocks(lambda new, old: new + old, ones, ones, size=4).sum().round(1).item()
    12.0
    """
    width = int(np.prod(new.shape[1:])) + int(np.prod(old.shape[1:]))
    rows = max(size // max(width, 1), 1)
    starts = range(0, max(len(new), 1), rows)
    return np.concatenate([per_stream(new[i : i + rows], old[i : i + rows]) for i in starts])


def outcome(
    incoming: LossBatch, expected: Floats, statistic: Floats, p_value: Floats
) -> TestOutcome:
    """Return the outcome of a test whose expectation is the mean of all reference losses.

    >>> batch, one = LossBatch(np.full((1, 2), 3.0), np.zeros(1, np.int8)), np.ones(1)
    >>> float(outcome(batch, 2 * one, one, one).effect[0])
    0.5
    """
    return TestOutcome(statistic, p_value, expected, ratio(incoming.mean(), expected) - 1)
