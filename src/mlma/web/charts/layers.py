"""Layers: what is drawn into a plot. Each tells how high it reaches, and draws itself.

Heights are in the units of the data; the plot hands in the `Frame` that places them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

WIDTH, HEIGHT = 1000.0, 300.0
"""Units of the sheet that the lines are drawn on; it is stretched to the size of the chart."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where data lie: times from ``first`` to ``last``, numbers from ``low`` to ``high``."""

    times: Times
    first: np.datetime64
    last: np.datetime64
    low: float
    high: float

    def x(self, times: Times) -> Floats:
        """Return places between left (0) and right (1); all in the middle where time stands."""
        span = (self.last - self.first).astype("timedelta64[us]").astype(np.float64)
        since = (times - self.first).astype("timedelta64[us]").astype(np.float64)
        return since / span if span > 0 else np.full(len(times), 0.5)

    def y(self, values: Floats) -> Floats:
        """Return places between top (0) and bottom (1); what lies beyond is cut off."""
        return np.clip((self.high - values) / (self.high - self.low), 0.0, 1.0)


class Layer(Protocol):
    """Something to draw over the times of a plot."""

    def reach(self) -> Floats:
        """Return the numbers that have to fit."""
        ...

    def sheet(self, frame: Frame) -> str:
        """Return what is drawn on the stretched sheet."""
        ...

    def over(self, frame: Frame) -> str:
        """Return what is drawn over it, undistorted."""
        ...


@dataclass(frozen=True)
class Blank:
    """Base of layers: one that draws nothing and reaches nowhere."""

    def reach(self) -> Floats:
        """Return the numbers that have to fit."""
        return np.zeros(0)

    def sheet(self, frame: Frame) -> str:
        """Return what is drawn on the stretched sheet."""
        del frame
        return ""

    def over(self, frame: Frame) -> str:
        """Return what is drawn over it, undistorted."""
        del frame
        return ""


@dataclass(frozen=True)
class Line(Blank):
    """A line; NaN is a gap, and a number between two gaps a dot."""

    values: Floats
    css: str = ""

    def reach(self) -> Floats:
        """Return the numbers that have to fit."""
        return self.values

    def sheet(self, frame: Frame) -> str:
        """Return the line."""
        path = line_path(frame.x(frame.times), frame.y(self.values), np.isfinite(self.values))
        return f'<path class="{_css("line", self.css)}" d="{path}"/>' if path else ""

    def over(self, frame: Frame) -> str:
        """Return dots for numbers that stand alone: a line of one point would not be seen."""
        told = np.isfinite(self.values)
        beside = np.zeros(len(told) + 2, dtype=np.bool_)
        beside[1:-1] = told
        alone = told & ~beside[:-2] & ~beside[2:]
        return Dots(np.where(alone, self.values, np.nan), self.css).over(frame)


@dataclass(frozen=True)
class Band(Blank):
    """What lies between two lines; NaN is a gap."""

    lower: Floats
    upper: Floats
    css: str = ""

    def reach(self) -> Floats:
        """Return the numbers that have to fit."""
        return np.concatenate([self.lower, self.upper])

    def sheet(self, frame: Frame) -> str:
        """Return the band."""
        told = np.isfinite(self.lower) & np.isfinite(self.upper)
        x, low, high = frame.x(frame.times), frame.y(self.lower), frame.y(self.upper)
        parts = [_polygon(x[run], high[run], low[run]) for run in runs(told)]
        return f'<path class="{_css("band", self.css)}" d="{"".join(parts)}"/>' if parts else ""


@dataclass(frozen=True)
class Bars(Blank):
    """Bars from zero, or from ``base`` up: those of a stack stand on one another."""

    values: Floats
    css: str = ""
    base: Floats | None = None

    def reach(self) -> Floats:
        """Return the numbers that have to fit."""
        return np.concatenate([np.zeros(1), self._top()])

    def _top(self) -> Floats:
        return self.values if self.base is None else self.values + self.base

    def sheet(self, frame: Frame) -> str:
        """Return the bars, in one path."""
        base = np.zeros(len(self.values)) if self.base is None else self.base
        there = np.isfinite(self.values) & (self.values != 0)
        centre, half = frame.x(frame.times) * WIDTH, _half(frame)
        top, low = frame.y(self._top()) * HEIGHT, frame.y(base) * HEIGHT
        wide = f"h{short(2 * half)}"
        made = [
            f"M{short(x - half)} {short(bottom)}V{short(upper)}{wide}V{short(bottom)}z"
            for x, upper, bottom in zip(centre[there], top[there], low[there], strict=True)
        ]
        return f'<path class="{_css("bar", self.css)}" d="{"".join(made)}"/>' if made else ""


@dataclass(frozen=True)
class Dots(Blank):
    """Dots; NaN is none."""

    values: Floats
    css: str = ""

    def reach(self) -> Floats:
        """Return the numbers that have to fit."""
        return self.values

    def over(self, frame: Frame) -> str:
        """Return the dots."""
        x, y = frame.x(frame.times) * 100, frame.y(self.values) * 100
        css = _css("dot", self.css)
        return "".join(
            f'<circle class="{css}" cx="{short(x[at])}%" cy="{short(y[at])}%" r="2.6"/>'
            for at in np.flatnonzero(np.isfinite(self.values))
        )


@dataclass(frozen=True)
class Limit(Blank):
    """A level line with its name at the right."""

    value: float
    text: str = ""
    css: str = "limit"
    fits: bool = True

    def reach(self) -> Floats:
        """Return the level, where it has to fit."""
        return np.array([self.value]) if self.fits else np.zeros(0)

    def over(self, frame: Frame) -> str:
        """Return the level; nothing where it lies beyond the frame."""
        if not frame.low <= self.value <= frame.high:
            return ""
        y = short(float(frame.y(np.array([self.value]))[0]) * 100)
        line = f'<line class="{escape(self.css)}" x1="0" x2="100%" y1="{y}%" y2="{y}%"/>'
        if not self.text:
            return line
        text = escape(self.text)
        return f'{line}<text class="told" x="4" y="{y}%" dy="-5">{text}</text>'


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a time; ``text`` is shown on pointing at it."""

    at: np.datetime64
    text: str
    css: str = ""


@dataclass(frozen=True)
class Marks(Blank):
    """Things that happened: heads at the top of the plot, of a shape for each kind."""

    marks: Sequence[Mark] = field(default=())

    def over(self, frame: Frame) -> str:
        """Return the marks that lie within the plot."""
        seen = [one for one in self.marks if frame.first <= one.at <= frame.last]
        if not seen:
            return ""
        x = frame.x(np.array([one.at for one in seen])) * 100
        return "".join(_mark(one, float(at)) for one, at in zip(seen, x, strict=True))


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time that is not as usual."""

    begins: np.datetime64
    ends: np.datetime64
    text: str


@dataclass(frozen=True)
class Spans(Blank):
    """Stretches of time, from top to bottom of the plot."""

    spans: Sequence[Span] = field(default=())

    def over(self, frame: Frame) -> str:
        """Return the stretches as far as they lie within the plot."""
        made = []
        for one in self.spans:
            if one.ends < frame.first or one.begins > frame.last:
                continue
            ends = np.array([one.begins, one.ends], dtype="datetime64[us]")
            left, right = np.clip(frame.x(ends), 0.0, 1.0) * 100
            wide = short(max(right - left, 0.3))
            made.append(
                f'<rect class="span" x="{short(left)}%" y="0" width="{wide}%" height="100%">'
                f"<title>{escape(one.text)}</title></rect>"
            )
        return "".join(made)


def line_path(x: Floats, y: Floats, told: NDArray[np.bool_]) -> str:
    """Return the path of a line with gaps, ``x`` and ``y`` between 0 and 1."""
    parts = []
    for run in runs(told):
        along, down = x[run] * WIDTH, y[run] * HEIGHT
        points = [f"{short(a)} {short(b)}" for a, b in zip(along, down, strict=True)]
        if len(points) > 1:
            parts.append(f"M{points[0]}L{' '.join(points[1:])}")
    return "".join(parts)


def runs(told: NDArray[np.bool_]) -> list[slice]:
    """Return the runs of what is told.

    >>> runs(np.array([True, True, False, True]))
    [slice(0, 2, None), slice(3, 4, None)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], told, [False]]).astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def markup(parts: Sequence[str]) -> Markup:
    """Return pieces of SVG, each of which was escaped where it was made, as one."""
    return Markup("".join(parts))


_HEADS = {
    "alarm": "M0-5 5 4H-5z",
    "retrain": "M-4-5 5 0-4 5z",
    "held": "M-4-4H-1V4H-4zM1-4H4V4H1z",
    "event": "M0-5 5 0 0 5-5 0z",
    "": "M-4-4H4V4H-4z",
}


def _mark(one: Mark, x: float) -> str:
    head = _HEADS.get(one.css, _HEADS[""])
    return (
        f'<g><line class="mark" x1="{short(x)}%" x2="{short(x)}%" y1="0" y2="100%"/>'
        f'<svg x="{short(x)}%" y="0" overflow="visible" width="1" height="1">'
        f'<path class="{_css("mark-head", one.css)}" d="{head}"><title>{escape(one.text)}</title>'
        "</path></svg></g>"
    )


def _polygon(x: Floats, high: Floats, low: Floats) -> str:
    if len(x) == 1:  # a band of one batch: as wide as can be seen
        x = np.array([x[0] - 0.004, x[0] + 0.004])
        high, low = np.repeat(high, 2), np.repeat(low, 2)
    xs, ys = np.concatenate([x, x[::-1]]), np.concatenate([high, low[::-1]])
    points = [f"{short(a)} {short(b)}" for a, b in zip(xs * WIDTH, ys * HEIGHT, strict=True)]
    return f"M{points[0]}L{' '.join(points[1:])}z"


def _half(frame: Frame) -> float:
    """Return half the width of a bar."""
    n = len(frame.times)
    return 14.0 if n < 2 else min(0.4 * WIDTH / (n - 1), 14.0)


def _css(first: str, more: str) -> str:
    return str(escape(f"{first} {more}".strip()))


def short(value: float) -> str:
    """Return a number of a path in as few characters as tell it.

    >>> short(12.0), short(0.126), short(-0.04)
    ('12', '.1', '0')
    """
    text = f"{value:.1f}".removesuffix(".0")
    if text.startswith("0."):
        return text[1:]
    return "0" if text == "-0" else text
