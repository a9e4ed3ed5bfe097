"""Adjusted p-values against scipy and against the step-up rule as it is written."""

import numpy as np
import pytest
from scipy import stats

from mlma.stats.multiplicity import adjusted_p_values, e_values, rejected


@pytest.mark.parametrize("n", [1, 2, 50])
def test_benjamini_hochberg_is_the_one_of_scipy(n):
    p = np.random.default_rng(n).beta(0.3, 1.0, n)
    p[n // 2 :] = p[n // 2]  # ties
    expected = stats.false_discovery_control(p, method="bh")
    np.testing.assert_allclose(adjusted_p_values(p, "bh"), expected, rtol=1e-9)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
def test_adjusted_p_values_reject_what_the_step_up_rule_rejects(level):
    p = np.random.default_rng(5).beta(0.3, 1.0, 80)
    n = len(p)
    passing = [k for k, value in enumerate(sorted(p), start=1) if value <= k * level / n]
    cut = sorted(p)[max(passing) - 1] if passing else -1.0
    assert passing
    np.testing.assert_array_equal(adjusted_p_values(p, "bh") <= level, p <= cut)


def slow_e_value(p):
    """The calibrators ``k p^(k - 1)`` averaged over k from 0 to 1, by a fine sum."""
    k = (np.arange(200_000) + 0.5) / 200_000
    return float(np.mean(k * p ** (k - 1)))


@pytest.mark.parametrize("p", [1.0, 0.9999999, 0.9, 0.3, 0.01, 1e-6])
def test_e_values_are_the_averaged_calibrators(p):
    assert e_values(np.array([p]))[0] == pytest.approx(slow_e_value(p), rel=1e-6)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
def test_e_adjusted_p_values_reject_what_the_rule_of_wang_and_ramdas_rejects(level):
    p = np.random.default_rng(5).beta(0.1, 1.0, 80)
    n, values = len(p), sorted(e_values(p), reverse=True)
    passing = [k for k, value in enumerate(values, start=1) if value >= n / (k * level)]
    assert passing
    cut = values[max(passing) - 1]
    np.testing.assert_array_equal(adjusted_p_values(p, "e_bh") <= level, e_values(p) >= cut)


@pytest.mark.parametrize("level", [0.001, 0.05, 0.2])
@pytest.mark.parametrize("method", ["bh", "bonferroni", "e_bh", "none"])
def test_the_small_p_values_alone_are_rejected_as_among_all(method, level):
    p = np.random.default_rng(7).beta(0.15, 1.0, 300)
    small = p <= level
    made = np.zeros(300, dtype=bool)
    made[small] = rejected(p[small], level, method, 300)
    np.testing.assert_array_equal(made, adjusted_p_values(p, method) <= level)
    assert made.any()
    assert not made.all()


@pytest.mark.parametrize("method", ["bh", "bonferroni", "e_bh", "none"])
def test_missing_p_values_are_no_hypotheses(method):
    p = np.array([np.nan, 0.01, 0.2, np.nan, 0.03])
    told = adjusted_p_values(p[np.isfinite(p)], method)
    got = adjusted_p_values(p, method)
    np.testing.assert_array_equal(got[np.isfinite(p)], told)
    assert np.isnan(got[np.isnan(p)]).all()


def test_bonferroni_multiplies_by_the_number_of_hypotheses():
    p = np.array([0.001, 0.2, 0.6, np.nan])
    np.testing.assert_allclose(adjusted_p_values(p, "bonferroni"), [0.003, 0.6, 1.0, np.nan])
