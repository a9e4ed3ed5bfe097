"""Evidently: one report per stream and batch, and one report with a hundred streams as columns.

Timed from two data frames in hand to the values of the report.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Regression, Report
from evidently.metrics import MAE, ValueDrift
from peers import NEW, REFERENCE, Call, Row, losses

COLUMNS = 100


def rows() -> Iterator[Row]:
    yield Row("ValueDrift", lambda rng: _drift(rng, 1))
    yield Row(
        f"ValueDrift, {COLUMNS} streams as columns", lambda rng: _drift(rng, COLUMNS), COLUMNS
    )
    yield Row("MAE", _error)


def _drift(rng: np.random.Generator, streams: int) -> Call:
    names = [f"stream_{number}" for number in range(streams)]
    old, new = (
        pd.DataFrame(losses(rng, slots, streams), columns=names) for slots in (REFERENCE, NEW)
    )
    columns = DataDefinition(numerical_columns=names)
    metrics = [ValueDrift(column=name) for name in names]
    return lambda: _values(metrics, new, old, columns)


def _error(rng: np.random.Generator) -> Call:
    old, new = _forecasts(rng, REFERENCE), _forecasts(rng, NEW)
    roles = [Regression(target="y", prediction="y_hat")]
    columns = DataDefinition(numerical_columns=["y", "y_hat"], regression=roles)
    return lambda: _values([MAE()], new, old, columns)


def _forecasts(rng: np.random.Generator, slots: int) -> pd.DataFrame:
    y = losses(rng, slots)
    return pd.DataFrame({"y": y, "y_hat": y + rng.normal(size=slots)})


def _values(
    metrics: list[Any], new: pd.DataFrame, old: pd.DataFrame, columns: DataDefinition
) -> Any:
    made = [Dataset.from_pandas(frame, data_definition=columns) for frame in (new, old)]
    return Report(metrics).run(*made).dict()
