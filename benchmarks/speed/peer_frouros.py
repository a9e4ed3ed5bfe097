"""Frouros: a test of two samples, and two detectors that take one loss after another."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from frouros.detectors.concept_drift import ADWIN, PageHinkley
from frouros.detectors.data_drift import KSTest
from peers import NEW, REFERENCE, Call, Row, losses


def rows() -> Iterator[Row]:
    yield Row("KS", _two_samples)
    yield Row("PageHinkley", _prepared(PageHinkley))
    yield Row("ADWIN", _prepared(ADWIN))


def _two_samples(rng: np.random.Generator) -> Call:
    detector = KSTest()
    detector.fit(X=losses(rng, REFERENCE))
    new = losses(rng, NEW)
    return lambda: detector.compare(X=new)


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
        detector.update(value=value)
        found |= detector.drift
    return found
