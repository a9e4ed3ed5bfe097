"""Windows: a source finds a row in the window in which the door places it."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlma.adapters.frames.rows import Door, named_rows
from mlma.adapters.sources.windows import Window, numeric, on_grid, readable
from mlma.domain.periods import MONDAY, Periods

ZONES = [None, "UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata"]
# Around the days on which clocks are put forward and back in 2025, in these zones.
TIMES = st.one_of(
    st.datetimes(datetime(2025, 3, 29), datetime(2025, 4, 1)),
    st.datetimes(datetime(2025, 10, 4), datetime(2025, 10, 6)),
    st.datetimes(datetime(2025, 10, 25), datetime(2025, 11, 3)),
).map(lambda at: at.replace(minute=at.minute // 30 * 30, second=0, microsecond=0))
BATCHES = st.sampled_from([np.timedelta64(60, "m"), np.timedelta64(1440, "m")])


@settings(max_examples=40, deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=10), st.sampled_from(ZONES), st.sampled_from(ZONES),
       BATCHES, st.sampled_from(["ms", "us", "ns", "text", "date"]))  # fmt: skip
def test_a_row_is_in_the_window_of_the_period_in_which_the_door_places_it(
    times: list[datetime], zone: str | None, there: str | None, batch: np.timedelta64, form: str
) -> None:
    ds = pl.Series("ds", times, dtype=pl.Datetime("us"))
    if form == "date":
        ds = ds.cast(pl.Date)
    elif form == "text":
        ds = ds.dt.to_string("%Y-%m-%dT%H:%M")
    else:
        ds = ds.cast(pl.Datetime(form))  # type: ignore[arg-type]
        if there:
            ds = ds.dt.replace_time_zone("UTC").dt.convert_time_zone(there)
    frame = pl.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(float(len(ds)))})
    periods = Periods(batch.astype("timedelta64[us]"), np.timedelta64(30 * 60_000_000, "us"), zone)
    door = Door(periods, np.datetime64("2026-01-01", "us"))
    rows = named_rows(frame, "actuals", door, strict=False)
    placed = dict(zip(rows.value.tolist(), rows.instant, strict=True))
    for value, instant in placed.items():
        start, end = _around(periods, instant)
        found = set(_found(frame, Window(start, end, zone))) & placed.keys()
        assert value in found
        assert found == {other for other, at in placed.items() if start <= at < end}


def _around(periods: Periods, instant: np.datetime64) -> tuple[np.datetime64, np.datetime64]:
    """Return start and end of the period of an instant, by looking through them."""
    near = int((instant - MONDAY) // periods.batch)
    far = int(np.timedelta64(15, "h") // periods.batch) + 1
    starts = [periods.start(number) for number in range(near - far, near + far + 2)]
    at = int(np.searchsorted(starts, instant, side="right"))
    return starts[at - 1], starts[at]


def _found(frame: pl.DataFrame, window: Window) -> list[float]:
    inside = window.predicate("ds", frame.schema["ds"])
    by_column = [] if inside is None else frame.filter(inside)["y"].to_list()
    times = readable(frame["ds"], window.zone, "a test")
    one_by_one = frame.filter(window.inside(times))["y"].to_list()
    assert inside is None or set(by_column) <= set(one_by_one)
    return one_by_one if inside is None else by_column


def test_a_predicate_lets_polars_skip_what_statistics_rule_out(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    hours = [datetime(2025, 3, 1) + timedelta(hours=hour) for hour in range(240)]
    made = pl.DataFrame({"ds": hours, "y": np.arange(240.0)})
    for zone in (None, "Europe/Berlin"):
        ds = pl.col("ds").dt.replace_time_zone(zone)
        made.with_columns(ds).write_parquet(file, row_group_size=24)
        window = Window(np.datetime64("2025-03-04", "us"), np.datetime64("2025-03-05", "us"), zone)
        inside = window.predicate("ds", pl.Datetime("us", zone))
        assert inside is not None
        whole = file.read_bytes()
        # Damage the first day: whoever looked at it would fail.
        file.write_bytes(whole[:4] + bytes(200) + whole[204:])
        assert pl.scan_parquet(file).filter(inside).collect().height == 24
        with pytest.raises(pl.exceptions.PolarsError):
            pl.read_parquet(file)


def test_text_is_read_as_the_door_reads_it() -> None:
    text = [
        "2025-03-01",
        "2025-03-01T12:30",
        " 2025-03-01 12:30:15.5 ",
        "2025-03-01T12Z",
        "x",
        None,
    ]
    read = readable(pl.Series("ds", text), None, "a test")
    assert read.dtype == pl.Datetime("us", "UTC")
    assert read.dt.to_string("%d %H:%M:%S%.f").to_list() == [
        *("01 00:00:00", "01 12:30:00", "01 12:30:15.500", "01 12:00:00"),
        *(None, None),
    ]


def test_a_time_that_the_clock_skipped_is_no_time_on_the_grid() -> None:
    skipped = pl.Series("ds", [datetime(2025, 3, 30, 2, 30)])
    assert on_grid(skipped, "Europe/Berlin").to_list() == [None]
    assert on_grid(skipped, None).to_list() == skipped.to_list()


def test_text_is_numbers_only_where_all_of_it_is() -> None:
    assert numeric(pl.Series([" 1.5", None, "2e3"])).to_list() == [1.5, None, 2000]
    assert numeric(pl.Series(["1.5", "n/a"])).to_list() == ["1.5", "n/a"]
    assert numeric(pl.Series([1, 2])).dtype == pl.Int64
