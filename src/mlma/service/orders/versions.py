"""Versions of streams that are live, and whether the model of a former one is there still.

Takes a store, gives numbers as the agent counts them: each deployment of a stream has the next one.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from mlma.ports.store import Store

_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+:")


class Versions:
    """Versions of some streams; ``row`` are their rows of the registry."""

    def __init__(self, store: Store, row: Mapping[str, int]) -> None:
        self._store, self._row = store, row

    def live(self, name: str) -> int:
        """Return the number of the version that is live; 0 = the stream was never judged."""
        return self._of("stream.version", name) + self._pending.get(name, 0)

    def cycle(self, name: str) -> int:
        """Return in how many cycles a stream was seen."""
        return self._of("stream.cycle", name)

    def unseen(self, name: str) -> bool:
        """Return whether a version went live that no cycle has judged yet."""
        return name in self._pending

    def _of(self, column: str, name: str) -> int:
        values, row = self._columns.get(column), self._row[name]
        return 0 if values is None or row >= len(values) else int(values[row])

    @cached_property
    def _columns(self) -> dict[str, NDArray[np.int32]]:
        snapshot = self._store.snapshot()
        if snapshot is None:
            return {}
        return {name: snapshot.columns[name] for name in ("stream.version", "stream.cycle")}

    @cached_property
    def _pending(self) -> dict[str, int]:
        """How often streams were deployed since the newest cycle."""
        waiting: dict[str, int] = defaultdict(int)
        for action in self._store.actions(pending=True, kind="deployed"):
            for name in action.payload["unique_ids"]:
                waiting[name] += 1
        return waiting


def gone(artefact: str) -> bool:
    """Return whether a model is a file or folder of this machine that is not there any more.

    What is called otherwise is the matter of whoever trains.

    >>> gone("/no/such/folder/model.pkl"), gone("s3://models/7"), gone("model 7")
    (True, False, False)
    """
    path = _path(artefact)
    if path is None:
        return False
    try:
        return not path.exists()
    except (OSError, ValueError):
        return True


def _path(artefact: str) -> Path | None:
    if artefact.lower().startswith("file:"):
        parts = urlsplit(artefact)
        return Path(unquote(parts.path)) if parts.netloc in {"", "localhost"} else None
    if _SCHEME.match(artefact):
        return None
    return Path(artefact) if artefact.startswith(("/", "./", "../")) else None


def all_gone(artefacts: Mapping[str, str]) -> Sequence[str]:
    """Return the streams whose model is gone; each file is looked at once."""
    looked = {one: gone(one) for one in set(artefacts.values())}
    return [name for name, one in artefacts.items() if looked[one]]
