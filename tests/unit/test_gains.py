"""What past re-trainings say about the next one, and what re-training itself gains."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from mlma.domain.outcomes import Asked, GainRecord, Kind, Outcomes
from mlma.stats.gains import (
    PRIOR_OUTCOMES,
    causal_gain,
    design,
    expected_gain,
    learnt,
    no_gains,
    posterior,
    recorded,
)


def outcomes(gain, *, features=None, kind=Kind.ALARM, withheld=False):
    n = len(gain)
    features = np.tile([0.2, 10.0, 28.0], (n, 1)) if features is None else features
    asked = replace(
        Asked.nothing(n),
        kind=np.full(n, kind, dtype=np.int8),
        features=np.asarray(features, dtype=np.float32),
    )
    held = np.broadcast_to(withheld, n).copy()
    gain = np.asarray(gain, dtype=float)
    return Outcomes(np.arange(n), asked, held, gain, gain * 0, gain * 0, np.full(n, 7, np.int8))


def planted(n, seed=0):
    """Outcomes that gain half the lower bound, and more the older the model is."""
    rng = np.random.default_rng(seed)
    features = np.stack([rng.uniform(-0.1, 0.6, n), rng.gamma(2, 5, n), rng.gamma(2, 20, n)], 1)
    gain = 0.5 * features[:, 0] + 0.03 * np.log1p(features[:, 2]) + rng.normal(0, 0.15, n)
    return features, gain


def test_a_planted_relation_is_recovered():
    features, gain = planted(4000)
    believed = posterior(learnt(no_gains(), outcomes(gain, features=features)))
    assert believed.mean[1] == pytest.approx(0.5, abs=0.05)
    assert believed.mean[2] == pytest.approx(0.0, abs=0.02)
    assert believed.mean[3] == pytest.approx(0.03, abs=0.01)
    assert believed.noise == pytest.approx(0.15, rel=0.05)


def test_without_history_the_rank_is_that_of_the_lower_bound():
    rng = np.random.default_rng(0)
    lower = rng.normal(0, 0.3, 50)
    X = design(lower, rng.gamma(2, 5, 50), rng.gamma(2, 20, 50), rng.random(50) < 0.5)
    np.testing.assert_allclose(expected_gain(posterior(no_gains()), X), lower, atol=1e-12)


def test_a_little_history_moves_the_expectation_part_of_the_way():
    X = design(np.array([0.2]), np.array([10.0]), np.array([28.0]), np.array([True]))
    seen = []
    for n in (0, 5, 50, 5000):
        made = learnt(no_gains(), outcomes(np.full(n, -0.1)))
        seen.append(float(expected_gain(posterior(made), X)[0]))
    assert seen[0] == pytest.approx(0.2)
    assert all(a > b for a, b in pairwise(seen))
    assert seen[-1] == pytest.approx(-0.1, abs=0.01)


def test_the_posterior_is_ridge_towards_the_prior():
    features, gain = planted(60, seed=3)
    believed = posterior(learnt(no_gains(), outcomes(gain, features=features)))
    X = design(*features.astype(np.float32).astype(float).T, np.ones(60, dtype=bool))
    root = np.sqrt(PRIOR_OUTCOMES * np.array([1, 0.04, 1, 1, 1]))
    stacked = np.vstack([X, np.diag(root)])
    wanted = np.concatenate([gain, root * [0, 1, 0, 0, 0]])
    np.testing.assert_allclose(
        believed.mean, np.linalg.lstsq(stacked, wanted, rcond=None)[0], atol=1e-9
    )


def test_order_of_the_outcomes_changes_no_bit():
    features, gain = planted(500)
    order = np.random.default_rng(5).permutation(500)
    one = learnt(no_gains(), outcomes(gain, features=features))
    other = learnt(no_gains(), outcomes(gain[order], features=features[order]))
    assert (one.xx == other.xx).all()
    assert (one.xy == other.xy).all()
    assert one.yy == other.yy


@pytest.mark.parametrize("n", [1, 2, 400])
def test_outcomes_that_are_all_alike_are_no_trouble(n):
    believed = posterior(learnt(no_gains(), outcomes(np.full(n, 0.3))))
    assert np.isfinite(believed.mean).all()
    assert believed.noise > 0


def test_withheld_and_untold_outcomes_teach_nothing():
    made = outcomes(np.array([0.3, np.nan, 0.4]), withheld=np.array([True, False, False]))
    sums = learnt(no_gains(), made)
    assert sums.n == 1
    assert sums.xy[0] == pytest.approx(0.4)


def test_older_outcomes_count_less():
    made = outcomes(np.full(100, 0.3))
    sums = learnt(no_gains(), made)
    for _ in range(1000):
        sums = learnt(sums, outcomes(np.empty(0), features=np.empty((0, 3))))
    assert sums.n < 1
    np.testing.assert_allclose(posterior(sums).mean, [0, 1, 0, 0, 0], atol=0.02)


def test_a_loss_of_nearly_nothing_does_not_rule_the_expectation():
    wild = posterior(learnt(no_gains(), outcomes(np.r_[np.full(200, 0.1), 30.0]))).mean
    tame = posterior(learnt(no_gains(), outcomes(np.r_[np.full(200, 0.1), 1.0]))).mean
    assert (wild == tame).all()


def test_unknown_features_count_as_typical():
    nan = np.full(1, np.nan)
    made = design(nan, nan, nan, np.array([False]))
    assert made.tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0]]


def test_the_causal_gain_is_that_of_welch():
    rng = np.random.default_rng(2)
    done, held = rng.normal(0.3, 0.2, 90), rng.normal(0.1, 0.1, 15)
    record = recorded(GainRecord.empty(), outcomes(done))
    record = recorded(record, outcomes(held, withheld=True))
    made = causal_gain(record)
    known = stats.ttest_ind(done, held, equal_var=False)
    low, high = known.confidence_interval(0.95)
    assert made.gain == pytest.approx(done.mean() - held.mean())
    assert (made.low, made.high) == pytest.approx((low, high))
    assert made.df == pytest.approx(known.df)
    assert (made.carried_out, made.withheld) == (90, 15)


def test_causal_gains_by_alarm_and_by_age_stand_apart():
    record = GainRecord.empty()
    for kind, gain in ((Kind.ALARM, 0.4), (Kind.FOLLOW_UP, 0.2), (Kind.AGE, 0.1)):
        record = recorded(record, outcomes(np.full(4, gain), kind=kind))
        record = recorded(record, outcomes(np.full(4, 0.0), kind=kind, withheld=True))
    assert causal_gain(record, by_alarm=True).gain == pytest.approx(0.3)
    assert causal_gain(record, by_alarm=False).gain == pytest.approx(0.1)
    assert causal_gain(record).gain == pytest.approx(0.7 / 3)


@pytest.mark.parametrize(("done", "held"), [(0, 5), (5, 0), (1, 5), (5, 1), (0, 0)])
def test_too_few_outcomes_give_no_interval(done, held):
    record = recorded(GainRecord.empty(), outcomes(np.arange(done) * 0.1))
    made = causal_gain(recorded(record, outcomes(np.arange(held) * 0.1, withheld=True)))
    assert np.isnan([made.low, made.high]).all()
    assert (made.carried_out, made.withheld) == (done, held)
    assert np.isnan(made.gain) == (not done or not held)


def test_outcomes_without_variance_have_an_interval_of_no_width():
    record = recorded(GainRecord.empty(), outcomes(np.full(4, 0.5)))
    made = causal_gain(recorded(record, outcomes(np.full(4, 0.25), withheld=True)))
    assert made.low == made.gain == made.high == 0.25
