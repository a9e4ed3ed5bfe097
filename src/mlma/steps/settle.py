"""Settle: what becomes of the re-trainings that were asked for.

Takes the decisions of a cycle, what is escalated, granted and withheld, gives the decisions as they
are carried out. Next is the training of those that stayed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns
from mlma.domain.verdicts import Codes, Decision, Reason
from mlma.steps.budget import Granted

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settled(Columns):
    """Decisions as they are carried out, all ``(n_streams,)``.

    decision, reason
        int8 codes.
    pending
        bool, a re-training starts now, waits or was withheld: nothing more is asked of the stream
        meanwhile (nor while `mlma.steps.outcome.held_back`).
    """

    decision: Codes
    reason: Codes
    pending: Bools


def settled(
    decision: Codes, reason: Codes, made: Granted, *, escalating: Bools, withheld: Bools
) -> Settled:
    """Return decisions and reasons after escalation, budget and chance had their say.

    Parameters
    ----------
    decision, reason
        ``(n_streams,) int8``, as the evidence wants them.
    made
        what the budget grants; ``withheld`` is a part of it.
    escalating
        ``(n_streams,) bool``, asked for by an alarm and refused, because re-training did not help.
    withheld
        ``(n_streams,) bool``, granted, and withheld at random.

    >>> yes = np.ones(2, dtype=bool)
    >>> codes = np.full(2, Decision.RETRAIN, dtype=np.int8)
    >>> made = Granted(np.array([True, False]), ~yes, ~yes, ~yes, codes)
    >>> out = settled(codes, codes, made, escalating=np.array([False, True]), withheld=~yes)
    >>> [Decision(code).label for code in out.decision], out.pending.tolist()
    (['retrain', 'escalate'], [True, False])
    """
    starts = made.granted & ~withheld
    decision, reason = decision.copy(), reason.copy()
    decision[decision == Decision.RETRAIN] = Decision.KEEP
    for where, what, why in (
        (escalating, Decision.ESCALATE, Reason.NOT_HELPED),
        (made.deferred, Decision.DEFER, Reason.BUDGET),
        (withheld, Decision.HOLD, Reason.WITHHELD),
    ):
        decision[where], reason[where] = what, why
    decision[starts] = Decision.RETRAIN
    reason[starts] = made.reason[starts]
    return Settled(decision, reason, made.granted | made.deferred)
