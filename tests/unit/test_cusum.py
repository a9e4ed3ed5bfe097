"""Evidence that adds up: scores, the one-sided cusum and its tail."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from mlma.stats.cusum import (
    HIGHEST_SCORE,
    LOWEST_SCORE,
    OVERSHOOT,
    accumulated,
    scores,
    tail_probability,
)

NONE = np.array([0.0])


def test_a_score_is_the_normal_quantile_of_the_p_value():
    p = np.array([0.5, 0.1, 0.9])
    np.testing.assert_allclose(scores(p, -ndtri(p), "greater"), -ndtri(p), atol=1e-12)


def test_scores_of_both_sides_agree():
    t = np.array([-2.0, -0.5, 0.5, 2.0])
    two_sided = scores(2 * ndtr(-np.abs(t)), t, "two-sided")
    np.testing.assert_allclose(two_sided, t, rtol=1e-9)
    np.testing.assert_allclose(scores(ndtr(-t), t, "greater"), t, rtol=1e-9)


def test_one_batch_however_bad_or_good_has_a_bounded_score():
    p = np.array([0.0, 1e-300, 1.0])
    assert scores(p, np.array([99.0, 99.0, -99.0]), "greater").tolist() == [
        HIGHEST_SCORE,
        HIGHEST_SCORE,
        LOWEST_SCORE,
    ]


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
        drawn = np.clip(rng.standard_normal(n), LOWEST_SCORE, HIGHEST_SCORE)
        evidence = accumulated(evidence, drawn, allowance)
        if day >= 30:  # from here on the walk has forgotten its start
            tail = tail_probability(evidence, allowance)
            for level, shares in held.items():
                shares.append((tail <= level).mean())
    for level, shares in held.items():
        assert 0.8 < np.mean(shares) / level < 1.25
