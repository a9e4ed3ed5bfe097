"""Numbers in words: one way of writing percentages, spans and the verdict of a replay.

Takes figures, gives text that page, terminal and notebook share.
"""

import numpy as np

from mlma.domain.runs import Replayed
from mlma.domain.streams import Grid
from mlma.report.figures import (
    SummaryRow,
    headline,
    matched_loss,
    mean_of_finite,
    relative_loss_of,
    summary_row,
)

NOTHING = "-"
_SAME = 0.0005  # a difference of losses that is none
_SPANS = ((604800, "week"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def percent(share: float) -> str:
    """Return a share as a percentage with about two significant digits.

    >>> percent(0.02838), percent(0.0025), percent(0.483), percent(float("nan"))
    ('2.8 %', '0.25 %', '48 %', '-')
    """
    if not np.isfinite(share) or share == 0:
        return "0 %" if share == 0 else NOTHING
    size = abs(100 * share)
    digits = 0 if size >= 9.95 else 1 if size >= 0.95 or size < 0.0005 else 2
    return f"{100 * share:,.{digits}f} %"


def excess(ratio: float) -> str:
    """Return how far a loss lies above (or below) the one it is divided by.

    >>> excess(1.014), excess(0.98), excess(1.0), excess(12.5)
    ('+1.4 %', '-2.0 %', '0.0 %', '+1,150 %')
    """
    if not np.isfinite(ratio):
        return NOTHING
    size = 100 * abs(ratio - 1)
    if size < 0.05:
        return "0.0 %"
    return f"{'+' if ratio > 1 else '-'}{size:,.{0 if size >= 9.95 else 1}f} %"


def number(value: float) -> str:
    """Return a number with about three significant digits; counts from 100 on are whole.

    >>> number(1234.5), number(18.32), number(0.0712), number(0.0)
    ('1,234', '18.3', '0.07', '0')
    """
    if not np.isfinite(value):
        return NOTHING
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.{1 if abs(value) >= 10 else 2}f}"


def counted(count: float, noun: str) -> str:
    """Return ``count`` with its noun, in the plural where needed.

    >>> counted(1, "stream"), counted(2000, "batch")
    ('1 stream', '2,000 batches')
    """
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number(count)} {noun if count == 1 else plural}"


def batch_span(grid: Grid, batches: int = 1) -> str:
    """Return the length of a batch, or of several, in words.

    >>> day, quarter = np.timedelta64(1, "D"), np.timedelta64(15, "m").astype("timedelta64[us]")
    >>> batch_span(Grid(np.datetime64("2024-01-01", "us"), quarter, slots=96, n_batches=10))
    '1 day'
    """
    return _span(batches * _seconds(grid))


def every_batch(grid: Grid) -> str:
    """Return "every day" for batches of a day, and so on."""
    span = batch_span(grid)
    return f"every {span.removeprefix('1 ')}"


def batches_in_words(batches: float, grid: Grid) -> str:
    """Return a number of batches as a span of time: "38.2 days"."""
    if not np.isfinite(batches):
        return NOTHING
    seconds = batches * _seconds(grid)
    size, unit = (86400, "day") if seconds >= 86400 else (3600, "hour")
    return counted(round(seconds / size, 1), unit)


def _seconds(grid: Grid) -> float:
    return float(grid.batch / np.timedelta64(1, "s"))


def _span(seconds: float) -> str:
    size, unit = next(pair for pair in _SPANS if seconds % pair[0] == 0 or pair[0] == 1)
    return counted(seconds / size, unit)


def verdict_sentence(replayed: Replayed) -> str:
    """Return what the replay found, in one sentence for somebody who reads nothing else."""
    run = headline(replayed)
    streams = counted(len(replayed.ids), "stream")
    if run is None:
        none = "No policy that looks at losses was asked for"
        return f"{none}; this is what the others cost on {streams}."
    row = summary_row(replayed, run)
    if not np.isfinite(row.loss):
        return f"{row.label} has no loss that could be compared with always on {streams}."
    yardstick = f"re-training {every_batch(replayed.grid)}"
    main = (
        f"With {row.label}, {streams} {_distance(row.loss)} {yardstick} "
        f"at {percent(row.fits_share)} of its training runs"
    )
    asides = [_never_aside(replayed, row), _matched_aside(replayed, row)]
    return "; ".join([main, *filter(None, asides)]) + "."


def _distance(loss: float) -> str:
    size = percent(abs(loss - 1))
    if abs(loss - 1) < _SAME:
        return "lost as much as"
    if loss < 1:
        return f"lost {size} less than"
    return f"kept within {size} of" if loss < 1.1 else f"lost {size} more than"


def _never_aside(replayed: Replayed, row: SummaryRow) -> str:
    loss = mean_of_finite(relative_loss_of(replayed, "never"))
    if row.label == "never" or not np.isfinite(loss):
        return ""
    return f"never re-training would have cost {_more_or_less(loss)}{_better(loss, row)}"


def _matched_aside(replayed: Replayed, row: SummaryRow) -> str:
    loss = matched_loss(replayed, replayed.run(row.label))
    if not np.isfinite(loss):
        return ""
    text = f"as many re-trainings without looking at the losses, {_more_or_less(loss)}"
    return text + _better(loss, row)


def _better(loss: float, row: SummaryRow) -> str:
    return " and was the better choice here" if loss < row.loss - _SAME else ""


def _more_or_less(loss: float) -> str:
    return f"{percent(abs(loss - 1))} {'more' if loss >= 1 else 'less'}"
