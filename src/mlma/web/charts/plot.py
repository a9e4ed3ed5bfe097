"""Plot: layers over time, with axes, as one SVG that fits whatever width it is given.

Lines and bars lie on a sheet that is stretched; texts and marks lie over it, placed in per cent, so
that letters keep their size. Room for the axes is the padding of the chart, in the style sheet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from mlma.web.charts.layers import HEIGHT, WIDTH, Frame, Layer, Times, markup, short
from mlma.web.charts.ticks import as_datetime, decimals, number_ticks, time_ticks

_ROOM = 0.04
"""Of the time, left free at both ends."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How heights are told.

    zero
        zero belongs to the axis.
    percent
        numbers are shares.
    signed
        with a plus sign.
    lowest, highest
        bounds of the axis; None = what the layers need.
    base
        a height at which a stronger line is drawn; None = zero, where it is on the axis.
    text
        how a height is written; None = as a number.
    """

    zero: bool = False
    percent: bool = False
    signed: bool = False
    lowest: float | None = None
    highest: float | None = None
    base: float | None = None
    text: Callable[[float], str] | None = None


def plot(
    title: str,
    told: str,
    times: Times,
    layers: Sequence[Layer],
    *,
    scale: Scale | None = None,
    tips: Sequence[str] = (),
    bars: bool = False,
    css: str = "",
) -> Markup:
    """Return a chart.

    Parameters
    ----------
    title, told
        name of the chart, and what it shows in a sentence: both are read out.
    times
        ``(n,) datetime64``, ascending.
    tips
        what is shown on pointing at each time.
    bars
        room for half a bar is left at both ends.
    """
    scale = scale or Scale()
    ticks = _ticks(layers, scale)
    frame = _frame(times, ticks, bars)
    inside = [
        *_rules(frame, ticks, scale),
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" width="100%" '
        'height="100%">',
        *(one.sheet(frame) for one in layers),
        "</svg>",
        *(one.over(frame) for one in layers),
        *_tips(frame, tips),
        *_times(frame),
    ]
    return markup(
        [
            f'<svg class="{escape(f"plot {css}".strip())}" role="img" width="100%" height="220">',
            f"<title>{escape(title)}</title><desc>{escape(told)}</desc>",
            *inside,
            "</svg>",
        ]
    )


def _ticks(layers: Sequence[Layer], scale: Scale) -> list[float]:
    reach = np.concatenate([np.zeros(0), *(np.asarray(one.reach()) for one in layers)])
    reach = reach[np.isfinite(reach)]
    low, high = (float(reach.min()), float(reach.max())) if len(reach) else (0.0, 1.0)
    if scale.zero:
        low, high = min(low, 0.0), max(high, 0.0)
    low = low if scale.lowest is None else scale.lowest
    high = high if scale.highest is None else scale.highest
    if high - low < 1e-9 * max(abs(high), 1e-9):
        low, high = (0.0, high * 1.25) if low > 0 else (low, low + 1.0)
    return number_ticks(low, high)


def _frame(times: Times, ticks: list[float], bars: bool) -> Frame:
    times = times.astype("datetime64[us]")
    first, last = (times[0], times[-1]) if len(times) else (np.datetime64(0, "us"),) * 2
    room = (last - first) / max(len(times) - 1, 1) * 0.55 if bars else (last - first) * 0.0
    room = room.astype("timedelta64[us]")
    return Frame(times, first - room, last + room, ticks[0], ticks[-1])


def _rules(frame: Frame, ticks: list[float], scale: Scale) -> list[str]:
    places = decimals([100 * one for one in ticks] if scale.percent else ticks)
    heights = frame.y(np.array(ticks)) * 100
    base = 0.0 if scale.base is None else scale.base
    made = []
    for value, height in zip(ticks, heights, strict=True):
        y, css = short(float(height)), "rule zero" if value == base else "rule"
        made.append(f'<line class="{css}" x1="0" x2="100%" y1="{y}%" y2="{y}%"/>')
        made.append(
            f'<text class="tick" x="-8" y="{y}%" dy="4" text-anchor="end">'
            f"{escape(_written(value, places, scale))}</text>"
        )
    return made


def _written(value: float, places: int, scale: Scale) -> str:
    if scale.text is not None:
        return scale.text(value)
    shown = 100 * value if scale.percent else value
    sign = "+" if scale.signed and shown > 0 else ""
    text = f"{sign}{shown:,.{places}f}{' %' if scale.percent else ''}"
    return text.replace("-", "\u2212")


def _times(frame: Frame) -> list[str]:
    if not len(frame.times):
        return []
    first, last = as_datetime(frame.first), as_datetime(frame.last)
    ticks = time_ticks(first, last) if last > first else [(first, f"{first:%d %b %Y}")]
    at = frame.x(np.array([time for time, _ in ticks], dtype="datetime64[us]")) * 100
    made = []
    for number, (x, (_, text)) in enumerate(zip(at, ticks, strict=True)):
        css = "tick odd" if number % 2 else "tick"
        anchor = "start" if x < 4 else "end" if x > 96 else "middle"
        made.append(
            f'<line class="frame" x1="{short(x)}%" x2="{short(x)}%" y1="100%" y2="100%" '
            'stroke-width="1"/>'
            f'<text class="{css}" x="{short(x)}%" y="100%" dy="18" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )
    return made


def _tips(frame: Frame, tips: Sequence[str]) -> list[str]:
    """Return a column over each time that shows its text to whoever points at it."""
    if not len(frame.times) or not tips:
        return []
    x = frame.x(frame.times) * 100
    middles = (x[1:] + x[:-1]) / 2
    left = np.concatenate([[0.0], middles])
    right = np.concatenate([middles, [100.0]])
    return [
        f'<rect class="tip" x="{_exact(a)}%" y="0" width="{_exact(b - a)}%" height="100%">'
        f"<title>{escape(text)}</title></rect>"
        for a, b, text in zip(left, right, tips, strict=True)
    ]


def _exact(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"
