"""Settings of the statistics that are out of range say so, and calendar classes are right."""

import numpy as np
import pytest

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.domain.errors import DataError, SettingsError
from mlma.stats.batch_mean import batch_t
from mlma.stats.calendar import calendar_class
from mlma.stats.losses import loss_from, seasonal_scale
from mlma.stats.multiplicity import adjusted_p_values

DAY = np.timedelta64(1, "D")
WEEK = np.arange("2024-02-26", "2024-03-04", dtype="datetime64[D]")  # Monday to Sunday


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
def test_weekend_is_saturday_and_sunday_in_every_unit_of_time(unit):
    starts = WEEK.astype(f"datetime64[{unit}]")
    assert calendar_class(starts, DAY, "weekend").tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert calendar_class(starts, DAY, "weekday").tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert calendar_class(starts, DAY, "none").dtype == np.int8


def test_days_before_1970_have_weekdays_too():
    sunday = np.array(["1969-12-28T23:00"], dtype="datetime64[us]")
    assert calendar_class(sunday, np.timedelta64(1, "h"), "weekday").tolist() == [6]


@pytest.mark.parametrize("hours", [6, 24])
def test_part_of_a_day_has_the_class_of_its_day(hours):
    friday_evening = np.array(["2024-03-01T18:00", "2024-03-02T00:00"], dtype="datetime64[us]")
    assert calendar_class(friday_evening, np.timedelta64(hours, "h"), "weekend").tolist() == [0, 1]


@pytest.mark.parametrize("hours", [5, 36, 48, 168])
def test_batches_that_do_not_fit_into_a_day_have_no_calendar_effect(hours):
    assert not calendar_class(WEEK, np.timedelta64(hours, "h"), "weekday").any()


def test_unknown_calendar_effect_is_named():
    with pytest.raises(SettingsError, match="did you mean `weekend`"):
        calendar_class(WEEK, DAY, "weekends")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absolut", "Unknown loss `absolut`.*did you mean `absolute`"),
        ("pinball(q=1.0)", "`q` of `pinball` must be between 0 and 1.*Got 1.0.*Hint"),
        ("pinball(q='a')", "`q` of `pinball` must be between 0 and 1.*Got 'a'"),
        ("pinball(q=True)", "Got True"),
        ("tweedie(power=2)", "`power` of `tweedie` must be between 1 and 2.*Hint"),
        ("pinball(0.9)", "cannot be read"),
    ],
)
def test_wrong_loss_says_what_is_expected(text, message):
    with pytest.raises(SettingsError, match=message):
        loss_from(text)


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (lambda y, y_hat: np.mean(y - y_hat), r"shape \(3,\). Got shape \(\)"),
        (lambda y, y_hat: (y - y_hat)[:-1], r"Got shape \(2,\)"),
        (lambda y, y_hat: None, "one loss for each pair|array of numbers"),
        (lambda y, y_hat: ["a", "b", "c"], "array of numbers. Got list"),
    ],
)
def test_loss_of_the_user_that_returns_no_losses_says_so(user, message):
    with pytest.raises(DataError, match=message):
        loss_from(user)(np.ones(3), np.zeros(3))


def test_constant_and_empty_streams_have_scale_1():
    y = np.stack([np.full(10, 0.1 + 0.2), np.full(10, np.nan), np.zeros(10), np.arange(10.0)])
    assert seasonal_scale(y, 2).tolist() == [1.0, 1.0, 1.0, 2.0]
    assert seasonal_scale(y, 30).tolist() == [1.0, 1.0, 1.0, 1.0]


def test_rounding_noise_of_a_constant_stream_is_no_scale():
    y = np.array([[0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2]])
    assert seasonal_scale(y, 1).tolist() == [1.0]


def test_scale_of_huge_values_is_finite():
    assert np.isfinite(seasonal_scale(np.array([[1e300, -1e299, 5e299]]), 1, squared=True)).all()


def test_season_below_one_slot_is_refused():
    with pytest.raises(SettingsError, match="`season` of `seasonal_scale`"):
        seasonal_scale(np.ones((1, 5)), 0)


def test_unknown_multiplicity_is_named():
    with pytest.raises(SettingsError, match="Known: bh, bonferroni, e_bh, none"):
        adjusted_p_values(np.array([0.1]), "holm")


@pytest.mark.parametrize("method", ["bh", "bonferroni", "e_bh", "none"])
def test_no_p_values_are_adjusted_to_no_p_values(method):
    assert adjusted_p_values(np.array([]), method).shape == (0,)
    assert np.isnan(adjusted_p_values(np.full(3, np.nan), method)).all()


def one_stream(means, classes, loss, calendar):
    reference = ReferenceBatch(np.array([means]), np.array([classes], dtype=np.int8))
    return LossBatch(np.array([[loss]]), np.array([calendar], dtype=np.int8)), reference


def test_weekend_batch_is_compared_with_weekends():
    means, classes = [1.0, 1.1, 0.9, 1.0, 3.0, 3.1, 2.9], [0, 0, 0, 0, 1, 1, 1]
    weekend = batch_t(*one_stream(means, classes, 3.0, 1), "greater")
    weekday = batch_t(*one_stream(means, classes, 3.0, 0), "greater")
    assert weekend.p_value[0] > 0.3
    assert weekday.p_value[0] < 1e-4
    assert weekend.reference_loss[0] == pytest.approx((3.0 * 3.1 * 2.9) ** (1 / 3))


def test_class_that_the_reference_never_saw_is_compared_with_all_batches():
    means, classes = [1.0, 1.1, 0.9, 1.0, 3.0, 3.1, 2.9], [0, 0, 0, 0, 1, 1, 1]
    unseen = batch_t(*one_stream(means, classes, 3.0, 5), "greater")
    pooled = batch_t(*one_stream(means, [0] * 7, 3.0, 0), "greater")
    for name in ("reference_loss", "effect", "spread", "df"):
        assert getattr(unseen, name)[0] == pytest.approx(getattr(pooled, name)[0], rel=1e-12)


def test_reference_of_zeros_cannot_tell():
    outcome = batch_t(*one_stream([0.0] * 20, [0] * 20, 1.0, 0), "greater")
    assert np.isnan([outcome.p_value[0], outcome.reference_loss[0], outcome.effect[0]]).all()


def test_reference_without_variance_cannot_tell_but_knows_its_level():
    outcome = batch_t(*one_stream([0.3, 0.1 + 0.2] * 10, [0] * 20, 0.6, 0), "greater")
    assert np.isnan(outcome.p_value[0])
    assert outcome.reference_loss[0] == pytest.approx(0.3)
    assert outcome.effect[0] == pytest.approx(1.0)


def test_negative_batch_cannot_be_told():
    outcome = batch_t(*one_stream([1.0, 1.1, 0.9, 1.2, 1.0], [0] * 5, -1.0, 0), "two-sided")
    assert np.isnan(outcome.p_value[0])


def test_negative_batch_of_the_reference_is_an_empty_place():
    means = [1.0, 1.1, 0.9, 1.2]
    negative = batch_t(*one_stream([-1.0, *means], [0] * 5, 1.3, 0), "greater")
    without = batch_t(*one_stream(means, [0] * 4, 1.3, 0), "greater")
    assert negative.p_value[0] == without.p_value[0] < 0.5
    none = batch_t(*one_stream([-1.0] * 5, [0] * 5, 1.3, 0), "greater")
    assert np.isnan([none.p_value[0], none.reference_loss[0], none.effect[0]]).all()


@pytest.mark.parametrize("outlier", [1e6, 1e16, 1e300])
def test_single_outlier_in_the_reference_is_moved_to_the_fence_and_lifts_no_floor(outlier):
    logs = np.log([1.0, 1.1, 0.9, 1.05, 0.95, 1.2, 0.8])
    with_outlier = np.append(logs, np.log(outlier))
    middle = np.median(with_outlier)
    spread = 1.482602218505602 * np.median(np.abs(with_outlier - middle))
    expected = np.exp(np.mean(np.append(logs, middle + 4 * spread)))
    outcome = batch_t(*one_stream(np.exp(with_outlier), [0] * 8, 1.0, 0), "greater")
    assert outcome.reference_loss[0] == pytest.approx(expected, rel=1e-12)
