"""Sheets: what a page shows, as CSV for a spreadsheet."""

import polars as pl
from fastapi.responses import Response

from mlma.web.tables import as_csv


def csv_of(frame: pl.DataFrame, name: str) -> Response:
    """Return a frame as a file; text that a spreadsheet would take for a formula is disarmed."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(as_csv(frame), media_type="text/csv; charset=utf-8", headers=headers)
