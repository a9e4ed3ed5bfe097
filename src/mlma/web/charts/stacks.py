"""Stacks: shares that add up, as bars on one another."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mlma.web.charts.layers import Bars

Floats = NDArray[np.float64]


def stacked(parts: Mapping[str, Floats], *, css: str = "fill-") -> list[Bars]:
    """Return the parts as bars on one another, the first at the bottom.

    ``css`` and the name of a part make its class.

    >>> [one.css for one in stacked({"healthy": np.array([0.9]), "degraded": np.array([0.1])})]
    ['fill-healthy', 'fill-degraded']
    """
    made, base = [], None
    for name, values in parts.items():
        told = np.nan_to_num(values)
        made.append(Bars(told, f"{css}{name}", base))
        base = told if base is None else base + told
    return made
