"""Moderated variances: a stream with few batches borrows from the fleet.

Takes the variances of all streams, gives the prior that they suggest and what each stream's
variance becomes under it. Next is the moderated t test.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

FEWEST_STREAMS = 8
"""Fleets smaller than this give no prior: every stream is then judged by itself."""

MOST_STREAMS = 20_000
"""A prior is estimated from no more streams than this; more would not change its third digit."""

LARGEST_DF = 200.0
"""Prior degrees of freedom are kept below this: no fleet is so uniform."""

SMALLEST_SD = 1e-9
"""Standard deviation of log means (a relative one) below which it is taken for rounding."""

_IQR = 1.3489795003921634  # of a standard normal distribution


@dataclass(frozen=True, slots=True)
class Prior:
    """What the fleet says of a stream's variance and skewness before its own batches are seen.

    variance
        typical variance of a log batch mean.
    df
        degrees of freedom that this is worth; 0 = nothing.
    skewness
        typical skewness of the log batch means.
    """

    variance: float
    df: float
    skewness: float


NOTHING = Prior(variance=1.0, df=0.0, skewness=0.0)


def fleet_prior(variance: Floats, df: Floats, skewness: Floats) -> Prior:
    """Return the prior that the streams' own variances suggest.

    The model is Smyth's (2004): ``s^2 ~ s0^2 F(d, d0)``. His moment estimators would let a few
    drifting streams with huge variances poison the prior, so location and spread of ``log s^2`` are
    taken from median and interquartile range here, in the spirit of Phipson et al. (2016).

    Parameters
    ----------
    variance, df, skewness
        ``(n_streams,)``; NaN or 0 = the stream says nothing.

    >>> rng = np.random.default_rng(0)
    >>> sample = rng.chisquare(26, 5000) / 26 * 4
    >>> prior = fleet_prior(sample, np.full(5000, 26.0), np.zeros(5000))
    >>> round(prior.variance, 1), prior.df
    (4.0, 200.0)
    """
    known = np.flatnonzero((variance > 0) & np.isfinite(variance) & (df >= 2))
    if len(known) < FEWEST_STREAMS:
        return NOTHING
    logs, d = np.log(variance[known]), float(np.median(df[known]))
    low, middle, high = np.quantile(logs, (0.25, 0.5, 0.75))
    spread = ((high - low) / _IQR) ** 2 - float(special.polygamma(1, d / 2))
    prior_df = min(2 * _trigamma_inverse(spread), LARGEST_DF) if spread > 0 else LARGEST_DF
    centre = middle - np.log(_chi_square_median(d)) + np.log(_chi_square_median(prior_df))
    return Prior(float(np.exp(centre)), float(prior_df), _typical_skewness(skewness[known]))


def moderated(variance: Floats, df: Floats, prior: Prior) -> tuple[Floats, Floats]:
    """Return each stream's variance and degrees of freedom under the prior (Smyth 2004, eq. 5).

    A stream whose own variance is 0 beyond rounding stays at 0: it is dead, not quiet.

    >>> made, df = moderated(np.array([4.0]), np.array([10.0]), Prior(1.0, 10.0, 0.0))
    >>> made.tolist(), df.tolist()
    ([2.5], [20.0])
    """
    total = df + prior.df
    made = (variance * df + prior.variance * prior.df) / total
    dead = (variance <= SMALLEST_SD**2) & (df > 0)
    if dead.any():
        made[dead] = 0.0
    return made, total


def _chi_square_median(df: float) -> float:
    """Return the median of a chi-square over its degrees of freedom (Wilson and Hilferty 1931)."""
    return float((1 - 2 / (9 * df)) ** 3)


def _typical_skewness(skewness: Floats) -> float:
    """Return the mean of the middle half: a few wild streams do not count."""
    low, high = np.quantile(skewness, (0.25, 0.75))
    # Sorted, so that the order of the streams does not change the last digit.
    return float(np.sort(skewness[(skewness >= low) & (skewness <= high)]).mean())


def _trigamma_inverse(value: float) -> float:
    """Return x with trigamma(x) = value, by Newton's method (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x
