"""The tests on batch means: t on log means with a calendar effect, and its moderated form.

Takes the incoming loss batch and the moments of the reference, gives one outcome per stream.
Losses of a day move together, so the unit is the batch and not the single loss.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch, ReferenceBatch, TestOutcome
from mlma.domain.moments import Moments
from mlma.stats.moderation import NOTHING, SMALLEST_SD, Prior, fleet_prior, moderated
from mlma.stats.moments import Expectation, expectation, log_means, moments_of
from mlma.stats.normal_scores import normal_scores
from mlma.stats.tails import normal_p

Floats = NDArray[np.float64]

SKEWNESS_PRIOR_BATCHES = 28
"""A reference of so many batches gives its own skewness half of the weight, the prior the rest."""


@dataclass(frozen=True, slots=True)
class MeanTest:
    """How far each incoming log mean stands above its reference; all ``(n_streams,)``.

    statistic
        t, freed of the reference's skewness; NaN = cannot tell.
    score
        normal score of the statistic.
    centre
        log mean that the reference expects.
    spread, df
        standard error of the difference of the logs, and its degrees of freedom.
    """

    statistic: Floats
    score: Floats
    centre: Floats
    spread: Floats
    df: Floats


def mean_test(
    logs: Floats, moments: Moments, calendar: NDArray[np.int8], prior: Prior = NOTHING
) -> MeanTest:
    """Return the t test of log batch means against what their references expect.

    With ``z`` the incoming log mean of calendar class ``c``, ``t = (z - mean_c) / (s sqrt(1 + 1 /
    m_c))``: ``mean_c`` the mean of the ``m_c`` reference batches of this class, ``s`` the standard
    deviation pooled over the classes with ``df = m - classes present``, moderated by the prior.
    The statistic is ``t`` after `straightened` has taken out the skewness, and is read as Student's
    t.

    Parameters
    ----------
    logs
        ``(n_streams,)`` incoming log means, floored by `mlma.stats.moments.log_means`; NaN = none.
    moments
        of the reference.
    calendar
        ``(n_streams,) int8``.
    prior
        what the fleet says of variances and skewness; `NOTHING` = every stream by itself.

    Cannot tell (NaN) where a log mean is missing, where ``df < 1``, or where the reference's log
    means do not vary beyond rounding (a relative standard deviation under 1e-9).

    Sources: the prediction of one new normal observation (Student, 1908; Geisser, 1993); moderation
    (Smyth, 2004, eq. 5); Hall (1992, "On the removal of skewness by transformation", JRSS B 54) for
    the cubic. Assumes batches that are independent given their class, and one variance of the log
    for all classes.

    >>> from scipy import special
    >>> from mlma.stats.moments import moments_of
    >>> means = np.array([[1.0, 1.1, 0.9, 1.05, 0.95, 1.2, 0.8]])
    >>> made = moments_of(means, np.zeros((1, 7), np.int8), 1)
    >>> tested = mean_test(np.log([1.5]), made, np.zeros(1, np.int8))
    >>> float(special.stdtr(tested.df, -tested.statistic).round(4)[0])
    0.0128
    """
    expected = expectation(moments, calendar)
    return compared(logs, expected, prior)


def compared(logs: Floats, expected: Expectation, prior: Prior) -> MeanTest:
    """Return the t test against an expectation that is already made."""
    variance, df = moderated(expected.variance, expected.df, prior)
    flat = ~(variance > SMALLEST_SD**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(variance * (1 + 1 / expected.class_count))
        t = (logs - expected.centre) / spread
    if flat.any():
        t[flat] = np.nan
    weight = expected.count / (expected.count + SKEWNESS_PRIOR_BATCHES)
    skewness = prior.skewness + weight * (expected.skewness - prior.skewness)
    statistic = straightened(t, skewness)
    return MeanTest(statistic, normal_scores(statistic, df), expected.centre, spread, df)


def prior_of(expected: Expectation, fewest: float) -> Prior:
    """Return the fleet's prior, from the references that hold ``fewest`` batches or more."""
    rows = expected.count >= fewest
    return fleet_prior(expected.variance[rows], expected.df[rows], expected.skewness[rows])


def straightened(t: Floats, skewness: Floats) -> Floats:
    """Return t statistics freed of the reference's skewness; rising in ``t``.

    The Cornish-Fisher terms ``t - a t^2 + a`` with ``a = g / 6``, made monotone by Hall's (1992)
    cubic term ``a^2 t^3 / 3``; ``g`` is kept within -1 and 1.

    The reason: the log of a mean of gamma-type losses leans to the left (at a nominal .001 a plain
    t rejects .0003 to .0011), the log means of real streams lean to the right (.0045 to .0149,
    holidays included). A milder transform, such as the cube root, would mend the first and make
    the second worse; figures in ``docs/statistics/batch_t.md``.

    >>> float(straightened(np.array([3.0]), np.array([0.3])).round(3)[0])
    2.622
    """
    a = np.clip(skewness, -1.0, 1.0)
    a /= 6
    # The derivative is (1 - a t)^2: worse losses never get a larger p-value.
    bent = a * t  # in place from here on: this is a hot path
    made: Floats = bent * bent
    made *= t / 3
    bent *= t
    made -= bent
    made += a
    made += t
    return made


def batch_t(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return `mean_test` of raw batches, every stream judged by itself.

    Parameters
    ----------
    incoming
        ``(n_streams, slots)`` losses, all at least 0; NaN = missing.
    reference
        ``(n_streams, m)`` mean losses; NaN = empty place. ``losses`` is not read.
    side
        ``greater`` or ``two-sided``.

    Returns
    -------
    TestOutcome
        ``reference_loss`` is ``exp`` of the expected log mean, a geometric level: below the
        arithmetic mean of the reference, by about half the variance of the log means. ``effect``
        compares with it, and both are given where only the variance is missing.

    Raises
    ------
    SettingsError
        ``side`` is unknown.

    >>> means = np.array([[1.0, 1.1, 0.9, 1.05, 0.95, 1.2, 0.8]])
    >>> reference = ReferenceBatch(means, np.zeros((1, 7), np.int8))
    >>> incoming = LossBatch(np.array([[1.4, 1.6]]), np.zeros(1, np.int8))
    >>> float(batch_t(incoming, reference, "greater").p_value.round(4)[0])
    0.0128
    """
    return _of_batches(incoming, reference, side, pooled=False)


def moderated_t(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return `mean_test` of raw batches, variances and skewness moderated across the streams.

    Parameters, errors and answers as in `batch_t`. A fleet of fewer than eight streams gives no
    prior, and the answer is that of `batch_t`.

    >>> rng = np.random.default_rng(0)
    >>> reference = ReferenceBatch(rng.gamma(20, 1, (50, 14)), np.zeros((50, 14), np.int8))
    >>> incoming = LossBatch(rng.gamma(20, 1, (50, 1)), np.zeros(50, np.int8))
    >>> bool((moderated_t(incoming, reference, "greater").df > 12).all())
    True
    """
    return _of_batches(incoming, reference, side, pooled=True)


def _of_batches(
    incoming: LossBatch, reference: ReferenceBatch, side: str, *, pooled: bool
) -> TestOutcome:
    classes = (reference.calendar, incoming.calendar)
    n_classes = int(max((one.max(initial=0) for one in classes), default=0)) + 1
    moments = moments_of(reference.means, reference.calendar, n_classes)
    loss = incoming.mean()
    expected = expectation(moments, incoming.calendar)
    prior = prior_of(expected, 0) if pooled else NOTHING
    made = compared(log_means(loss, moments.typical), expected, prior)
    return outcome_of(made, loss, moments, side)


def outcome_of(made: MeanTest, loss: Floats, moments: Moments, side: str) -> TestOutcome:
    """Return what a test of log means says of losses."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        level = np.exp(made.centre)
        effect = loss / level - 1
    unknown = np.isnan(moments.typical) | (moments.count() == 0)
    if unknown.any():
        level[unknown], effect[unknown] = np.nan, np.nan
    return TestOutcome(
        statistic=made.statistic,
        p_value=normal_p(made.score, side),
        reference_loss=level,
        effect=effect,
        score=made.score,
        spread=made.spread,
        df=made.df,
    )
