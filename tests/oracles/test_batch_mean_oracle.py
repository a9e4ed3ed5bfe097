"""The tests on batch means against a slow loop over streams, and against scipy's distributions."""

import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.stats import fast
from mlma.stats.batch_mean import batch_t, compared, mean_test, moderated_t, straightened
from mlma.stats.effects import effect_columns
from mlma.stats.moderation import NOTHING, Prior, fleet_prior, moderated
from mlma.stats.moments import expectation, log_means, moments_of
from mlma.stats.normal_scores import normal_scores


@pytest.fixture(autouse=True, params=[False, True] if fast.AVAILABLE else [False])
def compiled(request, monkeypatch):
    """All of this with and, where there are any, without the compiled twins."""
    monkeypatch.setattr(fast, "AVAILABLE", request.param)


def slow_mean_test(loss, calendar, means, classes, prior=NOTHING):
    """One stream, as one would do it on paper: statistic, spread, df, level."""
    filled = [(x, c) for x, c in zip(means, classes, strict=True) if not math.isnan(x)]
    positive = [math.log(x) for x, _ in filled if x > 0]
    floor = float(np.median(positive)) + math.log(0.01)
    logs = [(max(math.log(x), floor) if x > 0 else floor, c) for x, c in filled]
    z = max(math.log(loss), floor) if loss > 0 else floor
    groups = {c: [v for v, k in logs if k == c] for c in {c for _, c in logs}}
    middle = {c: float(np.median(group)) for c, group in groups.items()}
    fence = 4 * 1.482602218505602 * float(np.median([abs(v - middle[c]) for v, c in logs]))
    if fence > 0:
        logs = [(min(max(v, middle[c] - fence), middle[c] + fence), c) for v, c in logs]
    groups = {c: [v for v, k in logs if k == c] for c in groups}
    centre = {c: sum(group) / len(group) for c, group in groups.items()}
    residuals = [v - centre[c] for v, c in logs]
    m, df = len(logs), len(logs) - len(groups)
    squares = sum(r**2 for r in residuals)
    second, third = squares / m, sum(r**3 for r in residuals) / m
    skewness = third / second**1.5 * math.sqrt(m * (m - 1)) / (m - 2) if m >= 5 else 0.0
    expected, count = centre.get(calendar), len(groups.get(calendar, []))
    if not count:  # a class that was never seen: the calendar effect counts as noise
        expected, count, df = sum(v for v, _ in logs) / m, m, m - 1
        squares = sum((v - expected) ** 2 for v, _ in logs)
    variance = (squares + prior.variance * prior.df) / (df + prior.df)
    spread = math.sqrt(variance * (1 + 1 / count))
    t = (z - expected) / spread
    shrunk = prior.skewness + m / (m + 28) * (skewness - prior.skewness)
    a = max(-1.0, min(1.0, shrunk)) / 6
    return t - a * (t**2 - 1) + a**2 * t**3 / 3, spread, df + prior.df, math.exp(expected)


def slow_p(statistic, df, side):
    return stats.t.sf(statistic, df) if side == "greater" else 2 * stats.t.sf(abs(statistic), df)


def fleet(seed, n_streams=60, m=17, slots=12):
    rng = np.random.default_rng(seed)
    means = rng.lognormal(0, 0.5, (n_streams, m)) * rng.lognormal(0, 5, (n_streams, 1))
    means[rng.random(means.shape) < 0.2] = np.nan
    means[:5, 0] = 0.0
    classes = rng.integers(0, 3, (n_streams, m)).astype(np.int8)
    losses = means[:, [1]] * rng.gamma(2, 1, (n_streams, slots))
    losses = np.where(np.isnan(losses), 1.0, losses)
    losses[rng.random(losses.shape) < 0.1] = np.nan
    calendar = rng.integers(0, 4, n_streams).astype(np.int8)  # class 3 is in no reference
    return LossBatch(losses, calendar), ReferenceBatch(means, classes)


def assert_slow(outcome, incoming, reference, side, prior):
    loss = incoming.mean()
    for row in range(len(loss)):
        means, classes = reference.means[row], reference.calendar[row]
        slow = slow_mean_test(loss[row], incoming.calendar[row], means, classes, prior)
        statistic, df, level = slow[0], slow[2], slow[3]
        got = [getattr(outcome, name)[row] for name in ("statistic", "spread", "df")]
        np.testing.assert_allclose(got, slow[:3], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(outcome.reference_loss[row], level, rtol=1e-9)
        error = 1e-9 if df < 8 else 2e-5 if abs(outcome.score[row]) < 4 else 0.05
        np.testing.assert_allclose(outcome.p_value[row], slow_p(statistic, df, side), rtol=error)
    np.testing.assert_allclose(outcome.effect, loss / outcome.reference_loss - 1, atol=1e-12)


@pytest.mark.parametrize("side", ["greater", "two-sided"])
@pytest.mark.parametrize("seed", [1, 2])
def test_batch_t_equals_the_slow_loop(seed, side):
    incoming, reference = fleet(seed)
    assert_slow(batch_t(incoming, reference, side), incoming, reference, side, NOTHING)


@pytest.mark.parametrize("side", ["greater", "two-sided"])
@pytest.mark.parametrize("seed", [1, 2])
def test_moderated_t_equals_the_slow_loop_with_the_prior_of_its_fleet(seed, side):
    incoming, reference = fleet(seed)
    expected = expectation(moments_of(reference.means, reference.calendar, 4), incoming.calendar)
    prior = fleet_prior(expected.variance, expected.df, expected.skewness)
    assert prior.df > 1
    outcome = moderated_t(incoming, reference, side)
    assert_slow(outcome, incoming, reference, side, prior)


def test_mean_test_reads_logs_against_moments_and_prior():
    incoming, reference = fleet(3)
    moments = moments_of(reference.means, reference.calendar, 4)
    logs, prior = log_means(incoming.mean(), moments.typical), Prior(0.2, 7.5, 0.3)
    made = mean_test(logs, moments, incoming.calendar, prior)
    again = compared(logs, expectation(moments, incoming.calendar), prior)
    np.testing.assert_array_equal(made.score, again.score)
    for row in range(len(logs)):
        means, classes = reference.means[row], reference.calendar[row]
        loss = math.exp(logs[row])
        slow = slow_mean_test(loss, incoming.calendar[row], means, classes, prior)
        got = (made.statistic[row], made.spread[row], made.df[row], math.exp(made.centre[row]))
        np.testing.assert_allclose(got, slow, rtol=1e-9, atol=1e-12)


def slow_prior(variance, df, skewness):
    """Smyth's (2004) prior by quantiles, the inverse of the trigamma function by bisection."""
    told = [row for row in range(len(df)) if variance[row] > 0 and df[row] >= 2]
    logs = np.log([variance[row] for row in told])
    low, middle, high = np.percentile(logs, [25, 50, 75])
    d = float(np.median([df[row] for row in told]))
    iqr = stats.norm.ppf(0.75) - stats.norm.ppf(0.25)
    spread = ((high - low) / iqr) ** 2 - special.polygamma(1, d / 2)

    def gap(half):
        return special.polygamma(1, half) - spread

    prior_df = min(2 * optimize.brentq(gap, 1e-3, 1e6, xtol=1e-14, rtol=1e-14), 200.0)
    middling = math.log((1 - 2 / (9 * d)) ** 3), math.log((1 - 2 / (9 * prior_df)) ** 3)
    quarter, three = np.percentile([skewness[row] for row in told], [25, 75])
    typical = np.mean([skewness[row] for row in told if quarter <= skewness[row] <= three])
    return math.exp(middle - middling[0] + middling[1]), prior_df, typical


@pytest.mark.parametrize("prior_df", [3.0, 12.0, 60.0])
def test_prior_of_a_fleet_is_the_one_that_bisection_finds_and_near_the_true_one(prior_df):
    rng = np.random.default_rng(4)
    n = 4000
    df = rng.integers(10, 27, n).astype(float)
    true = 0.04 * prior_df / rng.chisquare(prior_df, n)
    variance = true * rng.chisquare(df) / df
    skewness = rng.normal(0.3, 0.4, n)
    variance[:5], df[5:9], variance[9:14] = np.nan, 0.0, 0.0
    made = fleet_prior(variance, df, skewness)
    slow = slow_prior(variance, df, skewness)
    np.testing.assert_allclose((made.variance, made.df, made.skewness), slow, rtol=1e-8)
    assert made.df == pytest.approx(prior_df, rel=0.3)
    assert made.variance == pytest.approx(0.04, rel=0.05)
    assert made.skewness == pytest.approx(0.3, abs=0.02)


def test_drifting_streams_with_huge_variances_do_not_poison_the_prior():
    rng = np.random.default_rng(5)
    df = np.full(1000, 26.0)
    variance = 0.04 * rng.chisquare(26, 1000) / 26
    clean = fleet_prior(variance, df, np.zeros(1000))
    variance[:50] *= 1000.0
    assert fleet_prior(variance, df, np.zeros(1000)).variance == pytest.approx(
        clean.variance, rel=0.03
    )


def test_moderated_variances_are_those_of_smyth_and_dead_streams_stay_dead():
    variance, df = np.array([0.5, 2.0, 0.0]), np.array([4.0, 20.0, 10.0])
    made, total = moderated(variance, df, Prior(1.0, 6.0, 0.0))
    np.testing.assert_allclose(made, [(2 + 6) / 10, (40 + 6) / 26, 0.0])
    assert total.tolist() == [10.0, 26.0, 16.0]


def test_symmetric_reference_gives_the_two_sample_t_test_of_scipy():
    logs = np.array([-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0])  # no skewness: nothing to straighten
    reference = ReferenceBatch(np.exp(logs)[None], np.zeros((1, 7), np.int8))
    incoming = LossBatch(np.array([[np.e, np.e]]), np.zeros(1, np.int8))
    expected = stats.ttest_ind([1.0], logs, alternative="greater")
    outcome = batch_t(incoming, reference, "greater")
    np.testing.assert_allclose(outcome.statistic, expected.statistic, rtol=1e-9)
    np.testing.assert_allclose(outcome.p_value, expected.pvalue, rtol=1e-9)


def test_straightening_brings_a_gamma_tail_to_the_normal_one():
    """With the true skewness g the cubic maps upper gamma quantiles near normal ones."""
    shape, level = 400.0, 0.001
    skewness = 2 / math.sqrt(shape)
    quantile = (stats.gamma.isf(level, shape) - shape) / math.sqrt(shape)
    straight = straightened(np.array([quantile]), np.array([skewness]))
    assert abs(straight[0] - stats.norm.isf(level)) < 0.02 < quantile - stats.norm.isf(level)


def scores_of_scipy(t, df):
    tail = stats.norm.isf(stats.t.sf(np.abs(t), df))
    return np.copysign(tail, t)


@pytest.mark.parametrize("df", [1.0, 2.5, 5.0, 7.9])
def test_scores_of_few_degrees_of_freedom_are_those_of_scipy(df):
    t = np.linspace(-12.0, 12.0, 97)
    made = normal_scores(t, np.full_like(t, df))
    np.testing.assert_allclose(made, scores_of_scipy(t, df), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("df", "within", "error"),
    [(8.0, 4, 2e-5), (8.0, 8, 0.05), (12.0, 5, 1e-6), (26.0, 7, 1e-6), (300.0, 8, 1e-9)],
)
def test_tails_of_scores_are_those_of_student_to_many_digits(df, within, error):
    t = stats.t.isf(stats.norm.sf(np.linspace(-within, within, 97)), df)
    made = normal_scores(t, np.full_like(t, df))
    # The smaller tail of each, which is the p-value of one side.
    small = special.ndtr(-np.abs(made)) / special.stdtr(df, -np.abs(t))
    np.testing.assert_allclose(small, 1.0, rtol=error)
    assert (np.sign(made) == np.sign(t))[np.abs(t) > 1e-6].all()


def test_scores_rise_with_the_statistic_and_are_silent_where_it_is():
    t = np.linspace(-40.0, 40.0, 801)
    for df in (3.0, 7.99, 8.0, 40.0):
        assert (np.diff(normal_scores(t, np.full_like(t, df))) > 0).all()
    silent = normal_scores(np.array([np.nan, 1.0]), np.array([10.0, np.nan]))
    assert np.isnan(silent).all()


def test_interval_and_detectable_rise_are_those_of_students_t():
    effect, spread, df = (
        np.array([0.3, -0.5, 1.0]),
        np.array([0.1, 0.2, 0.4]),
        np.array([26, 5, 40]),
    )
    made = effect_columns(effect, spread, df.astype(float), 0.001)
    half = stats.t.ppf(0.975, df) * spread
    np.testing.assert_allclose(made["effect_low"], (1 + effect) * np.exp(-half) - 1, rtol=1e-9)
    np.testing.assert_allclose(made["effect_high"], (1 + effect) * np.exp(half) - 1, rtol=1e-9)
    needed = (stats.t.isf(0.001, df) + stats.t.ppf(0.8, df)) * spread
    np.testing.assert_allclose(made["detectable"], np.exp(needed) - 1, rtol=1e-9)
