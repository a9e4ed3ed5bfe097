"""Incidents of a replay: what would have been on the desk under a policy, while nobody acted.

Takes the record of a policy that looks at losses, gives the incidents it would have opened, by the
very step of the live agent (`mlma.agent.incidents`). Next is `mlma.steps.labour`.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.agent.cycle import monitor_of
from mlma.agent.groups import policy_groups
from mlma.agent.incidents import DeskView, incidents_after, known_since, traces_of
from mlma.agent.standing import standing_of
from mlma.domain.incidents import Incident
from mlma.domain.ledger import EVIDENCE, CycleEntry, CycleInfo
from mlma.domain.periods import Periods, moment_of
from mlma.domain.runs import PolicyRun, Replayed
from mlma.domain.settings import policy_from
from mlma.domain.verdicts import Evidence
from mlma.stats.calendar import calendar_class

_COPIED = ("loss", "spread", "alarm", "verdict", "decision", "reason", "n")


def played_incidents(replayed: Replayed, run: PolicyRun) -> tuple[Incident, ...]:
    """Return the incidents of a run as they stand at its end, by the cycle that opened them.

    What a live agent knows and a replay does not is left out: failed fits and unanswered requests.
    A policy that does not look at losses has none.
    """
    if run.evidence is None:
        return ()
    view = _view(replayed, run)
    every: dict[str, Incident] = {}
    lately: dict[str, Incident] = {}
    traces = traces_of({}, len(replayed.ids))
    for entry in _entries(replayed, run, run.evidence, view.periods):
        at = DeskView(
            view.names, view.tags, view.seen, view.groups, view.standing, view.periods, traces
        )
        laid_out = incidents_after(tuple(lately.values()), [entry], at)
        changed = {one.id: one for one in laid_out.incidents}
        every |= changed
        lately = _lately(lately | changed, known_since(entry.info.cycle + 1))
        traces = laid_out.traces
    return tuple(sorted(every.values(), key=lambda one: (one.opened_cycle, one.id)))


def _lately(incidents: dict[str, Incident], since: int) -> dict[str, Incident]:
    """Return those that a live agent reads for the next cycle."""
    return {
        key: one
        for key, one in incidents.items()
        if one.unfinished or max(one.updated_cycle, one.closed_cycle or 0) >= since
    }


def _view(replayed: Replayed, run: PolicyRun) -> DeskView:
    n, grid = len(replayed.ids), replayed.grid
    tags = {
        name: dict(zip(replayed.ids, values, strict=True)) for name, values in replayed.tags.items()
    }
    return DeskView(
        names=replayed.ids,
        tags=tags,
        seen=np.arange(n),
        groups=policy_groups(replayed.tags, n, monitor_of(policy_from(run.settings))),
        standing=standing_of(()),
        periods=Periods(grid.batch.astype("timedelta64[us]"), grid.step.astype("timedelta64[us]")),
        traces=traces_of({}, n),
    )


def _entries(
    replayed: Replayed, run: PolicyRun, evidence: Evidence, periods: Periods
) -> Iterator[CycleEntry]:
    """Yield the cycles of a run, as the ledger of a live agent has them."""
    records = _records(replayed, run, evidence)
    lived, rows = np.isfinite(run.loss), np.arange(len(replayed.ids))
    begun = np.logical_or.accumulate(lived, axis=1)
    found = defaultdict(list)
    for batch, finding in run.findings:
        found[batch].append(_plain(asdict(finding)))
    starts = replayed.grid.batch_starts()
    played = np.flatnonzero(begun.any(axis=0))
    for cycle, batch in enumerate(played.tolist(), start=1):
        there = rows[begun[:, batch]]
        info = CycleInfo(
            cycle=cycle,
            revision=0,
            period=periods.at(starts[batch]),
            judged_at=moment_of(starts[batch] + replayed.grid.batch),
            through=0,
            closed="complete",
            streams=len(there),
            summary={"findings": found[batch]},
        )
        yield CycleEntry(info, there, records[there, batch])


def _records(replayed: Replayed, run: PolicyRun, evidence: Evidence) -> NDArray[np.void]:
    """Return the records of all batches, ``(n_streams, n_batches)`` of dtype `EVIDENCE`.

    Between a stream's first and last batch with a loss there are forecasts. After the last one
    there are none, and none is missed: the stream is over, and its history with it.
    """
    grid = replayed.grid
    made = np.zeros(run.loss.shape, dtype=EVIDENCE)
    for name in _COPIED:
        made[name] = getattr(evidence, name)
    with np.errstate(divide="ignore", invalid="ignore"):
        made["reference_log"] = np.log(evidence.reference_loss)
    lived = np.isfinite(run.loss)
    on = np.logical_or.accumulate(lived, axis=1)
    on &= np.logical_or.accumulate(lived[:, ::-1], axis=1)[:, ::-1]
    made["forecasts"] = np.where(on, grid.slots, 0)
    effect = monitor_of(policy_from(run.settings)).calendar
    made["calendar"] = calendar_class(grid.batch_starts(), grid.batch, effect)
    made["version"] = 1 + np.cumsum(run.retrained, axis=1)
    return made


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in found.items()
    }
