"""The deployment log: what was in production for which stream, from when on, and why.

Takes events, adds them as one more file that is never changed; gives the events of a stream or of
all. The last event at or before a time is the answer for that time; among events of the same time
the one that was written last counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from mlma.adapters.artefacts.commits import commit_time, is_commit
from mlma.adapters.artefacts.files import Files
from mlma.adapters.artefacts.lines import Row, needle, sealed, unsealed
from mlma.domain.versions import Deployment

FOLDER, SUFFIX = "log", ".jsonl"


@dataclass(slots=True)
class DeploymentLog:
    """The events of a store; ``damaged`` collects, in words, what could not be read."""

    files: Files
    damaged: list[str]

    def add(self, events: Iterable[Deployment], commit: str) -> None:
        """Write events as one file; streams of one version in a row share a line."""
        same = groupby(events, key=lambda e: (e.action, e.version, e.sha256, e.at, e.reason))
        rows = [_row(list(group)) for _, group in same]
        self.files.write(f"{FOLDER}/{commit}{SUFFIX}", [sealed(rows)])

    def events(self, stream: str | None = None) -> list[Deployment]:
        """Return the events of one stream or of all, by time; of one time, as written."""
        found: list[Deployment] = []
        for name in self.files.names(FOLDER, SUFFIX):
            found += self._of_file(name, stream)
        return sorted(found, key=lambda event: event.at)  # keeps the order of equal times

    def _of_file(self, name: str, stream: str | None) -> list[Deployment]:
        place, commit = f"{FOLDER}/{name}", name.removesuffix(SUFFIX)
        if not is_commit(commit):
            self.damaged.append(f"{place} (not the name of a commit)")
            return []
        wanted = b"" if stream is None else needle(stream)
        lines = unsealed(self.files.read(place) or b"", place, wanted)
        self.damaged += lines.damaged
        found: list[Deployment] = []
        for number, row in lines.rows:
            try:
                found += _events(row, commit_time(commit), stream)
            except (KeyError, TypeError, ValueError) as error:
                self.damaged.append(f"line {number} of {place} ({error})")
        return found


def current(events: Iterable[Deployment], at: datetime | None) -> dict[str, Deployment]:
    """Return the last event of each stream at or before ``at``; events come by time."""
    found: dict[str, Deployment] = {}
    for event in events:
        if at is None or event.at <= at:
            found[event.stream] = event
    return found


def before_current(events: Iterable[Deployment]) -> Deployment | None:
    """Return the deployment that a roll back of this stream returns to; None = there is none.

    A roll back takes off all that came after its version, so that two of them go back twice.
    """
    stack: list[Deployment] = []
    for event in events:
        if event.action == "roll_back":
            while stack and stack[-1].version != event.version:
                stack.pop()
        elif not stack or stack[-1].version != event.version:
            stack.append(event)
    earlier = [event for event in stack[:-1] if event.version is not None]
    return earlier[-1] if earlier else None


def _row(group: list[Deployment]) -> Row:
    row = group[0].to_dict()
    del row["recorded_at"], row["stream"]
    return {**row, "streams": [event.stream for event in group]}


def _events(row: Row, recorded_at: datetime, stream: str | None) -> list[Deployment]:
    at = datetime.fromisoformat(row["at"])
    shared: dict[str, Any] = {name: row[name] for name in ("action", "version", "reason", "sha256")}
    names = row["streams"] if stream is None else [n for n in row["streams"] if n == stream]
    return [Deployment(stream=n, at=at, recorded_at=recorded_at, **shared) for n in names]
