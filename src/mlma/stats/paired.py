"""Paired comparison of two versions of one stream, valid at whatever batch one looks or stops.

Takes both versions' mean losses batch by batch, gives evidence that the challenger is better and
that it is worse. Next is the gate, or the roll-back.

Two gamblers start with 1. Before each batch one bets that the challenger will lose less, the other
that it will lose more. If the versions are equally good neither can expect to win, so the
probability that a capital ever reaches ``1 / level`` is at most ``level``.
"""

from dataclasses import replace
from math import log

import numpy as np
from numpy.typing import NDArray

from mlma.domain.challengers import PairedEvidence

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

POWERS = (4.0, 16.0)
"""Powers to which the bets raise the losses: the capital is shared equally between them.

For a log ratio of mean ``m`` and standard deviation ``s`` a capital grows fastest with a power of
about ``2 m / (m^2 + s^2)``: 11 for a gain of 5 % and a ratio that varies by a tenth, 3 for one of
10 % and a quarter.
"""

STAKE = 0.9
"""Share of the capital that is at stake in a batch: no batch costs more than nine tenths of it."""

WIDEST_RATIO = 10.0
"""Losses that differ by more count as differing by this factor."""

MIXTURE_VARIANCE = 0.02
"""Sum of squared log ratios at which the interval is about narrowest: two weeks of days."""

_HALVINGS = 60


def log_ratio(champion: Floats, challenger: Floats) -> Floats:
    """Return ``log(champion / challenger)``; positive = the challenger lost less.

    Parameters
    ----------
    champion, challenger
        ``(n_streams,) float64``, mean loss of a batch, 0 or more; NaN = no batch.

    Returns
    -------
    ``(n_streams,) float64``, between ``-log(WIDEST_RATIO)`` and that; 0 where both losses are 0;
    NaN where one is missing, infinite or negative.

    >>> log_ratio(np.array([2.0, 0.0, 1.0]), np.array([1.0, 0.0, np.nan])).round(3).tolist()
    [0.693, 0.0, nan]
    """
    known = np.isfinite(champion) & np.isfinite(challenger) & (champion >= 0) & (challenger >= 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(champion) - np.log(challenger)
    ratio = np.where((champion == 0) & (challenger == 0), 0.0, ratio)
    widest = log(WIDEST_RATIO)
    return np.where(known, np.clip(ratio, -widest, widest), np.nan)


def paired(evidence: PairedEvidence, champion: Floats, challenger: Floats) -> PairedEvidence:
    """Return the evidence after one batch more.

    Each bet of power ``k`` multiplies its capital by ``1 + b d`` or ``1 - b d``, with
    ``d = (old^k - new^k) / (old^k + new^k)``, which lies in ``[-1, 1]`` and is ``tanh(k x / 2)``
    of the log ratio ``x``; ``b`` = ``STAKE``. For ``k`` = 1 it is the relative difference of the
    losses, on which nothing can be won: see docs/statistics/paired.md.

    Parameters
    ----------
    evidence
        before the batch.
    champion, challenger
        ``(n_streams,) float64``, mean losses as in `log_ratio`; NaN = no batch, which changes
        nothing.

    Notes
    -----
    Null hypothesis: given the past, the mean of ``d`` is not above 0 for any power. It holds
    whenever the two versions could be exchanged for one another, or the log ratio is symmetric
    about a centre not above 0. Betting: Shafer (2021, "Testing by betting", JRSS A 184) and
    Waudby-Smith and Ramdas (2024, "Estimating means of bounded random variables by betting", JRSS B
    86, section 4: the capital process); the bound on the probability is the inequality of Ville
    (1939). The power of the losses is ours.

    >>> one = paired(PairedEvidence.none(1, 2), np.array([1.2]), np.array([1.0]))
    >>> one.better.round(3).tolist(), one.worse.round(3).tolist()
    ([[0.273, 0.592]], [[-0.377, -1.648]])
    """
    ratio = log_ratio(champion, challenger)
    told = np.isfinite(ratio)
    known = np.where(told, ratio, 0.0)
    payoff = STAKE * np.tanh(known[:, None] * (np.array(POWERS) / 2))
    return replace(
        evidence,
        batches=evidence.batches + told.astype(np.int32),
        better=evidence.better + np.log1p(payoff),
        worse=evidence.worse + np.log1p(-payoff),
        champion_loss=evidence.champion_loss + np.where(told, champion, 0.0),
        challenger_loss=evidence.challenger_loss + np.where(told, challenger, 0.0),
        log_total=evidence.log_total + known,
        log_squares=evidence.log_squares + known**2,
    )


def log_capital(bets: Floats) -> Floats:
    """Return the log of the mean capital of some bets, ``(n_streams, n_bets)`` to ``(n_streams,)``.

    It is log evidence: above 0 the bets have earned something.

    >>> float(log_capital(np.log([[1.0, 3.0]])).round(3)[0])
    0.693
    """
    return np.asarray(np.logaddexp.reduce(bets, axis=1) - log(bets.shape[1]))


def is_better(evidence: PairedEvidence, level: float) -> Bools:
    """Return where the challenger is better: the capital on it has reached ``1 / level`` now.

    ``(n_streams,) bool``. Where it is not better, this is ever true with probability ``level`` at
    most.
    """
    return np.asarray(log_capital(evidence.better) >= -log(level))


def is_worse(evidence: PairedEvidence, level: float) -> Bools:
    """Return where the champion is better, in the same way."""
    return np.asarray(log_capital(evidence.worse) >= -log(level))


def relative_gain(evidence: PairedEvidence) -> Floats:
    """Return how much lower the challenger's mean loss is, ``(n_streams,)``; 0.1 = 10 % lower.

    NaN where there is no batch, or the champion lost nothing.

    >>> one = paired(PairedEvidence.none(1, 2), np.array([2.0]), np.array([1.5]))
    >>> relative_gain(one).tolist()
    [0.25]
    """
    lost = np.where(evidence.champion_loss > 0, evidence.champion_loss, np.nan)
    return np.asarray(1 - evidence.challenger_loss / lost)


def gain_interval(evidence: PairedEvidence, level: float) -> tuple[Floats, Floats]:
    """Return lower and upper bound of the typical relative gain, valid at all batches together.

    Both ``(n_streams,)``; minus infinity and 1 = nothing is known yet. It encloses
    ``1 - exp(-c)``, ``c`` the centre about which the log ratio is symmetric: the gain of a typical
    batch, not of the sum.

    The two-sided normal mixture of Howard, Ramdas, McAuliffe and Sekhon (2021, "Time-uniform,
    nonparametric, nonasymptotic confidence sequences", Ann. Statist. 49, section 3.2) with the
    squares of the deviations as its variance process, which symmetry allows (de la Peña 1999, "A
    general class of exponential inequalities for martingales and ratios", Ann. Probab. 27). Centres
    further than ``sqrt(n)`` standard deviations from the mean count as excluded, too.

    >>> evidence = PairedEvidence.none(1, 2)
    >>> for old in (1.2, 1.1, 1.3, 1.2, 1.1, 1.2, 1.3, 1.1, 1.2, 1.2, 1.1, 1.3, 1.2, 1.2):
    ...     evidence = paired(evidence, np.array([old]), np.array([1.0]))
    >>> low, high = gain_interval(evidence, 0.05)
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.09], [0.23])
    """
    n = np.maximum(evidence.batches, 1).astype(np.float64)
    centre = evidence.log_total / n
    about = np.maximum(evidence.log_squares - n * centre**2, 0.0) + MIXTURE_VARIANCE
    half = _half_width(n, about, level)
    return 1 - np.exp(half - centre), 1 - np.exp(-half - centre)


def _half_width(n: Floats, about: Floats, level: float) -> Floats:
    """Return the deviation at which the log mixture reaches ``-log(level)``; infinite = nowhere.

    In ``w = about + n dev^2`` it grows up to ``w = n about``: there the bisection starts.
    """

    def missing(w: Floats) -> Floats:
        grown = n * (1 - about / w) / 2 - np.log(w / MIXTURE_VARIANCE) / 2
        return np.asarray(-log(level) - grown)

    low, high = about.copy(), n * about
    reached = missing(high) <= 0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        short = missing(middle) > 0
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.where(reached, np.sqrt((high - about) / n), np.inf)
