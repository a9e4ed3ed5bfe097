"""Charts: SVG made on the server, without a script and without a style of their own.

`plot` draws layers over time, `sparkline` a trend in a line of text. Numbers are binned before they
are drawn (`binned`), so that a page stays small however long a history is.
"""

from mlma.web.charts.bins import Bins, bins_of
from mlma.web.charts.layers import (
    Band,
    Bars,
    Blank,
    Dots,
    Layer,
    Limit,
    Line,
    Mark,
    Marks,
    Span,
    Spans,
)
from mlma.web.charts.plot import Scale, plot
from mlma.web.charts.sparks import sparkline
from mlma.web.charts.stacks import stacked

__all__ = [
    "Band",
    "Bars",
    "Bins",
    "Blank",
    "Dots",
    "Layer",
    "Limit",
    "Line",
    "Mark",
    "Marks",
    "Scale",
    "Span",
    "Spans",
    "bins_of",
    "plot",
    "sparkline",
    "stacked",
]
