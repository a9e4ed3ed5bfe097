"""Labels beside points that do not cover each other: where each goes, in pixels.

Takes points and texts, gives shifts. Used by the frontier chart.
"""

from collections.abc import Iterator, Sequence

Box = tuple[float, float, float, float]

_LETTER, _LINE = 6.9, 16.0


def placed_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    order: Sequence[int],
    size: tuple[float, float],
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Yield ``(index, (dx, dy))`` in ``order``: the shift of each label's centre from its point.

    ``points`` are shares of the plot, (0, 0) lower left; ``size`` is its width and height in
    pixels; ``dy`` counts downwards. Greedy: a label takes the nearest of its candidate places that
    covers least of the labels and points that are there already.

    >>> [shift for _, shift in placed_labels([(0.5, 0.5)], ["abc"], [0], (300, 200))]
    [(0.0, -16.0)]
    """
    width, height = size
    centres = [(x * width, (1 - y) * height) for x, y in points]
    taken: list[Box] = [(x - 8, y - 8, x + 8, y + 8) for x, y in centres]
    for index in order:
        half = min(_LETTER * len(texts[index]), width) / 2
        shifts = list(_candidates(centres[index], half, width))
        boxes = [_box(centres[index], shift, half) for shift in shifts]
        costs = [_cost(box, taken, height) + place for place, box in enumerate(boxes)]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        yield index, shifts[best]


def _candidates(
    centre: tuple[float, float], half: float, width: float
) -> Iterator[tuple[float, float]]:
    """Yield shifts, near ones first; all keep the label inside the plot from left to right."""
    least, most = half - centre[0], width - half - centre[0]
    for distance in (16.0, 32.0, 50.0, 70.0, 92.0):
        for dy in (-distance, distance):
            for dx in (0.0, half - 6, 6 - half):
                yield (min(max(dx, least), most), dy)
        beside = half + 18
        for dy in (0.0,) if distance == 16.0 else (-distance, distance):
            yield from ((dx, dy) for dx in (beside, -beside) if least <= dx <= most)


def _box(centre: tuple[float, float], shift: tuple[float, float], half: float) -> Box:
    x, y = centre[0] + shift[0], centre[1] + shift[1]
    return (x - half, y - _LINE / 2, x + half, y + _LINE / 2)


def _cost(box: Box, taken: Sequence[Box], height: float) -> float:
    """Return how many square pixels are covered twice, and how far the label leaves the plot."""
    covered = sum(_overlap(box, other) for other in taken)
    outside = max(0.0, -box[1]) + max(0.0, box[3] - height)
    return covered + 100 * outside


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)
