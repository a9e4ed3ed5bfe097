"""Groups of streams: the fleet, and what a tag divides it into.

Takes tags, gives dense codes. Next is the assessment, which takes what a group has in common apart
from what a stream has for itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]

FLEET = "fleet"

FEWEST_IN_GROUP = 8
"""A median of fewer streams says too little of what they have in common."""


@dataclass(frozen=True, slots=True)
class Division:
    """One way to divide the streams: the whole fleet, or the values of a tag.

    names
        of the groups, such as ``city=Ghent``.
    codes
        ``(n_streams,) int32``, group of each stream; -1 = in none.
    """

    names: tuple[str, ...]
    codes: Codes

    def rows(self, at: NDArray[np.int64]) -> "Division":
        """Return the division of some streams."""
        return Division(self.names, self.codes[at])


@dataclass(frozen=True, slots=True)
class Groups:
    """The divisions of a fleet, the coarsest first.

    ``divisions`` leave out the fleet itself, which is always there.
    """

    n_streams: int
    divisions: tuple[Division, ...] = ()

    def rows(self, at: NDArray[np.int64]) -> "Groups":
        """Return the groups of some streams."""
        return Groups(len(at), tuple(one.rows(at) for one in self.divisions))

    def names(self) -> tuple[str, ...]:
        """Return the names of all groups, the fleet first."""
        return (FLEET, *(name for one in self.divisions for name in one.names))


def groups_of(n_streams: int, tags: Mapping[str, Sequence[str | None]]) -> Groups:
    """Return the groups that tags make; the tag with the fewest values comes first.

    A tag whose groups all have fewer than eight streams divides too finely and is left out; a
    stream without a value is in no group of that tag.

    >>> groups_of(9, {"city": ["Ghent"] * 9}).names()
    ('fleet', 'city=Ghent')
    """
    made = [_division(name, values) for name, values in tags.items()]
    kept = [one for one in made if one.names]
    return Groups(n_streams, tuple(sorted(kept, key=lambda one: len(one.names))))


def _division(tag: str, values: Sequence[str | None]) -> Division:
    array = np.array(["" if value is None else str(value) for value in values], dtype=object)
    names, codes, sizes = np.unique(array, return_inverse=True, return_counts=True)
    large = (sizes >= FEWEST_IN_GROUP) & (names != "")
    place = np.where(large, np.cumsum(large) - 1, -1).astype(np.int32)
    kept = tuple(f"{tag}={name}" for name in names[large])
    return Division(kept, place[codes])
