"""River: detectors that take one loss after another, with the settings they come with."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from peers import NEW, REFERENCE, Call, Row, losses
from river import drift

DETECTORS: dict[str, Callable[[], Any]] = {
    "PageHinkley": drift.PageHinkley,
    "ADWIN": drift.ADWIN,
    "KSWIN": partial(drift.KSWIN, seed=0),
}


def rows() -> Iterator[Row]:
    for name, detector in DETECTORS.items():
        yield Row(name, _prepared(detector))


def _prepared(make: Callable[[], Any]) -> Callable[[np.random.Generator], Call]:
    def prepare(rng: np.random.Generator) -> Call:
        detector = make()
        _feed(detector, losses(rng, REFERENCE).tolist())
        new = losses(rng, NEW).tolist()
        return lambda: _feed(detector, new)

    return prepare


def _feed(detector: Any, values: list[float]) -> bool:
    found = False
    for value in values:
        detector.update(value)
        found |= detector.drift_detected
    return found
