"""The test `profile`: cube-rooted losses against the profile of their slots, over several windows.

Takes the incoming loss batch and the `ProfileMoments` of the reference, gives one outcome per
stream. Unlike the tests on batch means it is right for part-day batches: only slots that are there
are compared, each with its own usual loss. Next is the assessment.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch, ReferenceBatch, TestOutcome
from mlma.domain.profiles import REMEMBERED, ProfileMoments
from mlma.stats.batch_mean import straightened
from mlma.stats.moderation import fleet_prior, moderated
from mlma.stats.normal_scores import normal_scores
from mlma.stats.profile_moments import (
    Deviation,
    absorbed,
    deviation,
    long_run_variance,
    typical_root,
)
from mlma.stats.ratios import ratio
from mlma.stats.single_losses import reference_losses
from mlma.stats.tails import check_side, normal_p

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WINDOWS = (1, 3, 7)

SMALLEST_SD = 1e-6
"""Relative standard deviation of the losses' cube roots below which it is taken for rounding: the
profile is kept in single precision."""

SKEWNESS_PRIOR_BATCHES = 100
"""A reference of this many batches gives its own skewness half the weight; the fleet has the rest.
More than in `batch_t`, because shifts of cube roots lean less and more alike: with 28, the noise of
the own skewness makes up to .0023 of a nominal .001 where 100 makes .0018."""

AT_SCORES = (-np.inf, 1.2816, 1.6449, 2.3263, 3.0902, 3.7190, 4.2649)
"""Normal scores of the columns of `EFFECTIVE_WINDOWS`."""

EFFECTIVE_WINDOWS = np.array(
    [
        [1.0] * 7,
        [1.572, 1.572, 1.627, 1.733, 1.835, 1.898, 1.936],
        [1.684, 1.684, 1.738, 1.835, 1.917, 1.958, 1.979],
        [2.024, 2.024, 2.128, 2.330, 2.532, 2.660, 2.724],
        [2.136, 2.136, 2.248, 2.463, 2.670, 2.792, 2.845],
        [2.206, 2.206, 2.321, 2.538, 2.738, 2.850, 2.896],
        [2.256, 2.256, 2.371, 2.586, 2.779, 2.881, 2.926],
    ]
)
"""Effective number of windows at one-sided tails 1, .1, .05, .01, .001, 1e-4, 1e-5 (columns), with
1 ... 7 batches at hand (rows): ``log(1 - P) / log(1 - p)``, ``P`` the probability that the smallest
of the p-values is ``p`` or less. Normal windows of independent batches; ``u`` and ``v`` of them
that end together have the correlation ``sqrt(u / v)``, ``u <= v``. Integrated numerically."""


@dataclass(frozen=True, slots=True)
class _Tested:
    """What the incoming batch says; all ``(n_streams,)``, NaN = cannot tell.

    away
        `Deviation` of the batch.
    variance, df
        of a whole batch's shift, moderated, and its degrees of freedom.
    skewness
        of a whole batch's shift, shrunk towards the fleet's.
    scale
        variance of a shift of as many slots as there are, over that of a whole batch.
    """

    away: Deviation
    variance: Floats
    df: Floats
    skewness: Floats
    scale: Floats


def profile_test(incoming: LossBatch, moments: ProfileMoments, side: str) -> TestOutcome:
    """Return the test of cube-rooted losses against their slots' profile, windows of 1, 3, 7.

    A batch's shift is the mean over its slots of cube-rooted loss minus profile. Its variance is
    ``V = r W / slots``: ``W`` the long-run variance within the batch (`long_run_variance`), ``r``
    the variance between batches over ``W / slots``, moderated across the streams (`fleet_prior`,
    `moderated`): ``r`` takes up day effects and what ``W`` misses. With fewer than eight streams
    ``V`` is the variance between batches alone. A part of ``k`` slots has ``W / k + max(V - W /
    slots, 0)``.

    ``t`` of a window is the sum of its standardised shifts over the root of its variance, in which
    the common error of the reference counts. The p-value is ``1 - (1 - p)^k``, ``p`` the smallest
    of the windows' and ``k`` the effective number of windows (Sidak, 1967).

    Parameters
    ----------
    incoming
        ``(n_streams, slots)`` losses, all at least 0; NaN, infinite or negative = missing. The
        calendar classes are below those of ``moments``.
    moments
        of the reference, before this batch.
    side
        ``greater`` or ``two-sided``.

    Returns
    -------
    TestOutcome
        ``statistic`` is ``t`` of the window with the smallest p-value, ``score`` that of the batch
        alone. ``effect`` compares the slots that the reference has seen. p is NaN where no slot can
        be compared, without a degree of freedom, and where losses do not vary beyond rounding.

    Raises
    ------
    SettingsError
        ``side`` is unknown.

    Source: Smyth (2004, eq. 5) for the moderation. Assumes independent batches given their class,
    and one correlation within the batch for all slots.

    >>> rng = np.random.default_rng(0)
    >>> losses, days = rng.gamma(1, 1, (20, 15, 24)), np.zeros((20, 14), np.int8)
    >>> moments = profile_of(losses[:, :14], days, 1)
    >>> outcome = profile_test(LossBatch(losses[:, 14] * 4, days[:, 0]), moments, "greater")
    >>> float(outcome.p_value.max().round(6))
    1e-06
    """
    check_side(side)
    tested = _tested(incoming, moments)
    t, batches = _windows(incoming, moments, tested)
    scores = np.stack([normal_scores(one, tested.df) for one in t.T], axis=1)
    size = scores if side == "greater" else np.abs(scores)
    best = np.argmax(np.nan_to_num(size, nan=-np.inf), axis=1)[:, None]
    most = np.take_along_axis(scores, best, axis=1)[:, 0]
    away, unit = tested.away, moments.unit
    with np.errstate(over="ignore"):
        expected = away.expected * unit * unit * unit
    error = np.sqrt(ratio(tested.variance * tested.scale, away.certainty))
    return TestOutcome(
        statistic=np.take_along_axis(t, best, axis=1)[:, 0],
        p_value=_combined(most, batches, side),
        reference_loss=np.where(away.expected > 0, expected, np.nan),
        effect=ratio(away.loss, away.expected) - 1,
        score=scores[:, 0],
        spread=3 * ratio(error, away.evenness),
        df=np.where(np.isnan(most), np.nan, tested.df),
    )


def profile_of_batches(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return `profile_test` against the profile of raw reference batches.

    Raises
    ------
    DataError
        The reference holds batch means only.

    >>> losses = np.random.default_rng(0).gamma(1, 1, (20, 14, 24))
    >>> reference = ReferenceBatch(losses.mean(axis=2), np.zeros((20, 14), np.int8), losses)
    >>> incoming = LossBatch(losses[:, 0] * 4, np.zeros(20, np.int8))
    >>> bool((profile_of_batches(incoming, reference, "greater").p_value < 0.001).all())
    True
    """
    losses = reference_losses(reference, "profile")
    if not incoming.losses.shape[1]:
        nothing = np.full(len(losses), np.nan)
        return TestOutcome(nothing, nothing, nothing, nothing)
    calendars = (reference.calendar, incoming.calendar)
    classes = int(max(one.max(initial=0) for one in calendars)) + 1
    return profile_test(incoming, profile_of(losses, reference.calendar, classes), side)


def profile_of(losses: NDArray[Any], calendar: NDArray[np.int8], classes: int) -> ProfileMoments:
    """Return the moments of references made of raw batches, every batch with equal weight.

    Parameters
    ----------
    losses
        ``(n_streams, m, slots)``, oldest batch first; NaN, infinite or negative = missing.
    calendar
        ``(n_streams, m) int8``, below ``classes``.
    classes
        number of calendar classes; each has a profile of its own.

    >>> made = profile_of(np.full((1, 3, 4), 8.0), np.zeros((1, 3), np.int8), 1)
    >>> float(made.unit[0]), float(made.count()[0])
    (2.0, 3.0)
    """
    n, m, slots = losses.shape
    made = replace(ProfileMoments.empty(n, classes, slots), unit=typical_root(losses))
    everyone = np.ones(n, dtype=np.bool_)
    for at in range(m):
        made = profile_updated(made, LossBatch(losses[:, at], calendar[:, at]), everyone, m)
    return made


def profile_updated(
    moments: ProfileMoments, incoming: LossBatch, rows_mask: Bools, cap: int
) -> ProfileMoments:
    """Return the moments after a batch: remembered by all, absorbed where ``rows_mask``.

    A batch that is not absorbed still counts in the next windows: evidence of a break must add up.
    Weights as in `absorbed`.

    Parameters
    ----------
    incoming
        as in `profile_test`; a batch without losses changes nothing.
    rows_mask
        ``(n_streams,) bool``.
    cap
        batches with equal weights; from then on their effective number.

    >>> made = profile_of(np.full((1, 3, 4), 8.0), np.zeros((1, 3), np.int8), 1)
    >>> day = LossBatch(np.full((1, 4), 64.0), np.zeros(1, np.int8))
    >>> made = profile_updated(made, day, np.ones(1, np.bool_), 28)
    >>> (made.profile[0, 0] * made.unit).tolist()
    [2.5, 2.5, 2.5, 2.5]
    """
    return absorbed(profile_noted(moments, incoming, rows_mask, cap), incoming, rows_mask, cap)


def profile_noted(
    moments: ProfileMoments, incoming: LossBatch, rows_mask: Bools, cap: int
) -> ProfileMoments:
    """Return the moments with the batch in the ring; ``rows_mask``: it is going to be absorbed.

    Shifts of two batches share the error of an unchanged reference of ``m`` batches: correlation
    ``1 / (m + 1)``. After a batch was absorbed with equal weight the next shift is independent of
    its own, after one with exponential weight the correlation is ``-1 / (m + 1)``. For callers that
    absorb a batch later than they test it; `profile_updated` does both at once.

    >>> made = profile_of(np.full((1, 3, 4), 8.0), np.zeros((1, 3), np.int8), 1)
    >>> day = LossBatch(np.full((1, 4), 64.0), np.zeros(1, np.int8))
    >>> float(profile_noted(made, day, np.zeros(1, np.bool_), 28).links[0, -1])
    0.25
    """
    tested = _tested(incoming, moments)
    shifts = ratio(tested.away.shift, np.sqrt(tested.scale))
    new = np.isfinite(shifts)
    size = moments.weight[np.arange(len(new)), incoming.calendar]
    fading = (moments.count() >= cap) & (size >= 2)
    link = np.where(rows_mask, np.where(fading, -1.0, 0.0), 1.0) / (size + 1)
    return replace(
        moments,
        scores=_pushed(moments.scores, shifts, new),
        links=_pushed(moments.links, link, new),
        kinds=_pushed(moments.kinds, incoming.calendar, new),
    )


def _pushed(ring: NDArray[Any], value: NDArray[Any], new: Bools) -> NDArray[Any]:
    moved = np.concatenate([ring[:, 1:], value[:, None].astype(ring.dtype)], axis=1)
    return np.where(new[:, None], moved, ring)


def _tested(incoming: LossBatch, moments: ProfileMoments) -> _Tested:
    slots = incoming.losses.shape[1]
    away, df = deviation(incoming, moments), moments.df()
    within, inflation = long_run_variance(moments) / max(slots, 1), moments.count() / df
    telling = moments.lags[:, 0] * inflation > SMALLEST_SD**2
    own = np.where(telling, ratio(moments.between * inflation, within), np.nan)
    lean = np.nan_to_num(ratio(moments.third, moments.between**1.5) / np.sqrt(inflation))
    prior = fleet_prior(own, df, lean)
    weight = np.nan_to_num(df / (df + SKEWNESS_PRIOR_BATCHES))
    skewness = prior.skewness + weight * (lean - prior.skewness)
    times, df = moderated(own, df, prior)
    variance = np.where(times > 0, times * within, np.nan)
    effect = np.maximum(variance - within, 0.0)
    scale = (within * ratio(np.full_like(df, slots), away.found) + effect) / (within + effect)
    return _Tested(away, variance, df, skewness, np.where(away.found == slots, 1.0, scale))


def _windows(
    incoming: LossBatch, moments: ProfileMoments, tested: _Tested
) -> tuple[Floats, Floats]:
    """Return ``t`` of every window, ``(n_streams, 3)``, and the batches of the longest."""
    shift = ratio(tested.away.shift, np.sqrt(tested.scale))
    shifts = np.concatenate([moments.scores.astype(np.float64), shift[:, None]], axis=1)
    kinds = np.concatenate([moments.kinds, incoming.calendar[:, None]], axis=1)
    links, made = moments.links.astype(np.float64), np.empty((len(shift), len(WINDOWS)))
    for column, width in enumerate(WINDOWS):
        first = REMEMBERED + 1 - width
        total, held = _window(shifts[:, first:], links[:, first:], kinds[:, first:])
        t = ratio(total, np.sqrt(tested.variance))
        made[:, column] = straightened(t, tested.skewness / np.sqrt(np.maximum(held, 1)))
    return made, held


def _window(shifts: Floats, links: Floats, kinds: NDArray[np.int8]) -> tuple[Floats, Floats]:
    """Return the sum of shifts over its standard deviation in units of one, and their number.

    ``links`` are those of all but the last shift.
    """
    there = np.isfinite(shifts)
    held = there.sum(axis=1).astype(np.float64)
    variance = held.copy()
    for place in range(links.shape[1]):
        later = ((kinds == kinds[:, [place]]) & there)[:, place + 1 :].sum(axis=1)
        variance += 2 * there[:, place] * links[:, place] * later
    total = np.where(there, shifts, 0.0).sum(axis=1) / np.sqrt(np.maximum(variance, 0.25))
    return np.where(there[:, -1], total, np.nan), held


def _combined(score: Floats, at_hand: Floats, side: str) -> Floats:
    """Return the p-value of the largest of several windows' normal scores."""
    p, effective = normal_p(score, side), np.ones_like(score)
    size = score if side == "greater" else np.abs(score)
    for batches in range(1, REMEMBERED + 2):
        rows = at_hand == batches
        effective[rows] = np.interp(size[rows], AT_SCORES, EFFECTIVE_WINDOWS[batches - 1])
    with np.errstate(divide="ignore"):
        return -np.expm1(effective * np.log1p(-np.minimum(p, 1.0)))
