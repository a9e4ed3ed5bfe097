"""Schedules: when the policies that do not look at losses re-train.

One rule for the live agent and the replay: a batch's number since the stream's first one decides.
"""

import numpy as np
from numpy.typing import NDArray

from mlma.domain.chance import uniforms
from mlma.domain.policy import Policy
from mlma.domain.settings import Always, Never, Periodic, Random

Bools = NDArray[np.bool_]

_PHASE_DRAW = -1


def scheduled(
    policy: Policy, keys: NDArray[np.uint64], number: NDArray[np.int64], seed: int
) -> Bools:
    """Return where a new version is due before batch ``number`` (1 = the second one).

    ``keys (n_streams,)``, ``number (n_streams,)``; ``number`` 0 is the first version, which is no
    re-training: never due.

    >>> from mlma.domain.chance import stream_keys
    >>> keys = stream_keys(["a"] * 6)
    >>> scheduled(Periodic(every=2, phase=1), keys, np.arange(6), seed=0).astype(int).tolist()
    [0, 1, 0, 1, 0, 1]
    """
    if isinstance(policy, Always):
        return number > 0
    if isinstance(policy, Random):
        return (uniforms(seed, keys, number) < policy.rate) & (number > 0)
    if isinstance(policy, Periodic):
        return _periodic(policy, keys, number, seed) & (number > 0)
    if isinstance(policy, Never):
        return np.zeros(len(number), dtype=np.bool_)
    raise TypeError(f"{policy!r} has no schedule")


def _periodic(
    policy: Periodic, keys: NDArray[np.uint64], number: NDArray[np.int64], seed: int
) -> Bools:
    if policy.phase == "random":
        elapsed = uniforms(seed, keys, _PHASE_DRAW) * policy.every
    else:
        elapsed = np.full(len(keys), float(-int(policy.phase)) % policy.every)
    turns = np.floor((number + elapsed) / policy.every)
    return turns > np.floor((number - 1 + elapsed) / policy.every)
