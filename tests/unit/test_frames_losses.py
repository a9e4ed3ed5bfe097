"""Losses, and forecasts with actuals, on their way to the live agent."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mlma.adapters.frames.losses import PairRows, read_losses, read_pairs
from mlma.domain.errors import DataError

DAYS = [datetime(2024, 1, 1) + timedelta(days=day) for day in range(4)]


def forecasts(**more: object) -> pl.DataFrame:
    frame = {"unique_id": ["B"] * 2 + ["A"] * 2, "ds": DAYS[:2] * 2, "y_hat": [1.0, 2.0, 3.0, 4.0]}
    return pl.DataFrame(frame | more)


def actuals() -> pl.DataFrame:
    frame = {"unique_id": ["A"] * 2 + ["B"] * 2, "ds": DAYS[:2] * 2, "y": [30.0, 40.0, 10.0, 20.0]}
    return pl.DataFrame(frame)


def counts(rows: PairRows) -> dict[str, int]:
    return {entry.reason: entry.count for entry in rows.left_out}


# --- losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["polars", "pandas", "pyarrow", "csv"])
def test_losses_come_out_in_the_order_of_the_source(kind: str, tmp_path: Path) -> None:
    frame = forecasts().rename({"y_hat": "loss"})
    frame.write_csv(tmp_path / "l.csv")
    native = {
        "polars": frame,
        "pandas": frame.to_pandas(),
        "pyarrow": frame.to_arrow(),
        "csv": tmp_path / "l.csv",
    }[kind]
    rows = read_losses(native)
    assert rows.ids == ("B", "A")
    np.testing.assert_array_equal(rows.code, [0, 0, 1, 1])
    np.testing.assert_array_equal(rows.loss, [1.0, 2.0, 3.0, 4.0])
    assert rows.ds is not None
    np.testing.assert_array_equal(rows.ds, np.array(DAYS[:2] * 2, "datetime64[us]"))
    assert rows.left_out == ()


def test_losses_without_times_have_none() -> None:
    rows = read_losses(pl.DataFrame({"id": [7, 3], "l": [1, 2]}), id_column="id", loss_column="l")
    assert rows.ds is None
    assert rows.ids == ("7", "3")
    ignored = read_losses(forecasts(), loss_column="y_hat", ds_column=None)
    assert ignored.ds is None


def test_losses_that_are_no_numbers_are_counted_and_their_stream_stays_known() -> None:
    frame = forecasts().rename({"y_hat": "loss"})
    frame = frame.with_columns(
        loss=pl.Series([np.nan, None, np.inf, 4.0]),
        unique_id=pl.Series(["B", "B", "A", None]),
    )
    rows = read_losses(frame)
    assert rows.ids == ("B", "A")
    assert len(rows.loss) == len(rows.code) == 0
    assert [str(entry) for entry in rows.left_out] == [
        "1 rows: null unique_id (row 4)",
        "2 rows: missing loss (B 2024-01-01 00:00:00, B 2024-01-02 00:00:00)",
        "1 rows: infinite loss (A 2024-01-01 00:00:00)",
    ]


def test_losses_without_a_time_among_times_are_left_out() -> None:
    frame = forecasts(ds=[DAYS[0], None, DAYS[0], DAYS[1]])
    rows = read_losses(frame, loss_column="y_hat")
    assert str(rows.left_out[0]) == "1 rows: null ds (B)"
    np.testing.assert_array_equal(rows.loss, [1.0, 3.0, 4.0])


def test_no_rows_of_losses_are_no_error() -> None:
    rows = read_losses(forecasts().rename({"y_hat": "loss"}).head(0))
    assert rows.ids == ()
    assert rows.loss.shape == (0,)


@pytest.mark.parametrize("column", ["id_column", "loss_column", "ds_column"])
def test_a_missing_column_of_losses_is_named(column: str) -> None:
    with pytest.raises(DataError, match="Column `gone`"):
        read_losses(forecasts().rename({"y_hat": "loss"}), **{column: "gone"})


# --- pairs ---------------------------------------------------------------------------------------


def test_forecasts_meet_their_actuals_in_the_order_of_the_forecasts() -> None:
    rows = read_pairs(forecasts(), actuals().to_pandas())
    assert rows.ids == ("B", "A")
    np.testing.assert_array_equal(rows.code, [0, 0, 1, 1])
    np.testing.assert_array_equal(rows.y, [10.0, 20.0, 30.0, 40.0])
    np.testing.assert_array_equal(rows.y_hat, [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(rows.ds, np.array(DAYS[:2] * 2, "datetime64[us]"))
    assert rows.left_out == ()


def test_the_order_of_the_actuals_changes_nothing() -> None:
    one, other = read_pairs(forecasts(), actuals()), read_pairs(forecasts(), actuals().reverse())
    np.testing.assert_array_equal(one.y, other.y)


def test_forecasts_and_actuals_without_partner_are_counted() -> None:
    late = pl.DataFrame({"unique_id": ["C", "A"], "ds": DAYS[2:], "y": [1.0, 2.0]})
    rows = read_pairs(forecasts(), pl.concat([actuals().head(3), late]))
    assert counts(rows) == {"actual without forecast": 2, "forecast without actual": 1}
    assert rows.left_out[0].examples == ("C 2024-01-03 00:00:00", "A 2024-01-04 00:00:00")
    assert rows.left_out[1].examples == ("B 2024-01-02 00:00:00",)
    np.testing.assert_array_equal(rows.y_hat, [1.0, 3.0, 4.0])


def test_of_duplicates_the_last_row_is_kept_on_both_sides() -> None:
    again = forecasts().head(1).with_columns(y_hat=pl.lit(9.0))
    seen = pl.concat([actuals(), actuals().tail(1).with_columns(y=pl.lit(21.0))])
    rows = read_pairs(pl.concat([forecasts(), again]), seen)
    assert counts(rows) == {
        "duplicate actual (stream, slot)": 1,
        "duplicate forecast (stream, slot)": 1,
    }
    assert sorted(zip(rows.y, rows.y_hat, strict=True)) == [(10, 9), (21, 2), (30, 3), (40, 4)]


def test_the_latest_cutoff_of_a_slot_is_kept_whatever_the_order() -> None:
    first = forecasts(cutoff=[datetime(2023, 12, 31)] * 4)
    older = forecasts(cutoff=[datetime(2023, 12, 30)] * 4).with_columns(y_hat=pl.lit(-1.0))
    nameless = forecasts(cutoff=[None] * 4).with_columns(pl.col("cutoff").cast(pl.Datetime("us")))
    again = first.head(1).with_columns(y_hat=pl.lit(5.0))
    rows = read_pairs(pl.concat([first, older, nameless, again]), actuals())
    assert counts(rows) == {
        "duplicate forecast (stream, slot)": 1,
        "older forecast of the same slot": 8,
    }
    assert sorted(rows.y_hat.tolist()) == [2.0, 3.0, 4.0, 5.0]


def test_values_that_are_no_numbers_are_counted_once() -> None:
    made = forecasts().with_columns(y_hat=pl.Series([np.nan, np.inf, 3.0, 4.0]))
    seen = actuals().with_columns(y=pl.Series([None, -np.inf, 10.0, 20.0]))
    rows = read_pairs(made, seen)
    assert counts(rows) == {
        "missing y_hat": 1,
        "infinite y_hat": 1,
        "missing y": 1,
        "infinite y": 1,
    }
    assert rows.ids == ("B", "A")
    assert len(rows.y) == 0


def test_rows_without_key_are_counted_on_both_sides() -> None:
    made = forecasts(unique_id=[None, "B", "A", "A"], ds=[DAYS[0], DAYS[1], None, DAYS[1]])
    seen = actuals().with_columns(unique_id=pl.Series([None, "A", "B", "B"]))
    rows = read_pairs(made, seen)
    assert counts(rows) == {"null unique_id": 2, "null ds": 1, "actual without forecast": 1}
    assert rows.ids == ("B", "A")


def test_a_cross_validation_frame_needs_no_actuals() -> None:
    frame = actuals().with_columns(cutoff=pl.lit(datetime(2023, 12, 31)), Ridge=pl.col("y") - 1)
    wide = frame.with_columns((pl.col("y") + 9).alias("Ridge-hi-90"), note=pl.lit("x"))
    rows = read_pairs(wide)
    np.testing.assert_array_equal(rows.y - rows.y_hat, np.ones(4))


def test_several_columns_that_may_be_the_forecast_are_listed() -> None:
    frame = forecasts().rename({"y_hat": "Ridge"}).with_columns(AutoARIMA=pl.lit(1.0))
    with pytest.raises(DataError, match=r'Ridge, AutoARIMA. Hint: y_hat_column="Ridge"'):
        read_pairs(frame, actuals())
    rows = read_pairs(frame, actuals(), y_hat_column="AutoARIMA")
    np.testing.assert_array_equal(rows.y_hat, np.ones(4))


def test_missing_forecasts_and_missing_actuals_are_named() -> None:
    with pytest.raises(DataError, match=r"Column `y_hat` \(y_hat\) is missing"):
        read_pairs(actuals())
    with pytest.raises(DataError, match=r"Column `gone` \(y_hat\) is missing"):
        read_pairs(forecasts(), actuals(), y_hat_column="gone")
    with pytest.raises(DataError, match=r"Actuals are missing.*no column `y`"):
        read_pairs(forecasts())
    with pytest.raises(DataError, match=r"Column `y` \(y\) is missing"):
        read_pairs(forecasts(), forecasts())


def test_the_hour_that_a_day_has_twice_is_joined_by_its_instant() -> None:
    instants = [datetime(2024, 10, 26, 23, tzinfo=UTC) + timedelta(hours=h) for h in range(4)]
    local = pl.Series(instants).dt.convert_time_zone("Europe/Berlin")
    made = pl.DataFrame({"unique_id": "A", "ds": local, "y_hat": [0.0, 1.0, 2.0, 3.0]})
    seen = pl.DataFrame({"unique_id": "A", "ds": pl.Series(instants), "y": [0.0, 10.0, 20.0, 30.0]})
    rows = read_pairs(made, seen)
    np.testing.assert_array_equal(rows.y, rows.y_hat * 10)
    assert rows.left_out == ()
    assert rows.ds[0] == np.datetime64("2024-10-27T01:00")


def test_a_zone_on_one_side_only_is_refused() -> None:
    zoned = actuals().with_columns(pl.col("ds").dt.replace_time_zone("UTC"))
    with pytest.raises(DataError, match="a zone in the actuals and none in the forecasts"):
        read_pairs(forecasts(), zoned)
    offset = forecasts(ds=["2024-01-01T00:00Z", "2024-01-02T00:00Z"] * 2)
    with pytest.raises(DataError, match="a zone in the forecasts and none in the actuals"):
        read_pairs(offset, actuals())
    np.testing.assert_array_equal(read_pairs(offset, zoned).y, [10.0, 20.0, 30.0, 40.0])


def test_no_forecasts_give_no_pairs() -> None:
    rows = read_pairs(forecasts().head(0), actuals())
    assert rows.ids == ()
    assert counts(rows) == {"actual without forecast": 4}
