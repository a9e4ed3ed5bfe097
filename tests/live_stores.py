"""A live agent's settings and rows for the command line: some streams by the hour, some days."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from mlma.adapters.frames.rows import named_rows
from mlma.service.bootstrap import build
from mlma.service.settings import read_settings

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)

SETTINGS = """
[agent]
slot = "1h"
[store]
url = "sqlite:///mlma.db"
[server]
port = 0
level = "warning"
[scheduler]
every = "1s"
lease = "3s"
"""


def settings_file(more: str = "", path: Path = Path("mlma.toml")) -> Path:
    """Write a file of settings into the working folder."""
    path.write_text(SETTINGS + more)
    return path


def rows(value: str, days: int = 3, streams: int = 3, error: float = 1.0) -> pl.DataFrame:
    """Rows of the days before today, hour by hour."""
    start = TODAY - timedelta(days=days)
    hours = pl.datetime_range(start, TODAY, "1h", closed="left", eager=True)
    level = 0.0 if value == "y" else error
    return pl.concat(
        pl.DataFrame({"unique_id": f"shop-{number}", "ds": hours}).with_columns(
            (pl.int_range(len(hours)) % 24 + number + level).cast(pl.Float64).alias(value)
        )
        for number in range(streams)
    )


def filled(days: int = 3, streams: int = 3, error: float = 1.0, only: str = "") -> None:
    """Push forecasts and actuals into the store of the settings in the working folder."""
    service = build(read_settings(None, {}))
    try:
        for kind, value in (("forecasts", "y_hat"), ("actuals", "y")):
            if only not in ("", kind):
                continue
            frame = rows(value, days, streams, error)
            service.ingestor.submit(named_rows(frame, kind, service.door(), strict=True)).result()
    finally:
        service.stop()
