"""From a statistic to a p-value of the side that was asked for. Positive statistics mean worse."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlma.domain.errors import unknown_name

Floats = NDArray[np.float64]

SIDES = ("greater", "two-sided")


def check_side(side: str) -> None:
    """Raise ``SettingsError`` unless ``side`` is ``greater`` or ``two-sided``."""
    if side not in SIDES:
        raise unknown_name("side", side, SIDES)


def student_p(statistic: Floats, df: Floats, side: str) -> Floats:
    """Return Student p-values; NaN where ``statistic`` is NaN.

    >>> float(student_p(np.array([2.0]), np.array([10.0]), "greater").round(4)[0])
    0.0367
    """
    return _p_value(lambda t: special.stdtr(df, t), statistic, side)


def normal_p(statistic: Floats, side: str) -> Floats:
    """Return normal p-values; NaN where ``statistic`` is NaN.

    >>> float(normal_p(np.array([-1.96]), "two-sided").round(3)[0])
    0.05
    """
    return _p_value(special.ndtr, statistic, side)


def _p_value(cdf: Callable[[Floats], Floats], statistic: Floats, side: str) -> Floats:
    check_side(side)
    # The lower tail of a negated statistic, because 1 - cdf loses every p-value below 1e-16.
    upper = -statistic if side == "greater" else -np.abs(statistic)
    return np.asarray(cdf(upper) * (1.0 if side == "greater" else 2.0), dtype=np.float64)
