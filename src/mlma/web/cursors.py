"""Cursors: where the next page starts, as a text that nobody needs to read.

Takes the numbers that a listing goes on from, gives a text for the address of the next page.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from mlma.web.errors import RefusedError

MOST_ROWS = 10_000
HIGHEST = 2**53


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page is wanted: how many rows at most, and where it starts; None = at the start."""

    limit: int
    cursor: str | None = None

    def place(self, listing: str, numbers: int) -> tuple[int, ...] | None:
        """Return the numbers of the cursor; see `place`."""
        return place(listing, self.cursor, numbers)


def _paging(
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS, description="Most rows of the page.")] = 100,
    cursor: Annotated[
        str | None,
        Query(max_length=200, description="`next` of the page before; absent for the first page."),
    ] = None,
) -> Paging:
    return Paging(limit, cursor)


Paged = Annotated[Paging, Depends(_paging)]


def cursor(listing: str, *at: int) -> str:
    """Return the cursor of a listing at some numbers.

    >>> place("streams", cursor("streams", 41), 1)
    (41,)
    """
    text = json.dumps([listing, *at], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place(listing: str, text: str | None, numbers: int) -> tuple[int, ...] | None:
    """Return the numbers that `cursor` wrote; None where there is no cursor.

    Raises
    ------
    RefusedError
        It is no cursor of this listing.
    """
    if text is None:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        name, *at = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise _foreign(listing) from None
    sound = all(type(one) is int and 0 <= one <= HIGHEST for one in at)
    if name != listing or len(at) != numbers or not sound:
        raise _foreign(listing)
    return tuple(at)


def _foreign(listing: str) -> RefusedError:
    return RefusedError(
        422,
        f"`cursor` must come from `next` of a page of {listing}.",
        column="cursor",
        hint="leave it out for the first page",
    )
