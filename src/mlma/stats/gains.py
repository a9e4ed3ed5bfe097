"""Gains: what re-trainings gained, by cause and by expectation.

Takes finished outcomes, gives the gain that withholding at random proves, and the gain to expect of
the next re-training, learnt from the fleet's own. Next is the budget.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlma.domain.outcomes import GainRecord, GainSums, Kind, Outcomes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DESIGN = ("one", "lower bound", "log evidence", "log age", "alarm")
"""Columns of the design."""

LARGEST_GAIN = 1.0
"""Gains, in logs, are cut to this size: a loss of nearly nothing has a log without bound."""

KEPT = 0.995
"""Weight that outcomes keep per cycle: they count half after 138."""

PRIOR_OUTCOMES = 20.0
"""Outcomes that the prior of each coefficient is worth."""

PRIOR_NOISE = 0.2
"""Standard deviation of a gain around its expectation, in logs, before there is history."""

_TYPICAL_RISE, _TYPICAL_EVIDENCE, _TYPICAL_AGE = 0.2, 10.0, 28.0
_PRIOR_MEAN = np.array([0.0, 1.0, 0.0, 0.0, 0.0])
_PRIOR_XX = np.diag(PRIOR_OUTCOMES * np.array([1.0, _TYPICAL_RISE**2, 1.0, 1.0, 1.0]))
_PRIOR_SHAPE = 3.0
_PRIOR_RATE = PRIOR_NOISE**2 * (_PRIOR_SHAPE - 1)


@dataclass(frozen=True, slots=True)
class CausalGain:
    """What re-training gained because it was re-training; logs, NaN = cannot tell.

    gain, low, high
        mean gain of those carried out less that of those withheld, and its 95 % interval.
    carried_out, withheld
        outcomes on either side.
    df
        degrees of freedom of the interval.
    """

    gain: float
    low: float
    high: float
    carried_out: int
    withheld: int
    df: float


def recorded(record: GainRecord, made: Outcomes) -> GainRecord:
    """Return the record with the outcomes of a cycle added; those that are not told are left out.

    >>> from mlma.domain.outcomes import Asked
    >>> one = np.ones(1)
    >>> made = Outcomes(np.arange(1), Asked.nothing(1), one < 0, 0.1 * one, one, one, 7 * one)
    >>> float(recorded(GainRecord.empty(), made).total.sum())
    0.1
    """
    if not made.told.any():
        return record
    gain = np.where(made.told, made.gain, 0.0)
    alarm = made.asked.kind != Kind.AGE
    cells = [[made.told & (made.withheld == w) & (alarm == a) for a in (0, 1)] for w in (0, 1)]

    def summed(values: Floats) -> Floats:
        return np.array([[_total(values[cell]) for cell in pair] for pair in cells])

    return GainRecord(
        record.count + summed(np.ones(len(gain))),
        record.total + summed(gain),
        record.squares + summed(gain**2),
    )


def causal_gain(
    record: GainRecord, by_alarm: bool | None = None, confidence: float = 0.95
) -> CausalGain:
    """Return what re-training gained against re-trainings that were withheld at random.

    The difference in means of a randomised experiment, with Neyman's variance and the degrees of
    freedom of Welch (1947); Imbens and Rubin (2015, ch. 6). It takes out all that would have
    happened anyway: the return of an unlucky stream to its mean, and hard batches.

    Parameters
    ----------
    by_alarm
        only re-trainings by alarm (follow-ups included), or only those by age; None = all.
    confidence
        of the interval.

    >>> sums = np.array([[0.0, 4.0], [0.0, 4.0]])
    >>> total = np.array([[0.0, 0.8], [0.0, 0.4]])
    >>> made = causal_gain(GainRecord(sums, total, np.array([[0.0, 0.2], [0.0, 0.08]])))
    >>> round(made.gain, 3), round(made.low, 3), round(made.high, 3)
    (0.1, -0.1, 0.3)
    """
    kinds = slice(None) if by_alarm is None else slice(int(by_alarm), int(by_alarm) + 1)
    count = record.count[:, kinds].sum(axis=1)
    done, held = int(count[0]), int(count[1])
    nan = float("nan")
    if not count.all():
        return CausalGain(nan, nan, nan, done, held, nan)
    mean = record.total[:, kinds].sum(axis=1) / count
    gain = float(mean[0] - mean[1])
    if count.min() < 2:
        return CausalGain(gain, nan, nan, done, held, nan)
    deviations = record.squares[:, kinds].sum(axis=1) - count * mean**2
    error = np.maximum(deviations, 0.0) / (count - 1) / count
    if not error.sum():
        return CausalGain(gain, gain, gain, done, held, nan)
    df = float(error.sum() ** 2 / (error**2 / (count - 1)).sum())
    half = float(special.stdtrit(df, 0.5 + confidence / 2) * np.sqrt(error.sum()))
    return CausalGain(gain, gain - half, gain + half, done, held, df)


def design(lower: Floats, evidence: Floats, age: Floats, by_alarm: Bools) -> Floats:
    """Return what is known at a decision as rows of a regression, ``(k, 5) float64``.

    Parameters
    ----------
    lower
        ``(k,)`` lower confidence bound of the rise of the loss, in logs; NaN = not known, taken
        for 0.
    evidence
        ``(k,)`` evidence added up; NaN = taken for a typical one.
    age
        ``(k,)`` batches since the model was trained; NaN = taken for a typical one.
    by_alarm
        ``(k,) bool``; otherwise by age.

    >>> design(np.array([0.1]), np.array([10.0]), np.array([28.0]), np.array([True])).tolist()
    [[1.0, 0.1, 0.0, 0.0, 1.0]]
    """
    bound = np.clip(np.nan_to_num(lower), -LARGEST_GAIN, LARGEST_GAIN)
    columns = (np.ones(len(bound)), bound, _log(evidence, _TYPICAL_EVIDENCE))
    return np.stack([*columns, _log(age, _TYPICAL_AGE), by_alarm.astype(np.float64)], axis=1)


def no_gains() -> GainSums:
    """Return the sums of a fleet without outcomes."""
    p = len(DESIGN)
    return GainSums(np.zeros((p, p)), np.zeros(p), 0.0, 0.0)


def learnt(sums: GainSums, made: Outcomes, kept: float = KEPT) -> GainSums:
    """Return the sums after the outcomes of one cycle; earlier ones keep ``kept`` of their weight.

    Only re-trainings that were carried out are learnt from. The order of the streams changes no
    bit.
    """
    rows = np.flatnonzero(made.told & ~made.withheld)
    features = made.asked.features[rows].astype(np.float64)
    lower, evidence, age = features.T
    X = design(lower, evidence, age, made.asked.kind[rows] != Kind.AGE)
    y = np.clip(made.gain[rows], -LARGEST_GAIN, LARGEST_GAIN)
    p = X.shape[1]
    xx = np.array([[_total(X[:, i] * X[:, j]) for j in range(p)] for i in range(p)])
    xy = np.array([_total(X[:, i] * y) for i in range(p)])
    return GainSums(
        kept * sums.xx + xx,
        kept * sums.xy + xy,
        kept * sums.yy + _total(y * y),
        kept * sums.n + len(rows),
    )


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What is believed of the gain given what is known at the decision.

    mean
        ``(5,)``, posterior means of the coefficients of `DESIGN`.
    precision
        ``(5, 5)``, posterior precision in units of the noise.
    noise
        standard deviation of a gain around its expectation, in logs.
    """

    mean: Floats
    precision: Floats
    noise: float


def posterior(sums: GainSums) -> Coefficients:
    """Return what is believed of gains after these outcomes.

    Bayesian linear regression with its conjugate prior, normal-inverse-gamma (Murphy 2012, section
    7.6.3; Gelman et al. 2013, section 14.8). The prior says that a re-training gains what the loss
    has risen by at least, whatever else is known, and is worth `PRIOR_OUTCOMES` outcomes per
    coefficient; so the precision can be inverted whatever the outcomes are.

    >>> posterior(no_gains()).mean.tolist()
    [0.0, 1.0, 0.0, 0.0, 0.0]
    """
    precision = _PRIOR_XX + sums.xx
    mean = np.linalg.solve(precision, _PRIOR_XX @ _PRIOR_MEAN + sums.xy)
    squares = sums.yy + _PRIOR_MEAN @ _PRIOR_XX @ _PRIOR_MEAN - mean @ precision @ mean
    rate = _PRIOR_RATE + max(float(squares), 0.0) / 2
    return Coefficients(mean, precision, float(np.sqrt(rate / (_PRIOR_SHAPE + sums.n / 2 - 1))))


def expected_gain(believed: Coefficients, X: Floats) -> Floats:
    """Return the gain to expect of each candidate, ``(k,)``, in logs; ``X (k, 5)`` of `design`.

    >>> X = design(np.array([0.1, 0.3]), np.full(2, 9.0), np.full(2, 50.0), np.ones(2, bool))
    >>> expected_gain(posterior(no_gains()), X).tolist()
    [0.1, 0.3]
    """
    made = np.zeros(len(X))
    for column, one in zip(X.T, believed.mean, strict=True):  # in order: the same bits in any order
        made += column * one
    return made


def _log(values: Floats, typical: float) -> Floats:
    """Return ``log(1 + x)``, 0 for a typical one and for NaN."""
    known = np.where(np.isnan(values), typical, np.maximum(values, 0.0))
    return np.asarray(np.log1p(known) - np.log1p(typical))


def _total(values: Floats) -> float:
    """Return the sum, the same whatever the order."""
    return float(np.sort(values).sum())
