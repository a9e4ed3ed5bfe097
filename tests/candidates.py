"""Streams that ask a budget for a re-training, by hand."""

import numpy as np

from mlma.domain.verdicts import Reason
from mlma.steps.budget import Candidates


def candidates(n, **columns):
    """Return ``n`` streams that all ask by alarm, alike but for the columns that are given."""
    yes, one = np.ones(n, dtype=bool), np.ones(n)
    made = {
        "key": np.arange(n, dtype=np.uint64),
        "age": np.full(n, 10, dtype=np.int32),
        "asks": yes,
        "healed": ~yes,
        "idle": ~yes,
        "reason": np.full(n, Reason.ALARM, dtype=np.int8),
        "gain": 0.1 * one,
        "level": one,
        "usefulness": one,
        "evidence": one,
    }
    for name, column in columns.items():
        made[name] = np.asarray(column).astype(made[name].dtype)
    return Candidates(**made)
