"""What became of the re-trainings that a policy wanted: started, deferred, held, undone.

Takes the decisions of a run, gives counts and marks. Next are the figures, tables and timelines.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.runs import PolicyRun
from mlma.domain.verdicts import Decision, Evidence, Reason

Codes = NDArray[np.int8]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

_HELD = (Reason.GATE, Reason.WITHHELD, Reason.FAILED)
_SWITCHED = (Reason.ROLLED_BACK, Reason.SELECTED)
MARKED = (Reason.BUDGET, Reason.NOT_HELPED, *_HELD, *_SWITCHED)
"""Reasons for which something other than a re-training happened to a stream."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Around the re-trainings of a run, counts over all streams and batches.

    started
        trainings that began because of a decision, whether or not their version went live.
    deferred, mean_wait
        times that a stream waited for the budget, and mean number of batches it then waited.
    tried
        versions that ran beside the old one in a trial.
    held
        versions that a gate or a trial kept from going live.
    withheld
        re-trainings withheld at random.
    rolled_back, switched
        returns to the former version; changes to another version of the pool.
    escalated
        times that a stream was handed to a person, because re-training did not help.
    failed
        trainings that gave no version.
    """

    started: int = 0
    deferred: int = 0
    mean_wait: float = np.nan
    tried: int = 0
    held: int = 0
    withheld: int = 0
    rolled_back: int = 0
    switched: int = 0
    escalated: int = 0
    failed: int = 0


def requests_of(run: PolicyRun) -> Requests:
    """Return what became of the re-trainings of a run; all are started where it does not look."""
    seen = run.evidence
    if seen is None:
        return Requests(started=int(run.retrained.sum()))
    waits = int(_deferred(seen).sum())
    waited = int((seen.decision == Decision.DEFER).sum())
    return Requests(
        started=int(_started(seen).sum()),
        deferred=waits,
        mean_wait=waited / waits if waits else np.nan,
        tried=_count(seen, Decision.HOLD, Reason.TRIAL),
        held=_count(seen, Decision.HOLD, Reason.GATE),
        withheld=_count(seen, Decision.HOLD, Reason.WITHHELD),
        rolled_back=_count(seen, Decision.SWITCH, Reason.ROLLED_BACK),
        switched=_count(seen, Decision.SWITCH, Reason.SELECTED),
        escalated=int(_first_of_row(seen.decision == Decision.ESCALATE).sum()),
        failed=_count(seen, Decision.HOLD, Reason.FAILED),
    )


def unfulfilled(run: PolicyRun) -> Floats:
    """Return how often each stream was deferred, held and escalated, ``(n_streams, 3) float64``.

    Held: by a gate, a trial or chance, or because a training failed. NaN where the policy does not
    look at losses.
    """
    if run.evidence is None:
        return np.full((len(run.loss), 3), np.nan)
    seen = run.evidence
    held = (seen.decision == Decision.HOLD) & np.isin(seen.reason, _HELD)
    escalated = _first_of_row(seen.decision == Decision.ESCALATE)
    counts = [which.sum(axis=1) for which in (_deferred(seen), held, escalated)]
    return np.stack(counts, axis=1).astype(np.float64)


def retraining_reasons(run: PolicyRun) -> Codes:
    """Return why each re-training happened, ``(n_streams, n_batches) int8``, codes of `Reason`.

    The reason of the last decision to re-train before the batch at whose start the version was
    deployed; ``TRIAL`` where it won one. ``NONE`` where nothing was re-trained, or where the run
    does not say why.
    """
    codes = np.zeros_like(run.retrained, dtype=np.int8)
    seen = run.evidence
    if seen is None:
        return codes
    n_batches = codes.shape[1]
    decided = (seen.decision == Decision.RETRAIN) | _is(seen, Decision.SWITCH, Reason.TRIAL)
    last = np.maximum.accumulate(np.where(decided, np.arange(n_batches), -1), axis=1)
    row, batch = np.nonzero(run.retrained[:, 1:])
    source = last[row, batch]
    codes[row, batch + 1] = np.where(source < 0, 0, seen.reason[row, source])
    return codes


def marks(run: PolicyRun) -> Codes:
    """Return what else happened, ``(n_streams, n_batches) int8``, one of `MARKED` or ``NONE``.

    It stands at the batch before which it took effect, as re-trainings do; a wait for the budget
    and an escalation stand at their beginning only.
    """
    codes = np.zeros_like(run.retrained, dtype=np.int8)
    seen = run.evidence
    if seen is None:
        return codes
    told = np.zeros_like(codes)
    for decision, reasons in ((Decision.HOLD, _HELD), (Decision.SWITCH, _SWITCHED)):
        where = (seen.decision == decision) & np.isin(seen.reason, reasons)
        told[where] = seen.reason[where]
    told[_deferred(seen)] = Reason.BUDGET
    told[_first_of_row(seen.decision == Decision.ESCALATE)] = Reason.NOT_HELPED
    codes[:, 1:] = told[:, :-1]
    return codes


def _is(seen: Evidence, decision: Decision, reason: Reason) -> Bools:
    return np.asarray((seen.decision == decision) & (seen.reason == reason))


def _count(seen: Evidence, decision: Decision, reason: Reason) -> int:
    return int(_is(seen, decision, reason).sum())


def _deferred(seen: Evidence) -> Bools:
    return _first_of_row(seen.decision == Decision.DEFER)


def _first_of_row(where: Bools) -> Bools:
    """Return the first entry of each unbroken row of them.

    >>> _first_of_row(np.array([[True, True, False, True]])).tolist()
    [[True, False, False, True]]
    """
    first = where.copy()
    first[:, 1:] &= ~where[:, :-1]
    return first


def _started(seen: Evidence) -> Bools:
    """Return the decisions after which a training began; a trial that ends begins none."""
    opened = _is(seen, Decision.HOLD, Reason.TRIAL)
    refused = _is(seen, Decision.HOLD, Reason.GATE)
    event = opened | refused | _is(seen, Decision.SWITCH, Reason.TRIAL)
    number = np.arange(event.shape[1])
    last = np.maximum.accumulate(np.where(event, number, -1), axis=1)
    before = np.full_like(last, -1)
    before[:, 1:] = last[:, :-1]
    on_trial = np.take_along_axis(opened, np.maximum(before, 0), axis=1) & (before >= 0)
    failed = _is(seen, Decision.HOLD, Reason.FAILED)
    began = (seen.decision == Decision.RETRAIN) | opened | failed
    return np.asarray(began | (refused & ~on_trial))
