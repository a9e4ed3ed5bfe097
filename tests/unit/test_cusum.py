"""Evidence that adds up: scores, the one-sided cusum, its tail and limit, and the e-process."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from mlma.stats.cusum import (
    HIGHEST_SCORE,
    LOWEST_SCORE,
    OVERSHOOT,
    accumulated,
    bounded,
    limit_for,
    run_length,
    scores,
    tail_probability,
)
from mlma.stats.e_process import detected, e_limit, e_tail


def test_a_score_is_the_normal_quantile_of_the_p_value():
    p = np.array([0.5, 0.1, 0.9])
    np.testing.assert_allclose(scores(p, -ndtri(p), "greater"), -ndtri(p), atol=1e-12)


def test_scores_of_both_sides_agree():
    t = np.array([-2.0, -0.5, 0.5, 2.0])
    two_sided = scores(2 * ndtr(-np.abs(t)), t, "two-sided")
    np.testing.assert_allclose(two_sided, t, rtol=1e-9)
    np.testing.assert_allclose(scores(ndtr(-t), t, "greater"), t, rtol=1e-9)


def test_one_batch_however_bad_or_good_has_a_bounded_score():
    p = np.array([0.0, 1e-300, 1.0, 0.3, np.nan])
    score = scores(p, np.array([99.0, 99.0, -99.0, 1.0, np.nan]), "greater")
    bound = bounded(score)
    assert bound[:3].tolist() == [HIGHEST_SCORE, HIGHEST_SCORE, LOWEST_SCORE]
    assert bound[3] == score[3]
    assert np.isnan(bound[4])


def test_a_batch_that_could_not_be_told_changes_nothing():
    score = scores(np.array([np.nan]), np.array([np.nan]), "greater")
    assert np.isnan(score).all()
    assert accumulated(np.array([3.25]), score, 0.5).tolist() == [3.25]


def test_evidence_never_falls_below_zero():
    assert accumulated(np.array([1.0]), np.array([-3.0]), 0.5).tolist() == [0.0]


@pytest.mark.parametrize("allowance", [0.25, 0.5, 1.0])
def test_a_larger_evidence_has_a_smaller_tail_and_none_has_1(allowance):
    tail = tail_probability(np.linspace(0.0, 50.0, 200), allowance)
    assert tail[0] == 1.0
    assert (np.diff(tail) < 0).all()
    assert (tail > 0).all()


def test_the_tail_is_that_of_lindley_and_siegmund():
    expected = np.exp(-2 * 0.5 * (6.0 + OVERSHOOT))
    np.testing.assert_allclose(tail_probability(np.array([6.0]), 0.5), expected)


@pytest.mark.parametrize("allowance", [0.5, 0.75])
def test_the_tail_holds_for_independent_normal_scores(allowance):
    rng = np.random.default_rng(6)
    n, days = 20_000, 100
    evidence = np.zeros(n)
    held = {0.05: [], 0.01: [], 0.001: []}
    for day in range(days):
        evidence = accumulated(evidence, bounded(rng.standard_normal(n)), allowance)
        if day >= 30:  # from here on the walk has forgotten its start
            tail = tail_probability(evidence, allowance)
            for level, shares in held.items():
                shares.append((tail <= level).mean())
    for level, shares in held.items():
        assert 0.8 < np.mean(shares) / level < 1.25


@pytest.mark.parametrize("allowance", [0.25, 0.5, 1.0])
def test_the_limit_is_where_the_run_length_is_the_one_that_is_asked_for(allowance):
    for batches in (50.0, 1e3, 7e3, 1e6):
        limit = limit_for(batches, allowance)
        assert run_length(limit, allowance) == pytest.approx(batches, rel=1e-9)
    assert limit_for(0.0, allowance) == 0.0


def batches_to_alarm(rng, added, limit, n=4000):
    """Mean number of batches until evidence reaches the limit, of ``n`` healthy streams."""
    evidence, waiting, batches = np.zeros(n), np.ones(n, dtype=bool), 0
    while waiting.any():
        batches += waiting.sum()
        evidence = added(evidence, rng.standard_normal(n))
        waiting &= evidence < limit
    return batches / n


@pytest.mark.parametrize(("allowance", "wanted"), [(0.5, 100.0), (0.5, 400.0), (0.25, 200.0)])
def test_a_healthy_stream_alarms_as_rarely_as_the_limit_says(allowance, wanted):
    needed = batches_to_alarm(
        np.random.default_rng(2),
        lambda evidence, score: accumulated(evidence, bounded(score), allowance),
        limit_for(wanted, allowance),
    )
    assert needed == pytest.approx(wanted, rel=0.08)


@pytest.mark.parametrize("allowance", [0.25, 0.5, 1.0])
def test_the_e_process_never_alarms_earlier_than_its_limit_says(allowance):
    needed = batches_to_alarm(
        np.random.default_rng(3),
        lambda evidence, score: detected(evidence, score, allowance),
        e_limit(100.0),
    )
    assert 100.0 * (1 - 4 / np.sqrt(4000)) < needed < 500.0


def test_the_e_process_grows_with_bad_scores_and_a_silent_batch_changes_nothing():
    evidence = np.array([0.0, 1.0, 2.0])
    assert (detected(evidence, np.full(3, 3.0), 0.5) > detected(evidence, np.zeros(3), 0.5)).all()
    assert detected(evidence, np.full(3, np.nan), 0.5).tolist() == evidence.tolist()


def test_the_tail_of_the_e_process_is_a_p_value_that_the_limit_inverts():
    tail = e_tail(np.linspace(0.0, 800.0, 500))
    assert tail[0] == 1.0
    assert (np.diff(tail) <= 0).all()
    assert (tail > 0).all()
    assert e_tail(np.array([e_limit(250.0)]))[0] == pytest.approx(1 / 250)
