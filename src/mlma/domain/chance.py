"""Chance without state: reproducible numbers from a seed, a stream and a counter.

A stream's draws do not depend on which other streams are there, on their order, or on how often
the agent was saved and loaded in between.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def stream_keys(ids: Iterable[str]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each name, ``(n_streams,) uint64``."""
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids]
    return np.frombuffer(b"".join(digests), dtype=np.uint64).copy()


def uniforms(seed: int, keys: NDArray[np.uint64], counter: ArrayLike) -> NDArray[np.float64]:
    """Return one number in [0, 1) per stream, ``(n_streams,) float64``.

    The output function of SplitMix64 (Steele, Lea, Flood 2014) on a mix of the three.

    >>> a = uniforms(0, stream_keys(["north", "south"]), 3)
    >>> b = uniforms(0, stream_keys(["south"]), 3)
    >>> bool(a[1] == b[0])
    True
    """
    count = np.asarray(counter).astype(np.uint64)
    with np.errstate(over="ignore"):
        state = keys ^ _mixed(np.uint64(seed % 2**64) + _GOLDEN)
        state = _mixed(state + _GOLDEN * (count + np.uint64(1)))
    return (state >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mixed(word: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(word ^ (word >> np.uint64(31)))
