"""Cusum and e-process against loops that can be read aloud, and their limits."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import ndtr

from mlma.stats.cusum import accumulated, bounded, limit_for, run_length, scores, tail_probability
from mlma.stats.e_process import detected, e_limit, e_tail


def slow_evidence(p_values, signs, side, allowance):
    """Evidence and its tail after each batch of one stream."""
    total, told = 0.0, []
    for p, sign in zip(p_values, signs, strict=True):
        if not math.isnan(p):
            upper = p
            if side == "two-sided":
                upper = p / 2 if sign > 0 else 1 - p / 2
            score = -NormalDist().inv_cdf(upper)
            score = min(max(score, -3.0), 4.0)  # one batch is not the whole evidence
            total = max(0.0, total + score - allowance)
        tail = math.exp(-2 * allowance * (total + 0.5826)) if total > 0 else 1.0
        told.append((total, tail))
    return np.array(told).T


@pytest.mark.parametrize("side", ["greater", "two-sided"])
@pytest.mark.parametrize("allowance", [0.25, 0.5])
def test_cusum_is_that_of_the_slow_loop(side, allowance):
    rng = np.random.default_rng(12)
    n, days = 20, 60
    p_values = rng.random((days, n)) ** rng.choice([0.5, 1.0, 3.0], n)
    p_values[rng.random((days, n)) < 0.1] = np.nan
    signs = rng.choice([-1.0, 1.0], (days, n))
    evidence, totals, tails = np.zeros(n), [], []
    for p, sign in zip(p_values, signs, strict=True):
        evidence = accumulated(evidence, bounded(scores(p, sign, side)), allowance)
        totals.append(evidence)
        tails.append(tail_probability(evidence, allowance))
    for row in range(n):
        total, tail = slow_evidence(p_values[:, row], signs[:, row], side, allowance)
        np.testing.assert_allclose(np.array(totals)[:, row], total, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(np.array(tails)[:, row], tail, rtol=1e-9)


def slow_detector(scores, allowance):
    """Shiryaev-Roberts: ``M = (M + 1) e`` with the likelihood ratio of mean ``2 k`` against 0."""
    shifted, healthy, total, told = NormalDist(2 * allowance), NormalDist(), 0.0, []
    for score in scores:
        if not math.isnan(score):
            total = (total + 1) * shifted.pdf(score) / healthy.pdf(score)
        told.append((math.log(1 + total), min(1.0, 1 / total) if total > 0 else 1.0))
    return np.array(told).T


@pytest.mark.parametrize("allowance", [0.25, 0.5, 1.0])
def test_e_process_is_that_of_the_slow_loop(allowance):
    rng = np.random.default_rng(13)
    n, days = 20, 40
    score = rng.normal(rng.choice([0.0, 0.5, 2.0], n), 1.0, (days, n))
    evidence, told = np.zeros(n), []
    for row in score:
        evidence = detected(evidence, row, allowance)
        told.append((evidence, e_tail(evidence)))
    for stream in range(n):
        slow = slow_detector(score[:, stream], allowance)
        np.testing.assert_allclose(np.array(told)[:, :, stream].T, slow, rtol=1e-9)


@pytest.mark.parametrize("allowance", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("batches", [30.0, 1e3, 1e5])
def test_limit_is_the_one_that_bisection_of_siegmunds_run_length_finds(allowance, batches):
    low, high = 0.0, 1e3
    for _ in range(200):
        middle = (low + high) / 2
        b = 2 * allowance * (middle + 2 * 0.5826)
        length = (math.exp(min(b, 500.0)) - b - 1) / (2 * allowance**2)
        low, high = (middle, high) if length < batches else (low, middle)
    assert limit_for(batches, allowance) == pytest.approx(low, rel=1e-9, abs=1e-9)


def chain_run_length(limit, allowance, states=500):
    """Mean batches to the limit, from a Markov chain of small steps (Brook and Evans 1972)."""
    width = limit / (states - 0.5)  # the first state is 0 and half as wide
    centre = np.arange(states) * width
    upper = centre[None, :] + width / 2 - centre[:, None] + allowance
    below = ndtr(upper)
    moves = np.diff(below, axis=1, prepend=0.0)
    return float(np.linalg.solve(np.eye(states) - moves, np.ones(states))[0])


@pytest.mark.parametrize("allowance", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("limit", [3.0, 5.0, 8.0])
def test_run_length_is_near_that_of_a_markov_chain(limit, allowance):
    exact = chain_run_length(limit, allowance)
    assert run_length(limit, allowance) == pytest.approx(exact, rel=0.06)


def test_limit_of_the_e_process_is_the_detector_that_reaches_the_batches():
    assert e_limit(999.0) == pytest.approx(math.log(1000.0), rel=1e-12)
