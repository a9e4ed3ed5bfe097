"""Scores of shared models: their level where streams move together, and what they are blind to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from mlma.stats.together import (
    Comovement,
    combined_scores,
    running_correlation,
    unfit,
    updated,
)

N_GROUPS, SETTLING, BATCHES = 100, 100, 100


def correlated(rng, n_groups, k, rho):
    """Standard normal scores of models with ``k`` streams each, equally correlated."""
    common = np.repeat(rng.standard_normal(n_groups), k)
    own = rng.standard_normal(n_groups * k)
    return np.sqrt(rho) * common + np.sqrt(1 - rho) * own


def settled(rng, k, rho, n_groups=N_GROUPS, batches=SETTLING):
    group, state = np.repeat(np.arange(n_groups), k), Comovement.new(n_groups)
    for _ in range(batches):
        state = updated(state, correlated(rng, n_groups, k, rho), group)
    return group, state


@pytest.mark.parametrize("k", [3, 40])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.77])
def test_the_level_is_kept_however_much_streams_move_together(rho, k):
    rng = np.random.default_rng(4)
    group, state = settled(rng, k, rho)
    scores = []
    for _ in range(BATCHES):
        score = correlated(rng, N_GROUPS, k, rho)
        scores.append(combined_scores(score, group, N_GROUPS, running_correlation(state)))
        state = updated(state, score, group)
    for level in (0.05, 0.01):
        share = np.mean(np.array(scores) > -ndtri(level))
        error = np.sqrt(level * (1 - level) / np.size(scores))
        # A correlation is never below 0: at 0 its error goes one way, and the test is careful.
        lowest = 0.75 * level if rho == 0 else level
        assert lowest - 3 * error < share < level + 3 * error


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.77])
def test_the_correlation_is_found(rho):
    _, state = settled(np.random.default_rng(5), 20, rho)
    assert running_correlation(state).mean() == pytest.approx(rho, abs=0.02)


def test_streams_that_move_together_are_not_taken_for_many():
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(N_GROUPS), 40)
    scores = [
        combined_scores(correlated(rng, N_GROUPS, 40, 0.3), group, N_GROUPS, np.zeros(N_GROUPS))
        for _ in range(20)
    ]
    assert np.mean(np.array(scores) > -ndtri(0.001)) > 0.1


def test_before_anything_is_known_streams_are_taken_for_copies():
    scores = np.full(50, 1.0)
    rho = running_correlation(Comovement.new(1))
    assert combined_scores(scores, np.zeros(50, dtype=np.int64), 1, rho)[0] < 1.03


def test_a_new_model_starts_from_what_is_usual():
    _, old = settled(np.random.default_rng(7), 20, 0.3)
    rho = running_correlation(old.joined(Comovement.new(1)))
    assert rho[-1] == pytest.approx(0.3, abs=0.02)


def test_a_batch_that_is_not_healthy_leaves_the_correlation_alone():
    rng = np.random.default_rng(8)
    group, state = settled(rng, 10, 0.3, n_groups=2)
    broken = updated(state, np.full(20, 2.5), group, healthy=np.array([False, True]))
    before, after = running_correlation(state), running_correlation(broken)
    assert broken.cross[0] == state.cross[0]
    assert after[1] > before[1] + 0.02


@settings(deadline=None, max_examples=60)
@given(st.floats(-1e6, 1e6), st.integers(0, 2**32 - 1))
def test_one_broken_stream_moves_its_model_by_three_at_most(broken, seed):
    rng = np.random.default_rng(seed)
    score, group = rng.standard_normal(10), np.zeros(10, dtype=np.int64)
    other = score.copy()
    other[3] = broken
    before, after = (combined_scores(z, group, 1, np.zeros(1)) for z in (score, other))
    assert abs(after - before)[0] <= 6 / np.sqrt(10) + 1e-9


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_streams_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    score, group = rng.standard_normal(40), rng.integers(-1, 4, 40)
    score[rng.random(40) < 0.1] = np.nan
    order, rho = rng.permutation(40), rng.random(4)
    expected = combined_scores(score, group, 4, rho)
    got = combined_scores(score[order], group[order], 4, rho)
    assert got == pytest.approx(expected, nan_ok=True)
    mixed = updated(Comovement.new(4), score[order], group[order])
    plain = updated(Comovement.new(4), score, group)
    assert mixed.cross == pytest.approx(plain.cross)
    assert running_correlation(mixed) == pytest.approx(running_correlation(plain))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_the_names_of_models_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    score, group, rho = rng.standard_normal(40), rng.integers(0, 4, 40), rng.random(4)
    renamed = rng.permutation(4)
    expected = combined_scores(score, group, 4, rho)
    moved = np.empty(4)
    moved[renamed] = rho
    got = combined_scores(score, renamed[group], 4, moved)
    assert got[renamed] == pytest.approx(expected, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(st.floats(0.0, 1.0), st.integers(0, 2**32 - 1))
def test_scores_scale_with_the_scores_of_the_streams(factor, seed):
    rng = np.random.default_rng(seed)
    score, group, rho = np.clip(rng.standard_normal(20), -3, 3), np.repeat([0, 1], 10), np.ones(2)
    made = combined_scores(factor * score, group, 2, rho)
    assert made == pytest.approx(factor * combined_scores(score, group, 2, rho), abs=1e-12)


def test_the_correlation_of_scores_does_not_depend_on_their_size_in_the_long_run():
    rng = np.random.default_rng(9)
    group, (small, usual) = np.repeat(np.arange(20), 10), (Comovement.new(20), Comovement.new(20))
    for _ in range(200):
        score = correlated(rng, 20, 10, 0.5)
        small, usual = updated(small, 0.5 * score, group), updated(usual, score, group)
    assert running_correlation(small) == pytest.approx(running_correlation(usual), abs=0.15)


def test_a_stream_alone_has_its_own_score():
    made = combined_scores(np.array([1.7, np.nan]), np.array([0, 0]), 1, np.array([0.5]))
    assert made == pytest.approx([1.7])


def test_the_higher_a_stream_the_higher_its_model():
    score, group = np.array([0.3, -0.2, 0.1]), np.zeros(3, dtype=np.int64)
    low, high = (combined_scores(score + d, group, 1, np.array([0.2]))[0] for d in (0.0, 1.0))
    assert high > low


def test_a_stream_without_a_model_is_never_unfit():
    evidence, group = np.array([9.0, 9.0, np.nan]), np.array([-1, 0, 0])
    assert unfit(evidence, 7.0, group, np.array([False])).tolist() == [False, True, False]
