"""Periods: which batch and slot a time belongs to, with and without a time zone."""

import numpy as np
import pytest

from mlma.domain.periods import Periods

HOUR = np.timedelta64(3600 * 10**6, "us")
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", None)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("hours", [1, 6, 24, 168])
def test_a_time_belongs_to_the_period_that_has_begun_and_not_ended(zone, hours):
    grid = Periods(hours * HOUR, HOUR, zone)
    for day in ("2025-03-29", "2025-07-01", "2025-10-25"):
        many = np.datetime64(day, "us") + np.arange(96) * (HOUR // 2)
        for at in (many, many[:1], many[47:48]):
            period, place = grid.locate(at)
            for instant, number, slot in zip(at, period.tolist(), place.tolist(), strict=True):
                assert grid.start(number) <= instant < grid.end(number)
                assert grid.times(number, np.array([slot]))[0] <= instant
                assert instant < grid.times(number, np.array([slot + 1]))[0]
                assert 0 <= slot < grid.width


def test_days_have_23_24_and_25_hours_where_clocks_change():
    grid = Periods(24 * HOUR, HOUR, "Europe/Berlin")
    lengths = {
        day: int(
            (grid.end(grid.at(np.datetime64(day))) - grid.start(grid.at(np.datetime64(day))))
            // HOUR
        )
        for day in ("2025-03-30T12", "2025-05-05T12", "2025-10-26T12")
    }
    assert lengths == {"2025-03-30T12": 23, "2025-05-05T12": 24, "2025-10-26T12": 25}
    assert grid.width == 25


def test_no_instants_have_no_periods():
    for zone in (None, "Europe/Berlin"):
        period, place = Periods(24 * HOUR, HOUR, zone).locate(np.array([], dtype="datetime64[us]"))
        assert (len(period), len(place)) == (0, 0)


def test_what_is_no_start_of_a_slot_is_off_the_grid():
    for zone in ZONES:
        grid = Periods(24 * HOUR, HOUR, zone)
        begins = grid.start(grid.at(np.datetime64("2025-05-05T12")))
        at = begins + np.array([0, 1, 90]) * (HOUR // 60)
        assert grid.off_grid(at).tolist() == [False, True, True]
