"""Selectors: which streams a listing is about.

Takes the parameters of a request, gives the rows of the registry that fit all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from fastapi import Depends, Query
from numpy.typing import NDArray

from mlma.web.errors import RefusedError
from mlma.web.reading import ReadingRoom

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class StreamSelector:
    """Streams that have all of these tags, and whose name holds a text."""

    tags: Sequence[str] = ()
    search: str | None = None

    @property
    def any(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.tags or self.search)

    def mask(self, room: ReadingRoom) -> Bools:
        """Return which streams fit, ``(n_streams,) bool``.

        Raises
        ------
        RefusedError
            A tag is not written as ``name=value``, or has no such name.
        """
        names = room.names()
        fits = np.ones(len(names), dtype=np.bool_)
        if self.search:
            found = names.str.to_lowercase().str.contains(self.search.lower(), literal=True)
            fits &= found.to_numpy()
        if self.tags:
            known = room.tags()
            for tag in self.tags:
                fits &= _tagged(tag, known, names)
        return fits


def _tagged(tag: str, known: Mapping[str, Mapping[str, str]], names: pl.Series) -> Bools:
    name, equals, value = tag.partition("=")
    if not equals:
        raise RefusedError(
            422, f"`tag` must be name=value. Got {tag[:80]!r}.", column="tag", hint="tag=city=Ghent"
        )
    if name not in known:
        listed = ", ".join(sorted(known)[:20]) or "(none)"
        raise RefusedError(
            422, f"No stream has a tag `{name[:80]}`. Known: {listed}.", column="tag"
        )
    members = [stream for stream, own in known[name].items() if own == value]
    return names.is_in(pl.Series(members, dtype=pl.String).implode()).to_numpy()


def _selector(
    tag: Annotated[
        list[str] | None,
        Query(max_length=20, description="name=value; a stream must have all that are given."),
    ] = None,
    search: Annotated[
        str | None, Query(max_length=200, description="Part of the name of a stream.")
    ] = None,
) -> StreamSelector:
    return StreamSelector(tuple(tag or ()), search)


Selected = Annotated[StreamSelector, Depends(_selector)]
