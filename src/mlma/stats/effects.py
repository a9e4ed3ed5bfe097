"""How large a rise is, how sure that is, and how small a rise could have been seen.

Takes what the test on batch means says, gives an interval and the smallest detectable rise. Next
are the frames that people read.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
POWER = 0.8


def effect_columns(effect: Floats, spread: Floats, df: Floats, level: float) -> dict[str, Floats]:
    """Return the interval of each relative rise, and the smallest rise that would be found.

    ``effect_low`` and ``effect_high`` enclose the relative rise of this batch's expected loss with
    95 % confidence: ``exp(d -+ t s) - 1`` with ``d = log(1 + effect)``, ``s`` its standard error.
    ``detectable`` is the rise that one batch alone would show at ``level`` in eight of ten cases:
    ``exp((t_(1 - level) + t_.8) s) - 1``. All of the shape of ``effect``; NaN = cannot tell. The
    tests on single losses have no such standard error, and give NaN.

    >>> made = effect_columns(np.array([0.1]), np.array([0.1]), np.array([26.0]), 0.001)
    >>> [float(made[name][0].round(2)) for name in ("effect_low", "effect_high", "detectable")]
    [-0.1, 0.35, 0.54]
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rise = np.log1p(effect)
        half = special.stdtrit(df, 0.5 + CONFIDENCE / 2) * spread
        needed = (special.stdtrit(df, 1 - level) + special.stdtrit(df, POWER)) * spread
        return {
            "effect_low": np.expm1(rise - half),
            "effect_high": np.expm1(rise + half),
            "detectable": np.expm1(needed),
        }
