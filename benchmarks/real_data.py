"""Where the real streams lie: a folder ``shared/data`` beside the checkout, or MLMA_DATA."""

import os
from pathlib import Path

NAMES = {
    "auckland": "auckland_pedestrians_hourly.parquet",
    "muenster": "muenster_bikes_15min.parquet",
    "departures": "us_flights_2001h1_departures_hourly.parquet",
}


def real_files() -> dict[str, Path]:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLMA_DATA", beside))
    return {name: folder / file for name, file in NAMES.items() if (folder / file).exists()}
