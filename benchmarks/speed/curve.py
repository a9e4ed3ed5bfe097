"""A small SVG of cost curves, streams against seconds, both logarithmic.

Takes curves, gives the text of a picture that reads on light and on dark ground. Dots and solid
lines are measured, dashed lines extrapolated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 800, 500
LEFT, RIGHT, TOP, BOTTOM = 76, 246, 56, 52
LABEL_GAP = 15

COLOURS = (
    "#8a8f98",
    "#1f8f5f",
    "#2f7de1",
    "#c2571a",
    "#b0417f",
    "#8a6fd1",
    "#a8860b",
    "#d23b3b",
    "#0f8b8d",
)

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #3d444d }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d5d9df; stroke-width: 1 }
.line { fill: none; stroke-width: 2 }
.guess { stroke-dasharray: 5 4 }
@media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } .grid { stroke: #3a414b } }
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """Seconds by number of streams; ``measured`` says for each point whether it was measured."""

    name: str
    streams: tuple[float, ...]
    seconds: tuple[float, ...]
    measured: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """Decades that the picture spans."""

    x: tuple[int, int]
    y: tuple[int, int]

    def across(self, streams: float) -> float:
        low, high = self.x
        return LEFT + (log10(streams) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def down(self, seconds: float) -> float:
        low, high = self.y
        return HEIGHT - BOTTOM - (log10(seconds) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def picture(curves: Sequence[Curve], title: str) -> str:
    """Return the SVG."""
    frame = frame_of(curves)
    places = label_places([frame.down(curve.seconds[-1]) for curve in curves])
    parts = [*_grid(frame)]
    for number, (curve, place) in enumerate(zip(curves, places, strict=True)):
        parts += _drawn(curve, frame, COLOURS[number % len(COLOURS)], place)
    head = [
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
        f'<text x="{LEFT}" y="43">dots: measured; dashed: extrapolated in proportion</text>',
    ]
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    label = f'role="img" aria-label="{escape(title)}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>'
    return "\n".join([start, f"<style>{STYLE}</style>", *head, *parts, "</svg>", ""])


def frame_of(curves: Sequence[Curve]) -> Frame:
    """Return the decades that hold all points."""
    streams = [log10(x) for curve in curves for x in curve.streams]
    seconds = [log10(y) for curve in curves for y in curve.seconds]
    return Frame(_decades(streams), _decades(seconds))


def _decades(logs: Sequence[float]) -> tuple[int, int]:
    low, high = floor(min(logs)), ceil(max(logs))
    return low, max(high, low + 1)


def label_places(wanted: Sequence[float]) -> list[float]:
    """Return heights of labels near the wanted ones, `LABEL_GAP` apart and inside the picture."""
    places, lowest = list(wanted), HEIGHT - BOTTOM + LABEL_GAP / 2
    rising = sorted(range(len(wanted)), key=lambda one: -wanted[one])
    for one in rising:
        places[one] = min(places[one], lowest)
        lowest = places[one] - LABEL_GAP
    return places


def _grid(frame: Frame) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    drawn = []
    for power in range(frame.x[0], frame.x[1] + 1):
        x = frame.across(10.0**power)
        drawn.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
        place = f'x="{x:.1f}" y="{bottom + 18}" text-anchor="middle"'
        drawn.append(f"<text {place}>{10**power:,}</text>")
    for power in range(frame.y[0], frame.y[1] + 1):
        y = frame.down(10.0**power)
        drawn.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        text = _seconds(power)
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    middle = (LEFT + right) / 2
    drawn.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">streams</text>')
    return drawn


def _seconds(power: int) -> str:
    """Return ten to this power in seconds, in words."""
    if power >= 0:
        return f"{10**power:,} s"
    return f"{10 ** (power + 3):g} ms" if power >= -3 else f"{10 ** (power + 6):g} µs"


def _drawn(curve: Curve, frame: Frame, colour: str, label: float) -> list[str]:
    points = [
        (frame.across(x), frame.down(y)) for x, y in zip(curve.streams, curve.seconds, strict=True)
    ]
    drawn = []
    for at in range(len(points) - 1):
        (x, y), (x2, y2) = points[at], points[at + 1]
        kind = "line" if curve.measured[at] and curve.measured[at + 1] else "line guess"
        path = f"M{x:.1f} {y:.1f}L{x2:.1f} {y2:.1f}"
        drawn.append(f'<path class="{kind}" stroke="{colour}" d="{path}"/>')
    for (x, y), told in zip(points, curve.measured, strict=True):
        if told:
            drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
    x, y = points[-1]
    drawn.append(
        f'<path class="line" style="stroke-width:1" stroke="{colour}" '
        f'd="M{x + 5:.1f} {y:.1f}L{x + 14:.1f} {label:.1f}"/>'
    )
    name = escape(curve.name)
    drawn.append(f'<text x="{x + 18:.1f}" y="{label + 4:.1f}" style="fill:{colour}">{name}</text>')
    return drawn
