"""Rows of losses, and of forecasts with their actuals, as they were read for one cycle.

Takes nothing, gives what the cycle is laid out from. Next is `mlma.steps.lay`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.leftovers import LeftOut

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]
Times64 = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class LossRows:
    """Pointwise losses, one row each, in the order of the source.

    ids
        distinct ids in the order of their first row; also those whose losses were all left out.
    code
        ``(n_rows,) int64``, place in ``ids``.
    ds
        ``(n_rows,) datetime64[us]``, wall clock; None where the source has no times.
    loss
        ``(n_rows,) float64``, finite.
    """

    ids: tuple[str, ...]
    code: Codes
    ds: Times64 | None
    loss: Floats
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class PairRows:
    """Forecasts with their actuals, one row each, in the order of the forecasts.

    ids
        distinct ids of the forecasts in the order of their first row; also those without a pair.
    code
        ``(n_rows,) int64``, place in ``ids``.
    ds
        ``(n_rows,) datetime64[us]``, wall clock.
    y, y_hat
        ``(n_rows,) float64``, finite.
    """

    ids: tuple[str, ...]
    code: Codes
    ds: Times64
    y: Floats
    y_hat: Floats
    left_out: tuple[LeftOut, ...]
