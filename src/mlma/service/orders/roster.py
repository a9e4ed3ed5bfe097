"""The roster: names and tags of the streams, and whom an order is about.

Takes the store, gives the streams that fit a selector, or an error that says what is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from threading import Lock

import numpy as np

from mlma.domain.errors import DataError, first_three
from mlma.domain.ledger import Action
from mlma.domain.orders import ORDERS, Selecting
from mlma.domain.selectors import Selector
from mlma.ports.store import Store

_AT_ONCE = 1000
_SEARCHED = 5_000
_LISTED = 10
_READ = (*ORDERS, "tags")

Tags = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The streams of a moment.

    names, row
        by row of the registry, and the row of each name.
    tags
        values by stream, by name of the tag.
    """

    names: Sequence[str]
    row: Mapping[str, int]
    tags: Tags

    def fitting(self, selector: Selector) -> tuple[str, ...]:
        """Return the streams that fit a selector, by row.

        Raises
        ------
        DataError
            A name is unknown, or nobody fits.
        """
        self._check_names(selector.unique_ids)
        at = np.flatnonzero(selector.mask(self.names, self.tags)).tolist()
        if not at:
            raise self._nobody(selector)
        return tuple(self.names[row] for row in at)

    def of(self, order: Selecting) -> tuple[str, ...]:
        """Return the streams that an order is about.

        Raises
        ------
        DataError
            A name is unknown, nobody fits, or everybody does and that is not confirmed.
        """
        names = self.fitting(order.selector)
        asks = len(names) == len(self.names) and (len(names) > 1 or order.selector.everything)
        if asks and not order.everything:
            raise DataError(
                f"`{order.kind}` is about all {len(names):,} streams ({order.selector.text}). "
                f"Expected a selector that leaves some out, or a confirmation. "
                f"Hint: everything = true, if it is meant so."
            )
        return names

    def _check_names(self, wanted: Sequence[str]) -> None:
        unknown = [name for name in wanted if name not in self.row]
        if not unknown:
            return
        near = get_close_matches(unknown[0], self.names[:_SEARCHED], n=1)
        hint = f" Hint: did you mean `{near[0]}`?" if near else ""
        raise DataError(
            f"{len(unknown)} of the named streams are not known: {first_three(unknown)}. Expected "
            f"names of streams that were pushed or pulled before.{hint}"
        )

    def _nobody(self, selector: Selector) -> DataError:
        for tag in selector.tags:
            name, _, value = tag.partition("=")
            if name not in self.tags:
                return _unknown(f"No stream has a tag `{name[:80]}`", name, self.tags)
            values = set(self.tags[name].values())
            if value not in values:
                return _unknown(f"No stream has {tag[:160]}", value, values)
        return DataError(
            f"No stream fits: {selector.text[:200]}. Expected at least one of "
            f"{len(self.names):,} streams. Hint: leave a part of the selector out."
        )


def _unknown(what: str, got: str, known: "Mapping[str, object] | set[str]") -> DataError:
    names = sorted(known)
    listed = ", ".join(names[:_LISTED]) + (" ..." if len(names) > _LISTED else "")
    near = get_close_matches(got, names[:_SEARCHED], n=1)
    hint = f" Hint: did you mean `{near[0]}`?" if near else ""
    return DataError(f"{what}. Known: {listed or '(none)'}.{hint}")


class Roster:
    """Reads names, tags and orders from the store, and keeps what it has read."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, Lock()
        self._names: list[str] = []
        self._row: dict[str, int] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._orders: list[Action] = []
        self._seen = 0

    def read(self) -> tuple[Fleet, tuple[Action, ...]]:
        """Return the streams as they are now, and all orders that are recorded, by number."""
        with self._lock:
            self._take_names()
            self._take_actions()
            return Fleet(tuple(self._names), dict(self._row), self._tags), tuple(self._orders)

    def _take_names(self) -> None:
        for name in self._store.streams(len(self._names)):
            self._row[name] = len(self._names)
            self._names.append(name)

    def _take_actions(self) -> None:
        while new := self._store.actions(kind=_READ, start=self._seen + 1, limit=_AT_ONCE):
            self._seen = new[-1].number
            self._orders += [one for one in new if one.kind in ORDERS]
            for action in new:
                if action.kind == "tags":
                    self._tags = _laid_over(self._tags, action.payload["tags"])


def _laid_over(old: dict[str, dict[str, str]], new: Tags) -> dict[str, dict[str, str]]:
    """Return tags with new values; who reads the old ones keeps them."""
    return {**old, **{name: {**old.get(name, {}), **values} for name, values in new.items()}}
