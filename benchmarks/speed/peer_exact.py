"""Our own tests on single losses, vectorised, one thread; the default policy does not use them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from peers import NEW, REFERENCE, Call, Row

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.stats import sample_tests

AT_ONCE = 100_000
TESTS = {"Mann-Whitney": sample_tests.mann_whitney, "KS": sample_tests.ks}


def rows() -> Iterator[Row]:
    for name, test in TESTS.items():
        yield Row(f"{name}, single losses", lambda rng, test=test: _prepared(rng, test), AT_ONCE)


def _prepared(rng: np.random.Generator, test: Any) -> Call:
    days = REFERENCE // NEW
    old = rng.standard_exponential((AT_ONCE, days, NEW), dtype=np.float32)
    new = rng.standard_exponential((AT_ONCE, NEW), dtype=np.float32)
    calendar = np.zeros((AT_ONCE, days), dtype=np.int8)
    reference = ReferenceBatch(old.mean(axis=2, dtype=np.float64), calendar, old)
    incoming = LossBatch(new, calendar[:, 0])
    return lambda: test(incoming, reference, "greater")
