"""The streams of the store by name: which row of the registry a name has.

Takes names, gives rows; registers new names where that is allowed. Used by everything that writes
rows: the ingestor and the feeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from threading import Lock
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import DataError, first_three
from mlma.ports import Store

Rows32 = NDArray[np.int32]

UNKNOWN = -1
"""Row of a name that is not registered."""


class UnknownStreamsError(DataError):
    """Rows name streams that are not registered, and may not be."""

    def __init__(self, message: str, names: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.names = tuple(names)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Rows of the registry, ``(n_names,) int32``, and how many names were new to it."""

    rows: Rows32
    new: int


class StreamRows:
    """The registry of the store in memory; other instances may extend the store's at any time.

    Parameters
    ----------
    unknown
        whether new names are registered or refused.
    max_streams
        most streams that may be registered.
    """

    def __init__(
        self,
        store: Store,
        *,
        unknown: Literal["register", "refuse"] = "register",
        max_streams: int = 1_000_000,
    ) -> None:
        self._store, self._unknown, self._max = store, unknown, max_streams
        self._row: dict[str, int] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._row)

    def find(self, names: Sequence[str]) -> Rows32:
        """Return the row of each name as far as this instance knows, `UNKNOWN` = none."""
        found = map(self._row.get, names, repeat(UNKNOWN))
        return np.fromiter(found, dtype=np.int32, count=len(names))

    def refresh(self) -> None:
        """Read the streams that were registered since."""
        with self._lock:
            self._read()

    def admit(self, groups: Sequence[Sequence[str]]) -> list[Admitted | UnknownStreamsError]:
        """Return the rows of several groups of names, or why a group is refused.

        New names of all groups are registered together; names of a group are distinct.

        Raises
        ------
        StoreError
            The store could not be asked; nothing was registered, or the names are there without
            rows, which does no harm.
        """
        with self._lock:
            if any((self.find(names) == UNKNOWN).any() for names in groups):
                self._read()
            answers = self._registered(groups)
        return [
            Admitted(self.find(names), answer) if isinstance(answer, int) else answer
            for names, answer in zip(groups, answers, strict=True)
        ]

    def _registered(self, groups: Sequence[Sequence[str]]) -> list[int | UnknownStreamsError]:
        """Register what may be; return how many names of each group are new, or its refusal."""
        fresh: dict[str, None] = {}
        answers: list[int | UnknownStreamsError] = []
        for names in groups:
            missing = [names[at] for at in np.flatnonzero(self.find(names) == UNKNOWN).tolist()]
            new = [name for name in missing if name not in fresh]
            refusal = self._refusal(missing, len(self) + len(fresh) + len(new))
            if refusal is None:
                fresh |= dict.fromkeys(new)
            answers.append(len(new) if refusal is None else refusal)
        if fresh:
            self._store.register(list(fresh))
            self._read()
        return answers

    def _refusal(self, missing: Sequence[str], total: int) -> UnknownStreamsError | None:
        if not missing:
            return None
        if self._unknown == "refuse":
            return UnknownStreamsError(
                f"`unique_id` names {len(missing)} streams that are not registered: "
                f"{first_three(missing)}. Nothing of it was stored. "
                f'Hint: `unknown = "register"` of `[streams]` takes new streams as they come.',
                missing,
            )
        if total > self._max:
            return UnknownStreamsError(
                f"`unique_id` names {len(missing)} new streams: {first_three(missing)}. With them "
                f"there would be {total}, expected at most {self._max}. Nothing of it was stored. "
                f"Hint: `max` of `[streams]`.",
                missing,
            )
        return None

    def _read(self) -> None:
        start = len(self._row)
        names = self._store.streams(start)
        self._row.update(zip(names, range(start, start + len(names)), strict=True))
