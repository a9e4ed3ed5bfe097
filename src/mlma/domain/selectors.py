"""Selectors: which streams an action, an event, an alert or a listing is about.

Takes names and tags of the streams, gives those that fit. Next are orders, pages and alerts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import DataError

Bools = NDArray[np.bool_]
Tags = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Selector:
    """Streams that fit all of this; one that says nothing selects every stream.

    tags
        ``name=value``: a stream has all of them.
    search
        part of the name, in small or capital letters.
    unique_ids
        one of these streams; empty = any.

    >>> Selector(tags=("city=Ghent",), search="bike").text
    'city=Ghent, name has "bike"'
    """

    tags: tuple[str, ...] = ()
    search: str = ""
    unique_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for tag in self.tags:
            if not tag.partition("=")[1]:
                raise DataError(f"`tags` must be name=value. Got {tag[:80]!r}. Hint: city=Ghent.")

    @property
    def everything(self) -> bool:
        """Whether it leaves nothing out, whatever the streams are."""
        return not (self.tags or self.search or self.unique_ids)

    @property
    def text(self) -> str:
        """The selector in words."""
        told = list(self.tags)
        if self.search:
            told.append(f'name has "{self.search}"')
        if self.unique_ids:
            n = len(self.unique_ids)
            told.append(self.unique_ids[0] if n == 1 else f"{n} named streams")
        return ", ".join(told) or "every stream"

    def mask(self, names: Sequence[str], tags: Tags) -> Bools:
        """Return which streams fit, ``(n_streams,) bool``; an unknown name or tag fits nobody."""
        fits = np.ones(len(names), dtype=np.bool_)
        if self.unique_ids:
            fits &= _among(names, set(self.unique_ids))
        for tag in self.tags:
            name, _, value = tag.partition("=")
            members = {one for one, own in tags.get(name, {}).items() if own == value}
            fits &= _among(names, members)
        if self.search:
            wanted = self.search.lower()
            has = [wanted in name.lower() for name in names]
            fits &= np.array(has, dtype=np.bool_).reshape(len(names))
        return fits

    def plain(self) -> dict[str, Any]:
        """Return it in plain values, what it does not say left out."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Selector":
        """Return the selector that `plain` wrote."""
        return cls(
            tags=tuple(plain.get("tags", ())),
            search=str(plain.get("search", "")),
            unique_ids=tuple(plain.get("unique_ids", ())),
        )


def _among(names: Sequence[str], wanted: set[str]) -> Bools:
    return np.array([name in wanted for name in names], dtype=np.bool_).reshape(len(names))
