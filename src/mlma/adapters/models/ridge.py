"""A linear model as its coefficients: forecasts by one product, held-out forecasts for free.

Takes scikit-learn's fitted `Ridge`, gives a model version that pickles to a few hundred bytes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.features import Features
from mlma.adapters.models.scaling import training_window
from mlma.domain.errors import ModelError
from mlma.domain.streams import Series

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FittedRidge:
    """A ridge regression of one stream.

    ``weights``, ``(p,) float64``, and ``intercept`` act on unscaled features; ``alpha`` acted on
    scaled ones. ``first`` and ``last`` bound the training window, in batches.
    """

    features: Features
    weights: Floats
    intercept: float
    alpha: float
    first: int
    last: int

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return forecasts of batches ``first`` to ``last - 1``, ``(last - first, slots)``."""
        X = self.features.matrix(series, first, last)
        return (X @ self.weights + self.intercept).reshape(last - first, -1)

    def held_out(self, series: Series, first: int, last: int) -> Floats:
        """Return forecasts of training batches, each by the fit without that batch.

        ``(last - first, slots) float64``. The block form of Allen (1974): leaving out batch ``b``
        takes ``Z_b' Z_b`` off the normal equations; one small solve per batch, no new fit. Equal to
        a re-fit that keeps the scale of the whole window. NaN = no row remains without this batch.

        Raises
        ------
        ModelError
            A batch lies outside the training window.
        """
        if not self.first <= first < last <= self.last:
            raise ModelError(
                f"`held_out` covers the training window, batches {self.first} to {self.last - 1}. "
                f"Got {first} to {last - 1}."
            )
        window = training_window(self.features, series, self.first, self.last)
        # The intercept is not penalised, so a constant taken off every column changes nothing
        # but the condition of the equations.
        centre, level = window.X.mean(axis=0), float(window.y.mean())
        rows = len(window.rows) // (self.last - self.first)
        inside = slice((first - self.first) * rows, (last - self.first) * rows)
        X = self.features.matrix(series, first, last) / window.columns - centre
        Z = np.concatenate([np.ones((len(X), 1)), X], axis=1).reshape(last - first, rows, -1)
        used = window.rows[inside].reshape(last - first, rows)
        y = np.where(used, series.y[first:last] / window.unit - level, 0.0)
        coefficients = self._without_each(window.X - centre, window.y - level, Z, used, y)
        out = np.einsum("bsp,bp->bs", Z, coefficients)
        return np.asarray((out + level) * window.unit)

    def _without_each(
        self, X: Floats, y: Floats, Z: Floats, used: NDArray[np.bool_], left_out: Floats
    ) -> Floats:
        """Return the coefficients without each batch, ``(n, p + 1) float64``, intercept first."""
        whole = np.concatenate([np.ones((len(X), 1)), X], axis=1)
        penalty = np.full(whole.shape[1], self.alpha)
        penalty[0] = 0.0
        Z = np.where(used[:, :, None], Z, 0.0)
        ZT = Z.transpose(0, 2, 1)
        gram = whole.T @ whole + np.diag(penalty) - ZT @ Z
        moment = whole.T @ y - (ZT @ left_out[:, :, None])[:, :, 0]
        alone = used.sum(axis=1) == len(X)
        gram[alone] = np.eye(len(penalty))
        moment[alone] = np.nan
        return np.asarray(np.linalg.solve(gram, moment[:, :, None])[:, :, 0])
