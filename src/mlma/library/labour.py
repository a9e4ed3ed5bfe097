"""The labour of a replay: what each policy would have cost people, beside what it cost machines.

Takes the record of a replay, gives the same with the labour of every run. Next is the report.
"""

from dataclasses import replace

import numpy as np

from mlma.agent.played_incidents import played_incidents
from mlma.domain.labour import Labour, LabourModel, WorkedRun
from mlma.domain.runs import PolicyRun, Replayed
from mlma.steps.labour import played_labour

_WEEK = np.timedelta64(7, "D")


def with_labour(replayed: Replayed, model: LabourModel | None = None) -> Replayed:
    """Return a replay whose runs are `WorkedRun`, counted by a model of labour."""
    model = model or LabourModel()
    runs = tuple(WorkedRun.of(run, _labour(replayed, run, model)) for run in replayed.runs)
    return replace(replayed, runs=runs)


def _labour(replayed: Replayed, run: PolicyRun, model: LabourModel) -> Labour:
    """Return the labour of a run; its weeks are those that a stream lasts on average."""
    n_streams = len(replayed.ids)
    batches = float(np.isfinite(run.loss).sum()) / max(n_streams, 1)
    return played_labour(
        played_incidents(replayed, run),
        n_streams,
        batches * float(replayed.grid.batch / _WEEK),
        model,
        retrainings=int(run.retrained.sum()),
        monitored=run.evidence is not None,
    )
