"""`scipy.stats`: three tests of two samples, stream by stream and along an axis."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from peers import NEW, REFERENCE, Call, Row, losses
from scipy import stats

AT_ONCE = 2_000

TESTS: dict[str, Callable[..., Any]] = {
    "Welch": partial(stats.ttest_ind, equal_var=False, alternative="greater"),
    "Mann-Whitney": partial(stats.mannwhitneyu, alternative="greater", method="asymptotic"),
    "KS": partial(stats.ks_2samp, alternative="less", method="asymp"),
}


def rows() -> Iterator[Row]:
    for name, test in TESTS.items():
        yield Row(f"{name}, axis=1", _prepared(test, AT_ONCE), AT_ONCE)
    for name, test in TESTS.items():
        yield Row(f"{name}, in a loop", _prepared(test, 1))


def _prepared(test: Callable[..., Any], at_once: int) -> Callable[[np.random.Generator], Call]:
    def prepare(rng: np.random.Generator) -> Call:
        new, old = losses(rng, at_once, NEW), losses(rng, at_once, REFERENCE)
        if at_once == 1:
            return lambda: test(new[0], old[0])
        return lambda: test(new, old, axis=1)

    return prepare
