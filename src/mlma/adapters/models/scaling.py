"""Units taken out of a training window, so that regularisation does not depend on them.

Takes the design matrix and the targets of a window, gives both in units of the window. Next is the
fit; a forecast goes the other way.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.features import Features, training_rows
from mlma.domain.errors import ModelError
from mlma.domain.streams import Series

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    """The usable rows of a window, scaled.

    X
        ``(n_rows, p) float64``, a copy; columns divided by ``columns``.
    y
        ``(n_rows,) float64`` without NaN, divided by ``unit``.
    unit
        mean absolute deviation of the targets from their mean; the mean absolute target where that
        is (all but) zero; 1 where both are.
    columns
        ``(p,) float64``: ``unit`` for lags and levels, the like for exogenous columns, 1 for the
        calendar.
    rows
        ``(n_batches * slots,) bool``, the rows of the window that are used.
    """

    X: Floats
    y: Floats
    unit: float
    columns: Floats
    rows: NDArray[np.bool_]


def training_window(features: Features, series: Series, first: int, last: int) -> TrainingWindow:
    """Return batches ``first`` to ``last - 1`` as a model is trained on them.

    Raises
    ------
    ModelError
        No row has a target.
    """
    rows = training_rows(series, features, first, last)
    if not rows.any():
        raise ModelError(
            f"No usable row for stream `{series.unique_id}` in batches {first} to {last - 1}. "
            f"Expected at least one observed value. Hint: a longer window."
        )
    X = features.matrix(series, first, last)
    y = series.y[first:last].ravel()
    if not rows.all():
        X, y = X[rows], y[rows]
    unit = _unit(y)
    columns = np.ones(X.shape[1])
    own = features.n_own(series.grid)
    columns[:own] = unit
    for column in range(own, own + series.exogenous.shape[-1]):
        columns[column] = _unit(X[:, column])
    return TrainingWindow(X / columns, y / unit, unit, columns, rows)


def _unit(values: Floats) -> float:
    """Return the mean absolute deviation, or what stands in for it; never 0, NaN ignored."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 1.0
    level = float(np.abs(finite).mean())
    spread = float(np.abs(finite - finite.mean()).mean())
    return spread if spread > 1e-9 * level else level or 1.0
