"""The gate between versions, and how hard a batch was."""

import numpy as np
import pytest

from mlma.agent.play import difficulties
from mlma.steps.ease import FLOOR, difficulty
from mlma.steps.gate import passes_gate


def test_a_version_passes_only_if_it_is_better_on_the_batches_that_both_have():
    old = np.array([[2.0, 2.0, 2.0, np.nan], [2.0, 2.0, 2.0, 9.0], [1.0, 1.0, 1.0, 1.0]])
    new = np.array([[1.0, 2.0, 2.0, 9.0], [3.0, 2.0, 2.0, np.nan], [1.0, 1.0, 1.0, 1.0]])
    assert passes_gate(old, new).tolist() == [True, False, False]


def test_with_fewer_than_three_common_batches_nothing_speaks_against_a_version():
    old = np.array([[1.0, 1.0, np.nan], [1.0, 1.0, 1.0]])
    new = np.array([[9.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    assert passes_gate(old, new).tolist() == [True, False]


@pytest.mark.parametrize("power", [0.0, 0.5, 0.75, 1.0])
def test_difficulty_is_a_power_of_the_benchmarks_loss(power):
    hard, level = difficulty(np.array([4.0, 9.0]), np.full(2, np.nan), power)
    np.testing.assert_allclose(hard, np.array([4.0, 9.0]) ** power)
    assert level.tolist() == [4.0, 9.0]


def test_a_batch_without_a_benchmark_has_the_usual_difficulty():
    hard, level = difficulty(np.array([np.nan]), np.array([4.0]), 0.5)
    assert hard.tolist() == [2.0]
    assert level.tolist() == [4.0]


def test_a_stream_without_a_benchmark_or_with_a_perfect_one_has_difficulty_1():
    hard, level = difficulty(np.array([np.nan, 0.0]), np.array([np.nan, 0.0]), 0.75)
    assert hard.tolist() == [1.0, 1.0]
    assert np.isnan(level[0])


def test_one_perfect_batch_of_the_benchmark_counts_as_a_hundredth_of_its_level():
    hard, level = difficulty(np.array([0.0]), np.array([1.0]), 1.0)
    np.testing.assert_allclose(hard, FLOOR * level)


def test_the_difficulty_of_a_batch_knows_nothing_of_later_batches():
    rng = np.random.default_rng(4)
    benchmark = rng.gamma(4.0, 1.0, (3, 40))
    benchmark[rng.random((3, 40)) < 0.2] = np.nan
    changed = benchmark.copy()
    changed[:, 20:] = 1000.0
    one, other = difficulties(benchmark, 0.75), difficulties(changed, 0.75)
    np.testing.assert_array_equal(one[:, :20], other[:, :20])
    assert (one[:, 20:] != other[:, 20:]).any()
    assert (difficulties(benchmark, 0.0) == 1.0).all()
