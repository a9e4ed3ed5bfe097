"""Tests of single losses that allow for dependence within a batch: `hac` and `ewc`.

Takes the incoming and the reference loss batch, gives one outcome per stream. Both compare the two
mean losses and differ in the long-run variance that they take for the standard error. They mend
dependence that can be seen within a batch. What all losses of a batch have in common, as a day of
bad weather, cannot be seen within it: no batch shows its own level to be exceptional. The calendar
class is not used.
"""

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch, ReferenceBatch, TestOutcome
from mlma.stats.ratios import ratio
from mlma.stats.single_losses import (
    ROUNDING,
    by_blocks,
    largest,
    outcome,
    reference_losses,
    side_by_side,
)
from mlma.stats.tails import normal_p, student_p

Floats = NDArray[np.float64]

BLOCK = 200_000
"""Losses that are worked on at a time: about what fits in the cache of a processor."""


def hac(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return the test of the two mean losses with the standard errors of Newey and West.

    ``z = (mean_1 - mean_0) / sqrt(W_1 / n_1 + W_0 / n_0)`` with the long-run variance
    ``W = g_0 + 2 sum_k (1 - k / (L + 1)) g_k`` of each side, ``k = 1 ... L``,
    ``L = floor(b^(1/3))`` for batches of ``b`` slots. ``g_k = sum e_t e_(t+k) / n`` over all pairs
    of losses that stand ``k`` slots apart in the same batch, ``e`` the distance of a loss from
    the mean of its side: losses of different batches count as independent. Pairs with a missing
    loss are left out of the sum and ``n`` counts the losses that are there, so that ``W`` is never
    negative. The p-value is normal. It is NaN (cannot tell) with fewer than two losses on a side,
    or where the losses do not vary.

    Does not cover: dependence beyond ``L`` slots, and the level that all losses of the incoming
    batch have in common. A daily season counts as variance.

    Level: of break-free batches it rejects .060 at a nominal .05 and .0033 at .001
    (gamma-type losses, AR(1) with phi .6 within the day, 28 reference batches); see
    ``docs/statistics/hac.md``.

    Source: Newey and West (1987, Econometrica 55, eq. 5), without pre-whitening or a correction
    for small samples; missing losses as in Parzen (1963, Sankhya A 25).

    Parameters
    ----------
    incoming
        ``(n_streams, slots)`` losses; NaN = missing.
    reference
        ``losses``, ``(n_streams, m, slots)``; NaN = missing.
    side
        ``greater`` or ``two-sided``.

    Raises
    ------
    DataError
        The reference holds batch means only.
    SettingsError
        ``side`` is unknown.

    >>> reference = ReferenceBatch(
    ...     np.ones((1, 2)), np.zeros((1, 2), np.int8), np.array([[[1.0, 2.0], [3.0, 2.0]]])
    ... )
    >>> incoming = LossBatch(np.array([[2.0, 3.0, 2.5]]), np.zeros(1, np.int8))
    >>> float(hac(incoming, reference, "greater").p_value.round(4)[0])
    0.1004
    """
    old = reference_losses(reference, "hac")
    z, expected = by_blocks(_newey_west, incoming.losses, old, BLOCK).T
    return outcome(incoming, expected, z, normal_p(z, side))


def ewc(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return the test of the two mean losses with equal-weighted cosine standard errors.

    A batch of ``b`` slots with ``n`` losses has the long-run variance ``W = sum_j c_j^2 / v``,
    ``j = 1 ... v``, ``v = floor(0.4 n^(2/3))``, with
    ``c_j = sqrt(2 / n) sum_t e_t cos(pi j (t - 1/2) / b)``, ``e`` the distance of a loss from the
    mean of its batch. A missing loss has ``e = 0``: it is left out, as if the mean of its batch
    stood there. ``W_1`` is that of the incoming batch with ``df_1 = v``; ``W_0`` is the mean over
    the reference batches weighted by ``n``, with ``df_0 = (sum n)^2 / sum (n^2 / v)``, which is
    ``m v`` for whole batches.

    ``t = (mean_1 - mean_0) / sqrt(W_1 / n_1 + W_0 / n_0)``, ``n_0`` all reference losses, is read
    as Student's t with the degrees of freedom of Welch and Satterthwaite for these two. The
    p-value is NaN (cannot tell) with fewer than four losses in the incoming batch or in every
    reference batch, or where the losses do not vary.

    Does not cover: the level that all losses of a batch have in common, because cosines do not see
    a constant. A daily season counts as variance, most of it in the first cosines, and makes
    the test deaf.

    Level: of break-free batches it rejects .008 at a nominal .05 and .0003 at .001
    (gamma-type losses, AR(1) with phi .6 within the day, 28 reference batches); see
    ``docs/statistics/ewc.md``.

    Source: Lazarus, Lewis, Stock and Watson (2018, Journal of Business & Economic Statistics 36,
    eq. 4 and p. 545), for one series; the two sides are put together as by Welch (1947).

    Parameters, errors and side as in `hac`.

    >>> reference = ReferenceBatch(
    ...     np.ones((1, 1)), np.zeros((1, 1), np.int8), np.array([[[1.0, 2.0, 3.0, 2.0]]])
    ... )
    >>> incoming = LossBatch(np.array([[4.0, 5.0, 4.5, 4.0]]), np.zeros(1, np.int8))
    >>> float(ewc(incoming, reference, "greater").p_value.round(4)[0])
    0.0581
    """
    old = reference_losses(reference, "ewc")
    t, df, expected = by_blocks(_cosine_t, incoming.losses, old, BLOCK).T
    return outcome(incoming, expected, t, student_p(t, df, side))


def _newey_west(new: Floats, old: Floats) -> Floats:
    """z and the reference mean, ``(n_streams, 2)``."""
    unit = largest(new, side_by_side(old))
    mean_1, square_1 = _bartlett((new / unit[:, None])[:, None, :])
    mean_0, square_0 = _bartlett(old / unit[:, None, None])
    error = np.sqrt(square_1 + square_0)
    z = ratio(mean_1 - mean_0, np.where(error > ROUNDING, error, np.nan))
    return np.stack([z, mean_0 * unit], axis=1)


def _bartlett(losses: Floats) -> tuple[Floats, Floats]:
    """Mean and its squared standard error, of losses ``(n_streams, m, slots)``."""
    found = np.isfinite(losses)
    count = found.sum(axis=(1, 2)).astype(np.float64)
    mean = ratio(np.where(found, losses, 0.0).sum(axis=(1, 2)), count)
    residual = np.where(found, losses - mean[:, None, None], 0.0)
    slots = losses.shape[2]
    longest = int(np.cbrt(slots))
    products = np.einsum("nmt,nmt->n", residual, residual)
    for lag in range(1, min(longest, slots - 1) + 1):
        pairs = np.einsum("nmt,nmt->n", residual[:, :, lag:], residual[:, :, :-lag])
        products += 2 * (1 - lag / (longest + 1)) * pairs
    enough = np.where(count > 1, count**2, np.nan)
    return mean, ratio(np.maximum(products, 0.0), enough)


def _cosine_t(new: Floats, old: Floats) -> Floats:
    """t, degrees of freedom and the reference mean, ``(n_streams, 3)``."""
    unit = largest(new, side_by_side(old))
    mean_1, square_1, df_1 = _cosine((new / unit[:, None])[:, None, :])
    mean_0, square_0, df_0 = _cosine(old / unit[:, None, None])
    error = np.sqrt(square_1 + square_0)
    telling = np.where(error > ROUNDING, error, np.nan)
    t = ratio(mean_1 - mean_0, telling)
    df = ratio(telling**4, square_1**2 / df_1 + square_0**2 / df_0)
    return np.stack([t, df, mean_0 * unit], axis=1)


def _cosine(losses: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, its squared standard error and its df, of losses ``(n_streams, m, slots)``."""
    found = np.isfinite(losses)
    size = found.sum(axis=2).astype(np.float64)
    total = np.where(found, losses, 0.0).sum(axis=2)
    residual = np.where(found, losses - ratio(total, size)[:, :, None], 0.0)
    terms = _terms(size)
    variance = _long_run(residual, size, terms)
    weight = np.where(terms > 0, size, 0.0)
    used = weight.sum(axis=1)
    typical = ratio((weight * np.nan_to_num(variance)).sum(axis=1), used)
    df = ratio(used**2, (weight**2 / np.maximum(terms, 1)).sum(axis=1))
    count = size.sum(axis=1)
    return ratio(total.sum(axis=1), count), ratio(typical, count), df


def _terms(size: NDArray[np.float64]) -> Floats:
    """Number of cosines for ``size`` losses; 0 below four."""
    return np.floor(0.4 * np.cbrt(size) ** 2)


def _long_run(residual: Floats, size: Floats, terms: Floats) -> Floats:
    """Long-run variance of each batch, ``(n_streams, m)``; NaN = too few losses."""
    slots = residual.shape[2]
    waves = np.arange(1, int(_terms(np.array([float(slots)]))[0]) + 1)
    cosines = np.cos(np.pi / max(slots, 1) * np.outer(np.arange(slots) + 0.5, waves))
    squares = (residual @ cosines) ** 2
    squares[waves > terms[:, :, None]] = 0.0
    return ratio(2 * squares.sum(axis=2), size * terms)
