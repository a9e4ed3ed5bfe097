"""Sparklines: a trend, as high as a line of text."""

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from mlma.web.charts.layers import Frame, line_path, markup

Floats = NDArray[np.float64]


def sparkline(values: Floats, title: str = "", *, width: int = 96, height: int = 22) -> Markup:
    """Return a small line; nothing where fewer than two numbers are known."""
    told = np.isfinite(values)
    if told.sum() < 2:
        return Markup()
    low, high = float(values[told].min()), float(values[told].max())
    low, high = (low, high) if high > low else (low - 1.0, high + 1.0)
    steps = np.arange(len(values)).astype("datetime64[us]")
    frame = Frame(steps, steps[0], steps[-1], low, high)
    path = line_path(frame.x(steps), frame.y(values) * 0.9 + 0.05, told)
    role = 'role="img"' if title else 'aria-hidden="true"'
    name = f"<title>{escape(title)}</title>" if title else ""
    return markup(
        [
            f'<svg class="spark" {role} width="{width}" height="{height}" viewBox="0 0 1000 300" '
            f'preserveAspectRatio="none">{name}<path d="{path}"/></svg>'
        ]
    )
