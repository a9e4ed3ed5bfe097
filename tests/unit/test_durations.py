from datetime import timedelta

import numpy as np
import pytest

from mlma.domain.durations import duration, duration_text
from mlma.domain.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("15m", 900),
        ("15min", 900),
        ("1h", 3600),
        ("1d", 86_400),
        ("D", 86_400),
        ("h", 3600),
        ("2w", 1_209_600),
        ("1d12h", 129_600),
        (" 6h ", 21_600),
    ],
)
def test_a_duration_is_read_in_microseconds(text: str, seconds: int) -> None:
    length = duration(text)
    assert length == np.timedelta64(seconds, "s")
    assert length.dtype == np.dtype("timedelta64[us]")


@pytest.mark.parametrize("length", [timedelta(hours=1), np.timedelta64(60, "m")])
def test_a_timedelta_is_a_duration_already(length: timedelta | np.timedelta64) -> None:
    assert duration(length) == np.timedelta64(3_600_000_000, "us")


@pytest.mark.parametrize("text", ["1mo", "M", "MS", "3q", "1y", "QS", "2M"])
def test_months_quarters_and_years_are_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match=r"`batch` must have a fixed length.*not supported"):
        duration(text, "batch")


@pytest.mark.parametrize(
    "bad",
    ["", "abc", "0d", "-1d", "1.5h", "15", "1d 2h", "99999999999d", 15, timedelta(0)],
)
def test_what_is_no_positive_duration_is_refused_and_shown(bad: object) -> None:
    with pytest.raises(SettingsError, match="`step` must be") as caught:
        duration(bad, "step")  # type: ignore[arg-type]  # wrong on purpose
    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize("bad", [np.timedelta64("NaT"), np.timedelta64(1, "M"), np.timedelta64(1)])
def test_a_timedelta_without_fixed_unit_is_refused(bad: np.timedelta64) -> None:
    with pytest.raises(SettingsError, match="fixed unit"):
        duration(bad)


@pytest.mark.parametrize("text", ["30s", "15m", "1h30m", "1d", "7d", "1d12h"])
def test_the_text_of_a_duration_reads_back(text: str) -> None:
    assert duration_text(duration(text)) == text
