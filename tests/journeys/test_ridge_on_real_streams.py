"""Ridge against the seasonal-naive model on real hourly streams."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mlma.adapters.models.guard import checked_fit, checked_predict
from mlma.adapters.models.registry import forecaster_from
from mlma.domain.streams import Grid, Series


def pedestrians(folder: Path, days: int) -> list[Series]:
    """Return the first ``days`` days of every stream that is there and not dead."""
    frame = pl.read_parquet(folder / "auckland_pedestrians_hourly.parquet")
    start = np.datetime64("2019-01-01", "us")
    grid = Grid(start, np.timedelta64(3600 * 10**6, "us"), 24, days)
    streams = []
    for (unique_id,), rows in frame.group_by("unique_id", maintain_order=True):
        y = np.full(days * 24, np.nan)
        slot = ((rows["ds"].to_numpy() - start) // grid.step).astype(int)
        inside = slot < len(y)
        y[slot[inside]] = rows["y"].to_numpy()[inside]
        if np.isfinite(y).mean() > 0.9 and np.nanmean(y) > 1:
            streams.append(
                Series(str(unique_id), grid, y.reshape(days, 24), np.empty((days, 24, 0)))
            )
    return streams


@pytest.mark.shared_data
def test_ridge_beats_the_seasonal_naive_model_on_most_streams(shared_data: Path) -> None:
    ratios = []
    for series in pedestrians(shared_data, days=300):
        errors = {}
        for name in ("ridge", "seasonal_naive"):
            model = forecaster_from(name)
            errors[name] = [
                checked_predict(checked_fit(model, series, b - 84, b, 0), series, b, b + 14)
                - series.y[b : b + 14]
                for b in range(100, 280, 14)
            ]
        means = {name: np.nanmean(np.abs(error)) for name, error in errors.items()}
        if means["seasonal_naive"] > 0:  # a sensor that is dead by then is forecast without error
            ratios.append(means["ridge"] / means["seasonal_naive"])
    assert len(ratios) > 10
    assert np.mean(np.array(ratios) < 0.95) > 0.8
