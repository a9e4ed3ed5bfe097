"""Escalate: where re-training did not help time and again, a person has to look.

Takes alarms and finished outcomes, gives the streams whose alarms ask for no re-training. Next is
`budget`.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.outcomes import JUDGED, EscalationState, Kind, Outcomes, OutcomeState
from mlma.domain.state import NOT_OPEN
from mlma.steps.outcome import BOUND_Z, recovered

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def escalated(
    state: EscalationState,
    alarm: Bools,
    level: Floats,
    outcomes: OutcomeState,
    made: Outcomes,
    *,
    by_hand: Bools | None = None,
    helped_gain: float = 0.02,
    escalate_after: int = 3,
    escalate_for: int = 28,
) -> EscalationState:
    """Return the state after a cycle; alarms where it is ``escalated`` ask for no re-training.

    A re-training by alarm is a try. A try helped if the lower bound of its gain is above
    ``helped_gain`` (alarms follow bad luck: of the bare gains of useless tries more than half are),
    or the loss is back at the level before the first of the alarms. After ``escalate_after`` tries
    in a row that did not help the stream is escalated. That ends, and the tries are forgotten, when
    the loss recovers, an outcome helped, or a person re-trained; and after ``escalate_for`` batches
    one more try is allowed. Tries are forgotten, too, if no alarm follows for as long. Follow-ups
    can help, but are no tries: the first of them comes while the window still holds much from
    before the break.

    Parameters
    ----------
    alarm
        ``(n_streams,) bool``, alarms that call for a re-training in this cycle.
    level
        ``(n_streams,)``, log loss that the reference expects, difficulty taken out; NaN = not
        known. Read where ``alarm``.
    outcomes, made
        as `mlma.steps.outcome.measured` gave them for this batch.
    by_hand
        ``(n_streams,) bool``, a person re-trained or acknowledged.
    """
    person = np.zeros(len(alarm), dtype=np.bool_) if by_hand is None else by_hand
    rows = np.flatnonzero(alarm | (state.batches != NOT_OPEN))
    if not len(rows):
        return state
    before = _with_alarms(state.rows(rows), alarm[rows], level[rows])
    failed, helped = _tried(before, rows, len(alarm), made, helped_gain)
    back = recovered(outcomes.rows(rows), before.level.astype(np.float64), helped_gain)
    after = _counted(before, failed, escalate_after, escalate_for)
    # An alarm of this very batch says that the loss is not back, whatever the last week was.
    over = helped | person[rows] | (back & ~alarm[rows])
    forgotten = after.batches > escalate_for + JUDGED
    gone = np.flatnonzero(over | (forgotten & ~after.escalated))
    return state.with_rows(rows, after.with_rows(gone, EscalationState.new(len(gone))))


def _with_alarms(state: EscalationState, alarm: Bools, level: Floats) -> EscalationState:
    """Return the state after these alarms: the first of them notes the level."""
    first = alarm & (state.batches == NOT_OPEN)
    since = np.where(alarm & ~state.escalated, np.int32(0), state.batches + np.int32(1))
    noted = np.where(first, level, state.level).astype(np.float32)
    return replace(state, level=noted, batches=since.astype(np.int32))


def _tried(
    state: EscalationState, rows: NDArray[np.int64], n: int, made: Outcomes, helped_gain: float
) -> tuple[Bools, Bools]:
    """Return where a try failed and where a re-training helped, ``(len(rows),)`` each."""
    level = np.full(n, np.nan)
    level[rows] = state.level
    done = made.told & ~made.withheld
    well = done & (
        made.helped(helped_gain, errors=BOUND_Z) | (made.after <= level[made.row] + helped_gain)
    )
    failed, helped = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    helped[made.row[well]] = True
    failed[made.row[done & ~well & (made.asked.kind == Kind.ALARM)]] = True
    return failed[rows], helped[rows]


def _counted(
    state: EscalationState, failed: Bools, escalate_after: int, escalate_for: int
) -> EscalationState:
    """Return the state with failed tries counted, escalations begun, and those that are over."""
    tries = np.minimum(state.tries + failed.astype(np.int8), escalate_after)
    begins = ~state.escalated & (tries >= escalate_after)
    ends = state.escalated & (state.batches >= escalate_for)
    return replace(
        state,
        tries=(tries - ends).astype(np.int8),
        batches=np.where(begins | ends | failed, np.int32(0), state.batches).astype(np.int32),
        escalated=(state.escalated | begins) & ~ends,
    )
