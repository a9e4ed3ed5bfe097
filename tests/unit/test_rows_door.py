"""The door for rows: what comes in, what is refused and what is left out."""

import re
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from mlma.adapters.frames.rows import BodyError, Door, named_rows
from mlma.domain.errors import DataError, SettingsError
from mlma.domain.inbox import NO_CUTOFF
from mlma.domain.periods import Periods

DAY, QUARTER = np.timedelta64(86_400_000_000, "us"), np.timedelta64(900_000_000, "us")
NOW = np.datetime64("2025-03-30T12:00", "us")
PLAIN = Door(Periods(DAY, QUARTER), NOW)
BERLIN = Door(Periods(DAY, QUARTER, "Europe/Berlin"), NOW)
TIME = "2025-03-30T09:15"


def frame(n=1, **changed):
    columns = {"unique_id": ["A"] * n, "ds": [TIME] * n, "y": [1.5] * n} | changed
    return pl.DataFrame({name: values for name, values in columns.items() if values is not None})


def forecasts(n=1, **changed):
    return frame(n, **{"y": None, "y_hat": [1.5] * n} | changed)


def actuals_of(given, door=PLAIN, *, strict=True):
    return named_rows(given, "actuals", door, strict=strict)


def forecasts_of(given, door=PLAIN, *, strict=True):
    return named_rows(given, "forecasts", door, strict=strict)


def instants(rows):
    return [str(instant)[:16] for instant in rows.instant]


def refused(given, word, row=None, column=None, *, door=PLAIN, kind="actuals"):
    with pytest.raises(BodyError, match=re.escape(word)) as caught:
        named_rows(given, kind, door, strict=True)
    assert (caught.value.row, caught.value.column) == (row, column)
    return caught.value


def test_ids_stand_in_the_order_of_their_first_row():
    rows = actuals_of(frame(4, unique_id=["B", "A", "B", "C"]))
    assert rows.ids == ("B", "A", "C")
    assert rows.code.tolist() == [0, 1, 0, 2]
    assert (rows.code.dtype, rows.value.dtype) == (np.int32, np.float64)
    assert rows.instant.dtype == np.dtype("datetime64[us]")


@pytest.mark.parametrize("kind", [pl.Int64, pl.UInt8, pl.Int128, pl.Categorical, pl.Enum(["7"])])
def test_ids_may_be_whole_numbers_or_coded_text(kind):
    ids = pl.Series(["7"]).cast(pl.Int64).cast(kind) if kind.is_integer() else pl.Series(["7"])
    assert actuals_of(frame(unique_id=ids.cast(kind))).ids == ("7",)


@pytest.mark.parametrize(
    "y",
    [[2], [Decimal("2.0")], pl.Series([2], dtype=pl.UInt64), pl.Series([2.0], dtype=pl.Float32)],
)
def test_values_may_be_numbers_of_any_type(y):
    assert actuals_of(frame(y=y)).value.tolist() == [2.0]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_may_have_any_unit(unit):
    ds = pl.Series([datetime(2025, 3, 30, 9, 15)]).cast(pl.Datetime(unit))
    assert instants(actuals_of(frame(ds=ds))) == [TIME]


def test_dates_are_midnights():
    assert instants(actuals_of(frame(ds=[date(2025, 3, 29)]))) == ["2025-03-29T00:00"]


def test_columns_in_several_chunks_are_read_in_order():
    both = pl.concat([frame(unique_id=["B"]), frame(unique_id=["A"], y=[2.5])], rechunk=False)
    rows = actuals_of(both)
    assert (rows.ids, rows.value.tolist()) == (("B", "A"), [1.5, 2.5])


def test_columns_may_have_other_names():
    door = Door(PLAIN.periods, NOW, unique_id="series", ds="time", y="sold")
    given = frame().rename({"unique_id": "series", "ds": "time", "y": "sold"})
    assert len(actuals_of(given, door)) == 1
    refused(given.drop("sold"), "`sold` (y) is missing", column="sold", door=door)


def test_columns_must_have_different_names():
    with pytest.raises(SettingsError, match="different"):
        Door(PLAIN.periods, NOW, y="ds")


def test_columns_that_are_not_named_are_ignored():
    assert len(actuals_of(frame(note=[{"a": [1]}], cutoff=["never"]))) == 1


def test_the_only_other_numeric_column_is_the_forecast():
    given = forecasts(y_hat=None, Ridge=[2], y=[9.0], note=["x"], **{"Ridge-lo-90": [1.0]})
    assert forecasts_of(given).value.tolist() == [2.0]


def test_one_of_two_numeric_columns_is_not_guessed():
    error = refused(
        forecasts(y_hat=None, Ridge=[2], Lasso=[3]), "Ridge, Lasso", None, "y_hat", kind="forecasts"
    )
    assert error.hint == "call the column of the forecasts `y_hat`"


def test_an_actual_is_never_guessed():
    refused(frame(y=None, temperature=[20.0]), "missing", column="y")


def test_a_missing_column_is_suggested():
    error = refused(frame().rename({"ds": "timestamp"}), "`ds` (ds) is missing", column="ds")
    assert str(error).endswith("Hint: did you mean `timestamp`?")


def test_without_a_zone_times_are_taken_as_they_come_or_in_utc():
    assert instants(actuals_of(frame(ds=["2025-03-30 09:15"]))) == ["2025-03-30T09:15"]
    assert instants(actuals_of(frame(ds=["2025-03-30T09:15+02:00"]))) == ["2025-03-30T07:15"]
    zoned = pl.Series(["2025-03-30T09:15"]).str.to_datetime(time_zone="Europe/Berlin")
    assert instants(actuals_of(frame(ds=zoned))) == ["2025-03-30T07:15"]


def test_with_a_zone_naive_times_are_those_of_its_clock():
    naive = pl.Series(["2025-03-30T09:15"]).str.to_datetime()
    for ds in (["2025-03-30T09:15"], naive, ["2025-03-30T07:15Z"], ["2025-03-30 09:15:00+0200"]):
        assert instants(actuals_of(frame(ds=ds), BERLIN)) == ["2025-03-30T07:15"]


@pytest.mark.parametrize("as_text", [True, False])
def test_a_time_that_the_clock_skips_is_a_bad_row(as_text):
    ds = pl.Series([TIME, "2025-03-30T02:15"])
    given = frame(2, ds=ds if as_text else ds.str.to_datetime())
    refused(given, "a time that the clock of Europe/Berlin shows", 2, "ds", door=BERLIN)


def test_of_an_hour_that_comes_twice_the_first_is_meant():
    door = Door(BERLIN.periods, np.datetime64("2025-10-27", "us"))
    rows = actuals_of(frame(2, ds=["2025-10-26T01:45", "2025-10-26T02:15"]), door)
    assert instants(rows) == ["2025-10-25T23:45", "2025-10-26T00:15"]


def test_the_grid_of_a_zone_starts_at_its_midnight():
    door = Door(Periods(DAY, DAY, "Europe/Berlin"), NOW)
    assert instants(actuals_of(frame(ds=["2025-03-29"]), door)) == ["2025-03-28T23:00"]
    refused(frame(ds=["2025-03-29T00:00Z"]), "midnight in Europe/Berlin", 1, "ds", door=door)


def test_mixed_zones_are_refused_even_where_bad_rows_are_left_out():
    with pytest.raises(BodyError, match="one offset") as caught:
        actuals_of(frame(2, ds=[TIME, TIME + "Z"]), strict=False)
    assert (caught.value.row, caught.value.column) == (2, "ds")


def test_an_actual_may_start_one_slot_after_now_but_no_later():
    zoned = [f"2025-03-30T12:{minute}Z" for minute in ("15", "30")]
    assert len(actuals_of(frame(ds=zoned[:1]))) == 1
    refused(frame(ds=zoned[1:]), "cannot be known yet", 1, "ds")
    assert len(forecasts_of(forecasts(ds=zoned[1:]))) == 1


def test_without_any_zone_the_clock_of_the_sender_may_be_14_hours_ahead():
    assert len(actuals_of(frame(ds=["2025-03-31T02:15"]))) == 1
    refused(frame(ds=["2025-03-31T02:30"]), "cannot be known yet", 1, "ds")


def test_a_forecast_may_be_as_far_ahead_as_the_door_says():
    door = Door(BERLIN.periods, NOW, ahead=np.timedelta64(2, "D"))
    assert len(forecasts_of(forecasts(ds=["2025-04-01T12:00Z"]), door)) == 1
    late = forecasts(ds=["2025-04-01T12:15Z"])
    refused(late, "at or before 2025-04-01 12:00:00", 1, "ds", door=door, kind="forecasts")


def test_rows_before_the_oldest_slot_are_refused():
    door = Door(PLAIN.periods, NOW, oldest=np.datetime64("2025-03-30T09:15"))
    assert len(actuals_of(frame(), door)) == 1
    refused(frame(ds=["2025-03-30T09:00"]), "at or after 2025-03-30 09:15", 1, "ds", door=door)


def test_nothing_is_older_than_1990_whatever_the_door_says():
    door = Door(PLAIN.periods, NOW, oldest=np.datetime64("1960-01-01"))
    refused(frame(ds=["1989-12-31"]), "1990", 1, "ds", door=door)


def test_a_cutoff_may_be_missing_in_some_rows():
    made = ["2025-03-30T09:00", None]
    rows = forecasts_of(forecasts(2, cutoff=made))
    assert rows.cutoff.tolist() == [1743325200000000, NO_CUTOFF]


def test_cutoffs_that_are_all_missing_are_none():
    assert forecasts_of(forecasts(cutoff=[None])).cutoff is None
    assert forecasts_of(forecasts()).cutoff is None


def test_a_cutoff_may_be_the_start_of_its_slot_but_no_later():
    assert forecasts_of(forecasts(cutoff=[TIME])).cutoff is not None
    late = forecasts(2, cutoff=[TIME, TIME + ":01"])
    refused(late, "no forecast", 2, "cutoff", kind="benchmarks")


def test_cutoffs_are_read_in_the_zone_of_the_grid():
    rows = forecasts_of(forecasts(cutoff=["2025-03-30T09:15"]), BERLIN)
    assert rows.cutoff.tolist() == rows.instant.astype(np.int64).tolist()


def test_the_first_bad_row_is_named_and_all_are_counted():
    given = frame(4, unique_id=["A", "B", "", "D"], y=[1.0, None, None, float("inf")])
    error = refused(given, "`y` of row 2 must be a finite number. Got null; 3 of 4 rows", 2, "y")
    assert error.hint == "leave out rows that have no value"
    assert str(error) == f"{error.message} Hint: {error.hint}."
    assert isinstance(error, DataError)


def test_pulled_rows_that_are_bad_are_left_out_and_counted():
    given = frame(
        6,
        unique_id=["B", "A", None, "A", "C", "B"],
        ds=[TIME, TIME, TIME, "2025-03-30T09:20", "soon", TIME],
        y=[None, 1.0, 2.0, 3.0, 4.0, 5.0],
    )
    rows = actuals_of(given, strict=False)
    assert (rows.ids, rows.code.tolist(), rows.value.tolist()) == (("A", "B"), [0, 1], [1.0, 5.0])
    told = {entry.reason: (entry.count, entry.examples) for entry in rows.left_out}
    assert told == {
        "null unique_id": (1, ("row 3",)),
        "ds that is no ISO time": (1, ("C soon",)),
        "ds off the grid": (1, ("A 2025-03-30T09:20",)),
        "y that is no finite number": (1, (f"B {TIME}",)),
    }


def test_pulled_rows_may_all_be_bad():
    rows = actuals_of(frame(2, y=[None, None]), strict=False)
    assert (len(rows), rows.ids, rows.left_out[0].count) == (0, (), 2)


def test_pulled_numbers_may_be_text():
    assert actuals_of(frame(y=[" 1.5"]), strict=False).value.tolist() == [1.5]
    refused(frame(y=["1.5"]), "must hold numbers. Got String", column="y")


def test_a_pulled_frame_may_be_empty_a_pushed_one_not():
    empty = frame().clear()
    assert len(actuals_of(empty, strict=False)) == 0
    refused(empty, "empty batch")


def test_times_that_python_does_not_know_are_left_out_like_others():
    ds = pl.Series([2**62, 0]).cast(pl.Datetime("ms"))
    rows = actuals_of(frame(2, ds=ds), strict=False)
    assert [(entry.reason, entry.count) for entry in rows.left_out] == [
        ("ds too old", 1),
        ("ds too far in the future", 1),
    ]


@pytest.mark.parametrize("name", ["x" * 200, "café 7/ü", "日本", "a b", "\U0001f600", "-", "0"])
def test_names_in_any_script_are_fine(name):
    assert actuals_of(frame(unique_id=[name])).ids == (name,)


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\tb", "a\x7f", "a\x9f", "\u2029", "\u2066"])
def test_names_that_cannot_be_read_are_refused(name):
    refused(frame(2, unique_id=["A", name]), "`unique_id` of row 2", 2, "unique_id")


def test_a_message_never_shows_a_control_character():
    error = refused(frame(unique_id=["\x1b[31m\u202e"]), "control", 1, "unique_id")
    assert str(error).isprintable()


def test_many_rows_are_the_same_as_one_by_one():
    rng = np.random.default_rng(0)
    names = rng.integers(0, 50, 5000)
    slots = np.datetime64("2025-03-29", "us") + rng.integers(0, 96, 5000) * QUARTER
    given = pl.DataFrame({"unique_id": names, "ds": slots, "y": rng.random(5000)})
    rows = actuals_of(given)
    assert [rows.ids[code] for code in rows.code] == [str(name) for name in names]
    assert (rows.instant == slots).all()
    assert (rows.value == given["y"].to_numpy()).all()
