"""What must hold of the statistics whatever the losses are."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.stats.batch_mean import batch_t, straightened
from mlma.stats.multiplicity import adjusted_p_values
from mlma.stats.registry import TESTS

values = st.one_of(st.just(0.0), st.floats(1e-3, 1e3), st.just(np.nan))
some_losses = st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(float, (shape[0], shape[2]), elements=values),
        hnp.arrays(float, shape, elements=values),
        hnp.arrays(np.int8, shape[:2], elements=st.integers(0, 2)),
        hnp.arrays(np.int8, shape[:1], elements=st.integers(0, 2)),
    )
)
names, sides = st.sampled_from(sorted(TESTS)), st.sampled_from(["greater", "two-sided"])
fast = settings(max_examples=60, deadline=None)
p_values = hnp.arrays(float, st.integers(0, 30), elements=st.floats(0, 1) | st.just(np.nan))


def batches(drawn, factor=1.0):
    losses, old, classes, calendar = drawn
    means = np.stack([LossBatch(one, calendar).mean() for one in old.swapaxes(0, 1)] or [[]])
    means = means.T if old.shape[1] else np.empty(old.shape[:2])
    reference = ReferenceBatch(means * factor, classes, old * factor)
    return LossBatch(losses * factor, calendar), reference


@fast
@given(some_losses, names, sides)
def test_any_losses_give_a_p_value_or_nothing(drawn, name, side):
    p = TESTS[name].function(*batches(drawn), side).p_value
    assert (np.isnan(p) | ((p >= 0) & (p <= 1))).all()


@fast
@given(some_losses, names, sides, st.integers(-300, 300))
def test_scaling_all_losses_changes_no_p_value(drawn, name, side, power):
    # A power of two is exact, so that ties stay ties.
    plain = TESTS[name].function(*batches(drawn), side)
    scaled = TESTS[name].function(*batches(drawn, 2.0**power), side)
    np.testing.assert_allclose(scaled.p_value, plain.p_value, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(scaled.effect, plain.effect, rtol=1e-9, atol=1e-9)


@fast
@given(some_losses, st.randoms(use_true_random=False))
def test_order_of_the_reference_batches_changes_no_p_value(drawn, random):
    incoming, reference = batches(drawn)
    order = list(range(reference.means.shape[1]))
    random.shuffle(order)
    shuffled = ReferenceBatch(reference.means[:, order], reference.calendar[:, order])
    plain = batch_t(incoming, reference, "greater")
    mixed = batch_t(incoming, shuffled, "greater")
    np.testing.assert_allclose(mixed.p_value, plain.p_value, rtol=1e-6, atol=1e-12)


@fast
@given(some_losses, st.floats(1.0, 50.0))
def test_worse_batch_never_gets_a_larger_p_value_from_batch_t(drawn, rise):
    losses, *rest = drawn
    before = batch_t(*batches(drawn), "greater").p_value
    after = batch_t(*batches((losses * rise, *rest)), "greater").p_value
    told = np.isfinite(before)
    assert (after[told] <= before[told] * (1 + 1e-9)).all()


@fast
@given(st.floats(-40, 40), st.floats(0, 5), st.floats(-6, 6))
def test_straightening_keeps_the_order(t, step, skewness):
    both = straightened(np.array([t, t + step]), np.full(2, skewness))
    assert both[0] <= both[1] + 1e-9 * (1 + abs(both[0]))


@fast
@given(p_values, st.sampled_from(["bh", "bonferroni", "e_bh", "none"]))
def test_adjusting_never_lowers_a_p_value_and_keeps_the_order(p, method):
    adjusted = adjusted_p_values(p, method)
    told = np.isfinite(p)
    np.testing.assert_array_equal(np.isnan(adjusted), ~told)
    assert (adjusted[told] >= p[told]).all()
    assert (adjusted[told] <= 1).all()
    assert (np.diff(adjusted[told][np.argsort(p[told])]) >= 0).all()


@fast
@given(p_values)
def test_bonferroni_is_never_below_benjamini_hochberg(p):
    told = np.isfinite(p)
    step_up, strict = adjusted_p_values(p, "bh")[told], adjusted_p_values(p, "bonferroni")[told]
    assert (step_up <= strict * (1 + 1e-12)).all()
