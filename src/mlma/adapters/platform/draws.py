"""Chance by place: the same numbers for a stream and a slot, whoever asks, in whatever order.

Takes a seed, a thing (stream, area, city, fleet) and a purpose, gives uniforms, normals, or a
generator for a whole block of streams and a day. Two mechanisms:

- single draws per thing hash its number (`mlma.domain.chance.uniforms`);
- draws per slot come from NumPy's Philox with the key (seed, purpose; block, day). Gamma, Poisson
  and normal numbers are made by rejection there, so that a number depends on those before it; hence
  a block of `BLOCK` neighbours is always drawn as a whole, and what was not asked for is cut off.
  That is many times faster than an inverse distribution function per slot.

Numbers are the same to the bit for one version of NumPy, which may improve its generators.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from mlma.domain.chance import uniforms

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

BLOCK = 256
"""Neighbouring streams that are drawn together."""

SHELF = 16 * BLOCK
"""Neighbouring streams whose traits and breaks are made together: many small steps shared."""

_SPREAD = np.uint64(0xD1342543DE82EF95)  # odd: multiplication maps 64 bits one to one
_WORD = 2**64


class Thing(IntEnum):
    """Whose number is hashed: equal numbers of different things have different keys."""

    STREAM = 1
    AREA = 2
    CITY = 3
    FLEET = 4


class Purpose(IntEnum):
    """What a draw is for: equal things have different draws for different purposes."""

    CITY = 1
    AREA_TYPE = 2
    AREA_LEVEL = 3
    STREAM_LEVEL = 4
    PHASE = 5
    ZEROS = 6
    DEAD = 7
    BORN = 8
    BIRTH = 9
    DEATH = 10
    BREAK = 11
    BREAK_START = 12
    BREAK_KIND = 13
    BREAK_SIZE = 14
    BREAK_LENGTH = 15
    GROUP = 16
    GROUP_START = 17
    GROUP_MEMBER = 18
    SHOCK = 19
    SHOCK_LENGTH = 20
    SHOCK_SIGN = 21
    COMMON = 22
    DEMAND = 23
    ARRIVAL = 24
    LOSS = 25
    LOSS_COMMON = 26
    PHI = 27


def keys_of(thing: Thing, numbers: ArrayLike) -> Keys:
    """Return the keys of numbered things, ``uint64``, of the shape of ``numbers``."""
    with np.errstate(over="ignore"):
        return (np.asarray(numbers).astype(np.uint64) + np.uint64(thing << 56)) * _SPREAD


def chances(seed: int, keys: Keys, purpose: Purpose, counter: ArrayLike = 0) -> Floats:
    """Return uniforms in (0, 1) per key and counter, broadcast against each other.

    >>> float(chances(0, keys_of(Thing.STREAM, [7]), Purpose.PHASE)[0]) < 1
    True
    """
    place = np.asarray(counter, dtype=np.int64) + (int(purpose) << 40)
    # Neither 0 nor 1, so that a normal is never infinite and an index never past its end.
    return np.clip(uniforms(seed, keys, place), 2.0**-54, 1 - 2.0**-53)


def normals(seed: int, keys: Keys, purpose: Purpose, counter: ArrayLike = 0) -> Floats:
    """Return standard normals per key and counter, broadcast against each other."""
    made: Floats = ndtri(chances(seed, keys, purpose, counter))
    return made


def generator(seed: int, purpose: Purpose, block: int, day: int) -> np.random.Generator:
    """Return the generator of one block of streams on one day."""
    word = np.array([(seed + (int(purpose) << 56)) % _WORD, (block << 32) | day], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=word))
