"""What every registered test promises, whatever its statistic."""

import numpy as np
import pytest

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.domain.errors import DataError, SettingsError
from mlma.domain.settings import MLMA
from mlma.stats.batch_mean import batch_t, moderated_t
from mlma.stats.registry import TESTS, batch_test

N_STREAMS, M, SLOTS = 12, 14, 24


def batches(losses, old, calendar=None, classes=None):
    """The two records, with the batch means that belong to the losses."""
    finite = np.isfinite(old)
    count = finite.sum(axis=2)
    total = np.where(finite, old, 0.0).sum(axis=2)
    means = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    calendar = np.zeros(len(losses), np.int8) if calendar is None else calendar
    classes = np.zeros(means.shape, np.int8) if classes is None else classes
    return LossBatch(losses, calendar), ReferenceBatch(means, classes, old)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(42)
    old = rng.gamma(2.0, 1.0, (N_STREAMS, M, SLOTS)) * rng.lognormal(0, 0.2, (N_STREAMS, M, 1))
    return rng.gamma(2.0, 1.2, (N_STREAMS, SLOTS)), old


def columns(outcome):
    return outcome.statistic, outcome.p_value, outcome.reference_loss, outcome.effect


@pytest.mark.parametrize("side", ["greater", "two-sided"])
@pytest.mark.parametrize("name", sorted(TESTS))
class TestEveryTest:
    def test_all_columns_have_one_value_per_stream(self, name, side, drawn):
        for column in columns(TESTS[name].function(*batches(*drawn), side)):
            assert column.shape == (N_STREAMS,)
            assert column.dtype == np.float64
            assert np.isfinite(column).all()

    def test_p_values_lie_between_0_and_1(self, name, side, drawn):
        new, old = drawn
        for factor in (0.01, 1.0, 100.0):
            p = TESTS[name].function(*batches(new * factor, old), side).p_value
            assert ((p >= 0) & (p <= 1)).all()

    def test_missing_stream_cannot_be_told_and_leaves_the_others_alone(self, name, side, drawn):
        new, old = drawn
        there = np.arange(N_STREAMS) != 1
        whole = TESTS[name].function(*batches(new[there], old[there]), side)
        new, old = new.copy(), old.copy()
        new[0], old[1] = np.nan, np.nan
        outcome = TESTS[name].function(*batches(new, old), side)
        assert np.isnan(outcome.p_value[:2]).all()
        assert np.isnan(outcome.reference_loss[1])
        assert np.isnan(outcome.effect[:2]).all()
        np.testing.assert_array_equal(outcome.p_value[2:], whole.p_value[1:])

    def test_stream_alone_gets_the_p_value_of_the_fleet_unless_it_is_moderated(
        self, name, side, drawn
    ):
        new, old = drawn
        whole = TESTS[name].function(*batches(new, old), side)
        alone = TESTS[name].function(*batches(new[3:4], old[3:4]), side)
        same = np.isclose(alone.p_value[0], whole.p_value[3], rtol=1e-12)
        assert same != TESTS[name].moderated

    def test_permuting_streams_permutes_the_answers(self, name, side, drawn):
        new, old = drawn
        order = np.random.default_rng(1).permutation(N_STREAMS)
        straight = TESTS[name].function(*batches(new, old), side)
        shuffled = TESTS[name].function(*batches(new[order], old[order]), side)
        for a, b in zip(columns(straight), columns(shuffled), strict=True):
            np.testing.assert_array_equal(a[order], b)

    @pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e300])
    def test_losses_that_are_all_equal_cannot_be_told(self, name, side, value):
        new, old = np.full((3, SLOTS), value), np.full((3, M, SLOTS), value)
        assert np.isnan(TESTS[name].function(*batches(new, old), side).p_value).all()

    def test_empty_places_of_the_reference_are_as_if_they_were_not_there(self, name, side, drawn):
        new, old = drawn
        short = TESTS[name].function(*batches(new, old[:, :9]), side)
        gaps = old.copy()
        gaps[:, 9:] = np.nan
        padded = TESTS[name].function(*batches(new, gaps), side)
        np.testing.assert_allclose(padded.p_value, short.p_value, rtol=1e-9)

    @pytest.mark.parametrize("m", [0, 1, 2])
    def test_tiny_references_raise_nothing(self, name, side, drawn, m):
        new, old = drawn
        p = TESTS[name].function(*batches(new, old[:, :m]), side).p_value
        assert np.isnan(p).all() or ((p >= 0) & (p <= 1)).all()
        assert m > 0 or np.isnan(p).all()

    def test_empty_fleet_gives_empty_columns(self, name, side):
        outcome = TESTS[name].function(*batches(np.ones((0, 4)), np.ones((0, 3, 4))), side)
        assert [len(column) for column in columns(outcome)] == [0, 0, 0, 0]

    def test_batch_without_slots_cannot_be_told(self, name, side, drawn):
        outcome = TESTS[name].function(*batches(np.ones((N_STREAMS, 0)), drawn[1]), side)
        assert np.isnan(outcome.p_value).all()

    def test_zeros_among_the_losses_can_be_told(self, name, side, drawn):
        new, old = drawn[0].copy(), drawn[1].copy()
        new[:, ::3], old[:, :, ::2], old[:, 0] = 0.0, 0.0, 0.0
        p = TESTS[name].function(*batches(new, old), side).p_value
        assert ((p > 0) & (p <= 1)).all()

    def test_perfect_batch_can_be_told(self, name, side, drawn):
        new, old = drawn
        p = TESTS[name].function(*batches(np.zeros_like(new), old), side).p_value
        assert (p < 0.05).all() if side == "two-sided" else (p > 0.9).all()

    @pytest.mark.parametrize("factor", [1e-300, 1e300, 2.0**-1000, 3.7])
    def test_unit_of_the_losses_changes_no_p_value(self, name, side, drawn, factor):
        new, old = drawn
        plain = TESTS[name].function(*batches(new, old), side)
        scaled = TESTS[name].function(*batches(new * factor, old * factor), side)
        np.testing.assert_allclose(scaled.p_value, plain.p_value, rtol=1e-9)
        np.testing.assert_allclose(scaled.effect, plain.effect, rtol=1e-9, atol=1e-12)

    def test_infinite_losses_raise_nothing(self, name, side, drawn):
        new, old = drawn[0].copy(), drawn[1].copy()
        new[0, 0], old[1, 0, 0] = np.inf, np.inf
        assert TESTS[name].function(*batches(new, old), side).p_value.shape == (N_STREAMS,)

    def test_worse_losses_get_smaller_p_values(self, name, side, drawn):
        new, old = drawn
        # From the middle of the reference upwards, so that it holds for both sides.
        start = np.median(old, axis=(1, 2))[:, None] * np.ones_like(new)
        run = [
            TESTS[name].function(*batches(start * factor, old), side).p_value
            for factor in (1.0, 1.5, 2.0, 3.0, 6.0)
        ]
        falls = np.diff(np.stack(run), axis=0)
        assert (falls <= 0).all() if side == "greater" else (falls[2:] <= 0).all()
        assert (run[-1] < 0.05).all()

    def test_positive_statistic_and_effect_mean_larger_losses(self, name, side, drawn):
        new, old = drawn
        worse = TESTS[name].function(*batches(new * 5, old), side)
        better = TESTS[name].function(*batches(new / 5, old), side)
        assert (worse.statistic > 0).all()
        assert (worse.effect > 0).all()
        assert (better.effect < 0).all()
        lower = better.statistic < 0 if (name, side) != ("ks", "greater") else better.p_value > 0.5
        assert lower.all()

    def test_inputs_are_left_as_they_were(self, name, side, drawn):
        incoming, reference = batches(*drawn)
        arrays = (*drawn, reference.means, reference.calendar, incoming.calendar)
        before = [array.copy() for array in arrays]
        for array in arrays:
            array.setflags(write=False)
        TESTS[name].function(incoming, reference, side)
        for array, kept in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, kept)

    def test_unknown_side_is_named(self, name, side, drawn):
        with pytest.raises(SettingsError, match="Unknown side `less`"):
            TESTS[name].function(*batches(*drawn), "less")

    def test_reference_without_single_losses_serves_who_needs_none(self, name, side, drawn):
        incoming, reference = batches(*drawn)
        means_only = ReferenceBatch(reference.means, reference.calendar)
        if TESTS[name].memory != "means":
            with pytest.raises(DataError, match=f"`{name}`.*Hint"):
                TESTS[name].function(incoming, means_only, side)
        else:
            outcome = TESTS[name].function(incoming, means_only, side)
            assert np.isfinite(outcome.p_value).all()


def test_a_fleet_that_is_too_small_to_pool_gives_every_stream_its_own_answer(drawn):
    few = batches(drawn[0][:7], drawn[1][:7])
    for pooled, own in zip(
        columns(moderated_t(*few, "greater")), columns(batch_t(*few, "greater")), strict=True
    ):
        np.testing.assert_array_equal(pooled, own)


def test_registry_knows_every_test_that_a_policy_may_name():
    assert sorted(TESTS) == [
        *("batch_t", "block_bootstrap", "ewc", "hac"),
        *("ks", "mann_whitney", "moderated_t", "profile", "welch"),
    ]
    assert all(MLMA(test=name).test == name for name in TESTS)
    assert all(batch_test(name).name == name for name in TESTS)
    with pytest.raises(SettingsError, match="did you mean `batch_t`"):
        batch_test("batch_tt")
