"""Numbered lists, newest first: the store tells them from the oldest on.

Takes a question of the store that goes upwards by number, gives its last entries. Numbers have no
gaps worth speaking of, so the end is found by doubling and halving, and windows go down from there.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

Upwards = Callable[[int, int], Sequence[tuple[int, T]]]
"""Entries with a number of at least ``start``, by number, at most ``limit``."""

_WINDOW = 200


def last_number(upwards: Upwards[T]) -> int:
    """Return the highest number of a list; 0 = it is empty.

    >>> numbered = [(number, "x") for number in range(1, 42)]
    >>> last_number(lambda start, limit: numbered[start - 1 :][:limit])
    41
    """
    if not upwards(1, 1):
        return 0
    low, high = 1, 2
    while upwards(high, 1):
        low, high = high, 2 * high
    while high - low > 1:  # there is one from `low` on, and none from `high` on
        middle = (low + high) // 2
        low, high = (middle, high) if upwards(middle, 1) else (low, middle)
    return low


def newest_first(
    upwards: Upwards[T], before: int | None = None, window: int = _WINDOW
) -> Iterator[tuple[int, T]]:
    """Yield entries with numbers below ``before``, the newest first; None = from the last on.

    >>> numbered = [(number, "x") for number in range(1, 6)]
    >>> [n for n, _ in newest_first(lambda start, limit: numbered[start - 1 :][:limit], 4)]
    [3, 2, 1]
    """
    end = last_number(upwards) + 1  # whoever asks for what is far beyond it gets the last ones
    end = end if before is None else min(before, end)
    while end > 1:
        start = max(end - window, 1)
        found = [entry for entry in upwards(start, end - start) if entry[0] < end]
        yield from reversed(found)
        end = start
