"""Quiet hours end at the right moment: over midnight, and where the clock is changed."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from mlma.service.quiet import QuietHours

BRUSSELS = ZoneInfo("Europe/Brussels")


def at(text, fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=BRUSSELS, fold=fold)


def over(hours, now):
    found = QuietHours.of(hours, "Europe/Brussels").over_at(now)
    return None if found is None else found.astimezone(BRUSSELS).strftime("%d %H:%M %Z")


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        ("2024-01-01T21:59", None),
        ("2024-01-01T22:00", "02 07:00 CET"),
        ("2024-01-01T23:59", "02 07:00 CET"),
        ("2024-01-02T00:00", "02 07:00 CET"),
        ("2024-01-02T06:59", "02 07:00 CET"),
        ("2024-01-02T07:00", None),
    ],
)
def test_a_night_is_quiet_over_midnight(now, ends):
    assert over("22:00-07:00", at(now)) == ends


@pytest.mark.parametrize(
    ("now", "ends"), [("2024-01-01T12:30", "01 14:00 CET"), ("2024-01-01T14:00", None)]
)
def test_a_span_within_a_day_ends_on_it(now, ends):
    assert over("12:00-14:00", at(now)) == ends


def test_a_night_in_which_the_clock_is_put_forward_is_an_hour_shorter():
    begins = at("2024-03-30T22:00")
    ends = QuietHours.of("22:00-07:00", "Europe/Brussels").over_at(begins)
    assert (ends - begins).total_seconds() == 8 * 3600
    assert over("22:00-07:00", begins) == "31 07:00 CEST"


def test_a_night_in_which_the_clock_is_put_back_is_an_hour_longer():
    begins = at("2024-10-26T22:00")
    ends = QuietHours.of("22:00-07:00", "Europe/Brussels").over_at(begins)
    assert (ends - begins).total_seconds() == 10 * 3600


def test_an_end_that_the_clock_leaves_out_is_the_moment_after_it():
    ends = QuietHours.of("22:00-02:30", "Europe/Brussels").over_at(at("2024-03-30T23:00"))
    assert ends == datetime(2024, 3, 31, 1, 30, tzinfo=UTC)


def test_an_end_that_comes_twice_is_never_in_the_past():
    second = at("2024-10-27T02:10", fold=1)
    ends = QuietHours.of("22:00-02:30", "Europe/Brussels").over_at(second)
    assert (ends - second.astimezone(UTC)).total_seconds() == 20 * 60


def test_the_moment_may_come_from_any_zone():
    now = datetime(2024, 7, 1, 21, tzinfo=UTC)  # 23:00 in Brussels
    assert over("22:00-07:00", now) == "02 07:00 CEST"
    assert QuietHours.of("22:00-07:00").over_at(now) is None


@pytest.mark.parametrize("text", ["22-7", "22:00", "24:00-07:00", "07:00-07:00", "a-b", "22:00-7"])
def test_what_is_no_span_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  # the settings say what is expected
        QuietHours.of(text)


def test_no_hours_are_never_quiet():
    assert QuietHours.of("") is None
    assert QuietHours(time(1), time(2)).zone == "UTC"
