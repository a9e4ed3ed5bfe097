"""The desk of both sides in the policy lab: incidents, counted alike, and minutes.

Takes each cycle as it was and as it would have been, gives the work that it made for a person. The
real side is laid out anew too: no person acts on either, and who trains is left out on both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.agent.incidents import DeskView, incidents_after, known_since
from mlma.agent.judging import Registered
from mlma.agent.watch import Watch
from mlma.domain.groups import Groups
from mlma.domain.incidents import Incident
from mlma.domain.labour import Labour, LabourModel
from mlma.domain.ledger import CycleEntry
from mlma.domain.periods import Periods
from mlma.steps.labour import played_labour
from mlma.steps.trace import Traces

Ints = NDArray[np.int64]


@dataclass(slots=True)
class _Half:
    """Incidents of one side, by id, and what is remembered of its streams."""

    traces: Traces = field(default_factory=lambda: Traces.new(0))
    current: dict[str, Incident] = field(default_factory=dict)
    every: dict[str, Incident] = field(default_factory=dict)


class LabDesk:
    """Lays the cycles of both sides out.

    Parameters
    ----------
    registered
        names and tags of the streams, and what is said of batches; it changes as cycles go on.
    watch
        by which groups are made, on both sides.
    """

    def __init__(self, registered: Registered, periods: Periods, watch: Watch) -> None:
        self._registered, self._periods, self._watch = registered, periods, watch
        self._real, self._tried = _Half(), _Half()
        self._seen = np.zeros(0, dtype=np.int64)

    def take(self, real: CycleEntry, tried: CycleEntry) -> None:
        """Take a cycle: as it was, and as it would have been."""
        self._seen = np.union1d(self._seen, real.streams)
        groups = self._registered.groups(self._seen, self._seen, self._watch)
        for half, entry in ((self._real, real), (self._tried, tried)):
            self._lay(half, entry, groups)

    def work(
        self,
        model: LabourModel,
        streams: int,
        weeks: float,
        retrainings: tuple[int, int],
        monitored: tuple[bool, bool],
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return incidents and minutes of the real and of the tried side, in plain values.

        ``retrainings`` and ``monitored`` (the policy looks at losses) are of both sides.
        """
        halves = (self._real, self._tried)
        real, tried = (
            _plain(
                played_labour(
                    list(half.every.values()),
                    streams,
                    weeks,
                    model,
                    retrainings=fits,
                    monitored=looks,
                )
            )
            for half, fits, looks in zip(halves, retrainings, monitored, strict=True)
        )
        return real, tried

    def _lay(self, half: _Half, entry: CycleEntry, groups: Groups) -> None:
        registered = self._registered
        view = DeskView(
            names=registered.names,
            tags=registered.tags,
            seen=self._seen,
            groups=groups,
            standing=registered.book.notes,
            periods=self._periods,
            traces=half.traces.widened(len(registered.names)),
        )
        first_judged = replace(entry, info=replace(entry.info, revision=0))
        laid = incidents_after(tuple(half.current.values()), (first_judged,), view)
        made = {one.id: one for one in laid.incidents}
        half.traces = laid.traces
        half.every.update(made)
        since = known_since(entry.info.cycle + 1)
        half.current = {
            key: one
            for key, one in (half.current | made).items()
            if one.unfinished or max(one.updated_cycle, one.closed_cycle or 0) >= since
        }


def _plain(labour: Labour) -> dict[str, Any]:
    return {
        "incidents": labour.incidents,
        "incidents_by_kind": dict(labour.incidents_by_kind),
        "minutes": labour.minutes,
    }
