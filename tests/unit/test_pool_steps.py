"""The steps of a pool: who enters and leaves, what is combined, which slots share weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlma.domain.pools import EMPTY, PoolState
from mlma.stats import fast
from mlma.stats.calendar import slot_class_count, slot_classes
from mlma.stats.losses import absolute
from mlma.stats.mixtures import BLOCK_BYTES, Kinds, blocks, class_means, mixture
from mlma.stats.pool import BestRecent, FixedShare, Mean
from mlma.steps.pool import (
    OUTLYING,
    UNIT_BATCHES,
    admitted,
    combined,
    leading,
    learnt,
    learnt_from,
    learnt_means,
    places_for,
)
from pools import RULES, pool_of

RULE = FixedShare(1.0, 0.02)
HOUR, DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")


@pytest.fixture(autouse=True, params=[False, True] if fast.AVAILABLE else [False])
def compiled(request, monkeypatch):
    monkeypatch.setattr(fast, "AVAILABLE", request.param)


def times(start, step, count):
    return np.datetime64(start, "us") + step * np.arange(count)


def one_class(slots):
    return np.zeros(slots, dtype=np.int8)


class TestWhoEntersAndWhoLeaves:
    def test_an_empty_place_is_taken_first_then_that_of_the_oldest(self):
        state, row, taken = PoolState.empty(1, 2, 4), np.array([0]), []
        for batch in range(7):
            place = places_for(state, row, versions=3)
            taken.append(int(place[0]))
            state = admitted(state, row, place, batch, RULE)
        assert taken == [0, 1, 2, 0, 1, 2, 0]
        assert state.born.tolist() == [[6, 4, 5, EMPTY]]

    def test_a_member_behind_the_versions_never_leaves(self):
        state = admitted(PoolState.empty(1, 1, 3), np.array([0]), np.array([2]), 0, RULE)
        for batch in range(1, 6):
            place = places_for(state, np.array([0]), versions=2)
            state = admitted(state, np.array([0]), place, batch, RULE)
        assert state.born[0, 2] == 0

    def test_rows_have_places_of_their_own(self):
        state = PoolState.empty(3, 1, 2)
        state = admitted(state, np.array([1]), np.array([0]), 5, RULE)
        assert places_for(state, np.array([1, 2]), versions=2).tolist() == [1, 0]
        assert state.active.tolist() == [[False, False], [True, False], [False, False]]

    def test_a_new_member_has_the_mean_weight_of_the_others(self):
        state = played(pool_of(4, 3, 4), np.random.default_rng(1))
        active = np.ones((4, 1, 4), dtype=bool)
        others = active.copy()
        others[:, :, 2] = False
        before = RULE.weights(state.scores, others)
        after = admitted(state, np.arange(4), np.full(4, 2), 9, RULE)
        weights = RULE.weights(after.scores, active)
        np.testing.assert_allclose(weights[:, :, 2], 1 / 4, rtol=1e-5)
        kept = [0, 1, 3]
        np.testing.assert_allclose(weights[:, :, kept], 0.75 * before[:, :, kept], rtol=1e-5)
        assert (after.scores.max(axis=-1) == 0).all()

    def test_the_first_member_has_all_the_weight(self):
        state = admitted(PoolState.empty(2, 3, 4), np.arange(2), np.array([1, 3]), 0, RULE)
        assert leading(state, RULE).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]

    def test_what_a_former_member_lost_is_forgotten_with_it(self):
        rng = np.random.default_rng(2)
        bad = rng.random((4, 3, 6))
        bad[:, 1] += 5
        state = pool_of(4, 1, 3)
        for _ in range(20):
            state = learnt(state, bad, one_class(6), RULE)
        assert leading(state, RULE)[:, 1].max() < 0.02
        state = admitted(state, np.arange(4), np.full(4, 1), 30, RULE)
        np.testing.assert_allclose(leading(state, RULE)[:, 1], 1 / 3, rtol=1e-5)

    def test_a_selection_does_not_jump_to_a_newcomer(self):
        rule = BestRecent(2.0)
        state = pool_of(2, 1, 3, rule)
        losses = np.array([1.0, 2.0, 3.0])[None, :, None] * np.ones((2, 1, 4))
        state = learnt(state, losses, one_class(4), rule)
        state = admitted(state, np.arange(2), np.full(2, 2), 5, rule)
        assert leading(state, rule).tolist() == [[1, 0, 0]] * 2

    def test_other_streams_and_the_former_state_stay_as_they_were(self):
        state = played(pool_of(4, 3, 4), np.random.default_rng(3))
        before = {name: column.copy() for name, column in state.flat().items()}
        after = admitted(state, np.array([2]), np.array([0]), 9, RULE)
        combined(state, np.ones((4, 4, 3)), np.arange(3).astype(np.int8), RULE)
        learnt(state, np.ones((4, 4, 3)), np.arange(3).astype(np.int8), RULE)
        for name, column in state.flat().items():
            np.testing.assert_array_equal(column, before[name])
            np.testing.assert_array_equal(after.flat()[name][[0, 1, 3]], column[[0, 1, 3]])


def played(state, rng, batches=15, rule=RULE):
    n, kinds, members = state.scores.shape
    for _ in range(batches):
        losses = rng.gamma(2.0, 0.5, (n, members, kinds))
        state = learnt(state, losses, np.arange(kinds).astype(np.int8), rule)
    return state


class TestWhatIsCombined:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("rule", RULES, ids=str)
    def test_the_forecast_lies_between_those_of_the_members(self, rule, dtype):
        rng = np.random.default_rng(4)
        state = played(pool_of(20, 3, 5, rule), rng, rule=rule)
        state.born[rng.random((20, 5)) < 0.4] = EMPTY
        state.born[:, 1] = 3
        forecasts = (1e6 + rng.normal(size=(20, 5, 9))).astype(dtype)
        classes = rng.integers(0, 3, 9).astype(np.int8)
        made = combined(state, forecasts, classes, rule)
        there = state.active[:, :, None]
        low = np.where(there, forecasts, np.inf).min(axis=1)
        high = np.where(there, forecasts, -np.inf).max(axis=1)
        rounding = 8 * np.finfo(dtype).eps * 1e6
        assert made.dtype == dtype
        assert (made >= low - rounding).all()
        assert (made <= high + rounding).all()

    def test_forecasts_of_empty_places_are_not_read(self):
        state = played(pool_of(3, 1, 4), np.random.default_rng(5))
        state.born[:, 2] = EMPTY
        forecasts = np.random.default_rng(6).random((3, 4, 5))
        expected = combined(state, forecasts, one_class(5), RULE)
        for odd in (np.nan, np.inf):
            forecasts[:, 2] = odd
            np.testing.assert_allclose(combined(state, forecasts, one_class(5), RULE), expected)

    def test_a_selected_member_stands_alone_whatever_the_others_say(self):
        rule = BestRecent(2.0)
        losses = np.array([1.0, 2.0, 3.0])[None, :, None] * np.ones((2, 1, 4))
        state = learnt(pool_of(2, 1, 3, rule), losses, one_class(4), rule)
        forecasts = np.stack([np.full((2, 4), 7.0), np.full((2, 4), np.inf), np.zeros((2, 4))], 1)
        assert (combined(state, forecasts, one_class(4), rule) == 7).all()

    def test_a_pool_without_a_member_has_no_forecast(self):
        made = combined(PoolState.empty(2, 1, 3), np.ones((2, 3, 4)), one_class(4), RULE)
        assert np.isnan(made).all()

    def test_one_member_is_its_own_forecast(self):
        forecasts = np.random.default_rng(7).normal(size=(5, 1, 8))
        made = combined(pool_of(5, 1, 1), forecasts, one_class(8), RULE)
        np.testing.assert_array_equal(made, forecasts[:, 0])

    def test_each_slot_has_the_weights_of_its_class_wherever_it_stands(self):
        rng = np.random.default_rng(8)
        state = played(pool_of(6, 3, 4), rng)
        forecasts, classes = rng.random((6, 4, 12)), np.tile([2, 0, 1], 4).astype(np.int8)
        made = combined(state, forecasts, classes, RULE)
        weights = RULE.weights(state.scores, np.ones((6, 1, 4), dtype=bool)).astype(float)
        expected = (weights[:, classes].swapaxes(1, 2) * forecasts).sum(axis=1)
        np.testing.assert_allclose(made, expected, rtol=1e-6)

    def test_no_streams_are_no_trouble(self):
        state = PoolState.empty(0, 2, 3)
        assert combined(state, np.empty((0, 3, 5)), one_class(5), RULE).shape == (0, 5)
        assert len(learnt(state, np.empty((0, 3, 5)), one_class(5), RULE)) == 0

    def test_views_of_larger_arrays_may_be_combined(self):
        rng = np.random.default_rng(9)
        state, book = played(pool_of(6, 1, 4), rng), rng.random((6, 4, 3, 10))
        expected = combined(state, book[:, :, 1].copy(), one_class(10), RULE)
        np.testing.assert_array_equal(combined(state, book[:, :, 1], one_class(10), RULE), expected)


class TestWhatIsLearnt:
    def test_classes_that_a_batch_has_not_stay_as_they_were(self):
        rng = np.random.default_rng(10)
        state = played(pool_of(5, 4, 3), rng)
        after = learnt(state, rng.random((5, 3, 6)), np.array([3, 1, 3, 1, 1, 3], np.int8), RULE)
        np.testing.assert_array_equal(after.scores[:, [0, 2]], state.scores[:, [0, 2]])
        np.testing.assert_array_equal(after.unit[:, [0, 2]], state.unit[:, [0, 2]])
        assert (after.unit[:, [1, 3]] != state.unit[:, [1, 3]]).all()

    def test_scattered_slots_teach_what_neighbouring_ones_do(self):
        rng = np.random.default_rng(11)
        losses, classes = rng.random((5, 3, 8)), np.repeat([0, 1], 4).astype(np.int8)
        losses[0, :, 3] = np.nan
        order = rng.permutation(8)
        one = learnt(pool_of(5, 2, 3), losses, classes, RULE)
        other = learnt(pool_of(5, 2, 3), losses[:, :, order], classes[order], RULE)
        np.testing.assert_allclose(other.scores, one.scores, rtol=1e-5, atol=1e-6)

    def test_three_ways_to_tell_the_losses_agree(self):
        rng = np.random.default_rng(12)
        y, forecasts = rng.random((7, 10)), rng.random((7, 4, 10))
        y[3, 2:5] = np.nan
        classes = np.repeat([5, 2], 5).astype(np.int8)
        losses, state = np.abs(y[:, None] - forecasts), pool_of(7, 6, 4)
        kinds = Kinds.of(classes)
        made = (
            learnt(state, losses, classes, RULE),
            learnt_means(state, class_means(losses, kinds), kinds.classes, RULE),
            learnt_from(state, y, forecasts, classes, RULE, loss=absolute()),
        )
        for other in made[1:]:
            np.testing.assert_allclose(other.scores, made[0].scores, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(other.unit, made[0].unit, rtol=1e-5)

    def test_blocks_change_no_bit(self):
        rng = np.random.default_rng(13)
        n = 3 * BLOCK_BYTES // (4 * 24 * 8)  # three blocks
        y, forecasts = rng.random((n, 24)), rng.random((n, 4, 24))
        classes, state = np.repeat([0, 1], 12).astype(np.int8), pool_of(n, 2, 4)
        assert len(list(blocks(forecasts))) >= 3
        whole = learnt_from(state, y, forecasts, classes, RULE, loss=absolute())
        some = np.array([0, n // 2, n - 1])
        part = learnt_from(
            state.rows(some), y[some], forecasts[some], classes, RULE, loss=absolute()
        )
        np.testing.assert_allclose(part.scores, whole.scores[some], rtol=1e-5, atol=1e-6)

    def test_the_unit_is_the_level_first_and_follows_it(self):
        state = pool_of(1, 1, 2)
        losses = np.array([[[1.0], [3.0]]])
        state = learnt(state, losses, one_class(1), RULE)
        assert state.unit[0, 0] == pytest.approx(2.0)
        state = learnt(state, 2 * losses, one_class(1), RULE)
        assert state.unit[0, 0] == pytest.approx(2 + 2 / UNIT_BATCHES)
        for empty in (0 * losses, np.nan * losses):
            assert learnt(state, empty, one_class(1), RULE).unit == state.unit

    @pytest.mark.parametrize("when", [0, 20])
    def test_a_member_that_fails_does_not_set_the_unit(self, when):
        rng = np.random.default_rng(14)
        state = pool_of(1, 1, 3)
        for batch in range(40):
            losses = rng.gamma(2.0, 0.5, (1, 3, 6))
            losses[:, 1] += 1.0
            losses[:, 2] = np.inf if batch == when else losses[:, 2] + 1
            state = learnt(state, losses, one_class(6), RULE)
        assert state.unit[0, 0] < OUTLYING
        assert leading(state, RULE)[0, 0] > 0.5

    def test_members_without_a_loss_yet_are_known_by_later_batches(self):
        state, perfect = pool_of(1, 1, 2), np.zeros((1, 2, 4))
        state = learnt(state, perfect, one_class(4), RULE)
        assert np.isnan(state.unit[0, 0])
        np.testing.assert_allclose(leading(state, RULE), 0.5)
        losses = perfect.copy()
        losses[:, 1] = 1e-5
        assert leading(learnt(state, losses, one_class(4), RULE), RULE)[0, 0] > 0.8

    def test_losses_beyond_all_measure_leave_a_state_that_is_finite(self):
        rng = np.random.default_rng(15)
        state = pool_of(20, 1, 4)
        for _ in range(100):
            losses = rng.choice([0, 1e-300, 1e-30, 1, 1e30, 1e300, np.inf, np.nan], (20, 4, 6))
            state = learnt(state, losses, one_class(6), RULE)
        for tiny_then_huge in (1e-30, 1e30, np.inf, 1e-45):
            losses = np.full((20, 4, 6), tiny_then_huge)
            losses[:, 0] /= 3
            state = learnt(state, losses, one_class(6), RULE)
            state = learnt_means(state, losses[:, None, :, 0], np.array([0]), RULE)
        assert np.isfinite(state.scores).all()
        assert np.isfinite(state.unit).all()
        assert (state.unit > 0).all()

    def test_a_tiny_unit_and_a_huge_loss_are_no_trouble(self):
        state = pool_of(1, 1, 2)
        for loss in (1e-30, 1e30):
            losses = np.full((1, 2, 3), loss)
            losses[:, 1] *= 2
            state = learnt(state, losses, one_class(3), RULE)
        assert np.isfinite(state.scores).all()
        assert leading(state, RULE)[0, 0] >= 0.5

    def test_the_state_keeps_its_size(self):
        state = pool_of(100, 16, 10)
        assert state.nbytes() / len(state) == 744  # the page states it
        after = played(state, np.random.default_rng(16), batches=3)
        assert after.nbytes() == state.nbytes()
        assert {column.dtype for column in after.flat().values()} == {
            np.dtype(np.float32),
            np.dtype(np.int32),
        }


class TestMeansAndMixtures:
    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 2**32 - 1))
    def test_means_leave_out_what_is_not_observed(self, seed):
        rng = np.random.default_rng(seed)
        losses = rng.gamma(1.0, 1.0, (3, 2, 7))
        losses[rng.random(losses.shape) < 0.3] = np.nan
        classes = rng.integers(0, 3, 7).astype(np.int8)
        kinds = Kinds.of(classes)
        made = class_means(losses, kinds)
        for at, one in enumerate(kinds.classes):
            part = losses[:, :, classes == one]
            count = (~np.isnan(part)).sum(axis=-1)
            expected = np.nansum(part, axis=-1) / np.where(count > 0, count, np.nan)
            np.testing.assert_allclose(made[:, at], expected, rtol=1e-5)

    def test_compiled_and_plain_mixtures_agree(self, monkeypatch):
        rng = np.random.default_rng(17)
        weights = rng.random((9, 3, 4)).astype(np.float32)
        forecasts, kinds = rng.normal(size=(9, 4, 11)), Kinds.of(rng.integers(0, 3, 11))
        made = []
        for compiled in (False, fast._NUMBA is not None):
            monkeypatch.setattr(fast, "AVAILABLE", compiled)
            made.append(mixture(weights, forecasts, kinds))
        np.testing.assert_allclose(made[0], made[1], rtol=1e-12, atol=1e-14)


class TestSlotClasses:
    def test_blocks_of_three_hours_apart_on_weekends(self):
        hours = times("2024-03-01", HOUR, 72)  # Friday to Sunday
        expected = np.concatenate(
            [np.repeat(np.arange(8), 3)] + [np.repeat(np.arange(8, 16), 3)] * 2
        )
        assert slot_classes(hours, HOUR).tolist() == expected.tolist()

    def test_a_part_of_a_day_has_the_classes_of_its_hours(self):
        step = np.timedelta64(15, "m")
        evening = times("2024-03-02T18:00", step, 24)  # six hours of a Saturday
        assert np.unique(slot_classes(evening, step)).tolist() == [14, 15]

    def test_a_week_has_every_class(self):
        classes = slot_classes(times("2024-03-04", HOUR, 168), HOUR)
        assert np.bincount(classes).tolist() == [15] * 8 + [6] * 8

    def test_a_day_across_midnight_has_parts_of_two_days(self):
        classes = slot_classes(times("2024-03-01T12:00", HOUR, 24), HOUR)
        assert classes.tolist() == [4] * 3 + [5] * 3 + [6] * 3 + [7] * 3 + [
            kind for kind in (8, 9, 10, 11) for _ in range(3)
        ]

    def test_the_wall_clock_counts_on_the_days_that_clocks_are_changed(self):
        changed = slot_classes(times("2024-03-31", HOUR, 24), HOUR)  # Sundays both
        usual = slot_classes(times("2024-03-24", HOUR, 24), HOUR)
        assert changed.tolist() == usual.tolist()

    def test_slots_of_a_day_know_the_weekend_only_and_longer_ones_nothing(self):
        days = times("2024-03-01", DAY, 4)
        assert slot_classes(days, DAY).tolist() == [0, 1, 1, 0]
        assert slot_classes(days, 7 * DAY).tolist() == [0] * 4

    @pytest.mark.parametrize("minutes", [5, 15, 30, 60, 120, 180, 240, 360, 720, 1440, 10080])
    def test_there_are_so_many_classes_as_counted(self, minutes):
        step = np.timedelta64(minutes, "m")
        count = max(7 * 1440 // minutes, 8)
        classes = slot_classes(times("1969-12-20", step, count), step)
        assert classes.min() >= 0
        assert classes.max() < slot_class_count(step)

    def test_days_before_1970_are_days_too(self):
        hours = times("1969-12-27T21", HOUR, 6)  # Saturday into Sunday
        assert slot_classes(hours, HOUR).tolist() == [15] * 3 + [8] * 3


def test_the_mean_learns_a_unit_but_no_scores():
    state = played(pool_of(3, 2, 3, Mean()), np.random.default_rng(18), rule=Mean())
    assert (state.scores == 0).all()
