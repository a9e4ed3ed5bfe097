"""Group: streams with a common cause are told as one.

Takes which streams are in trouble and how tags divide the fleet, gives the scopes that fit them
best. Pure; no result depends on the order of the streams. Next is `mlma.agent.incidents`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.groups import FEWEST_IN_GROUP, FLEET, Groups

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MOST = 0.5
"""A group is meant when at least so much of it is in trouble."""

SAME = 0.5
"""Two groups tell of one cause when they share so much of what is hit in the smaller one."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Streams that are told as one.

    name
        ``fleet``, ``tag=value``, or empty: they have no tag in common.
    rows
        ascending.
    """

    name: str
    rows: Ints


@dataclass(frozen=True, slots=True)
class Spot:
    """A finding that is open: its scope, since which cycle, and whom it concerns.

    members, hit
        ``(n_streams,) bool``: streams of the scope, and those of them that are hit now.
    """

    scope: str
    since: int
    members: Bools
    hit: Bools


def scopes(rows: Ints, there: Bools, groups: Groups, fewest: int = FEWEST_IN_GROUP) -> list[Scope]:
    """Return the scopes of the streams ``rows``; together they hold each of them once.

    Of the groups of which at least half is among them, and at least ``fewest`` streams, the one
    that has most of them comes first, of equals the smallest. ``there (n_streams,)`` are the
    streams that a group consists of. What is in no such group is left as the last scope, without a
    name.
    """
    left = np.zeros(len(there), dtype=np.bool_)
    left[rows] = True
    made: list[Scope] = []
    while left.any():
        found = _largest(left, there | left, groups, fewest)
        if found is None:
            break
        name, members = found
        made.append(Scope(name, np.flatnonzero(left & members)))
        left &= ~members
    rest = np.flatnonzero(left)
    return [*made, Scope("", rest)] if len(rest) else made


def _largest(left: Bools, there: Bools, groups: Groups, fewest: int) -> tuple[str, Bools] | None:
    """Return the group that holds most of what is left, and its members."""
    size, hit = int(there.sum()), int(left.sum())
    if hit >= max(fewest, MOST * size):
        return FLEET, np.ones(len(left), dtype=np.bool_)
    best: tuple[int, int, str] | None = None
    members = left
    for division in groups.divisions:
        n = len(division.names)
        inside = division.codes >= 0
        hits = np.bincount(division.codes[left & inside], minlength=n)
        sizes = np.bincount(division.codes[there & inside], minlength=n)
        for at in np.flatnonzero(hits >= np.maximum(fewest, MOST * sizes)):
            found = (-int(hits[at]), int(sizes[at]), division.names[at])
            if best is None or found < best:
                best, members = found, np.asarray(division.codes == at)
    return None if best is None else (best[2], members)


def clusters(spots: Sequence[Spot]) -> list[list[Spot]]:
    """Return spots that tell of one cause together, the best fitting scope of each first.

    Two of them do where they share at least half of the streams that are hit in the smaller one.
    """
    made: list[list[Spot]] = []
    for spot in sorted(spots, key=lambda one: (-int(one.hit.sum()), one.scope)):
        home = [one for one in made if any(same(spot.hit, other.hit) for other in one)]
        joined = [spot, *(other for one in home for other in one)]
        made = [one for one in made if not any(one is other for other in home)]
        made.append(joined)
    return [sorted(one, key=lambda spot: _misfit(spot, one)) for one in made]


def same(one: Bools, other: Bools) -> bool:
    """Return whether two sets of hit streams are of one cause."""
    fewer = min(int(one.sum()), int(other.sum()))
    return fewer > 0 and int((one & other).sum()) >= SAME * fewer


def _misfit(spot: Spot, cluster: Sequence[Spot]) -> tuple[float, int, str]:
    """Return how badly a scope fits what is hit: 0 = each stream of it and no other one is."""
    hit = np.logical_or.reduce([one.hit for one in cluster])
    either = int((hit | spot.members).sum())
    shared = int((hit & spot.members).sum())
    return (1 - shared / max(either, 1), int(spot.members.sum()), spot.scope)


def members_of(scope: str, groups: Groups) -> Bools:
    """Return which streams are in a scope, ``(n_streams,)``; of an unknown one: none."""
    if scope == FLEET:
        return np.ones(groups.n_streams, dtype=np.bool_)
    for division in groups.divisions:
        if scope in division.names:
            return np.asarray(division.codes == division.names.index(scope))
    return np.zeros(groups.n_streams, dtype=np.bool_)
