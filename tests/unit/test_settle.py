"""What was asked for is granted, deferred, withheld or escalated, with its reason."""

import numpy as np

from mlma.domain.verdicts import Decision, Reason
from mlma.steps.budget import Granted
from mlma.steps.settle import settled


def test_every_request_ends_in_one_decision_with_its_reason():
    starts, waits, escalated, chance, stopped, _quiet, rest = np.eye(7, dtype=bool)
    asked = starts | waits | escalated | chance
    decision = np.where(asked, Decision.RETRAIN, Decision.KEEP).astype(np.int8)
    reason = np.where(asked, Reason.ALARM, Reason.GATHERING).astype(np.int8)
    given = np.where(rest, Reason.MAX_AGE, Reason.ALARM).astype(np.int8)
    made = Granted(starts | chance | rest, rest, waits, stopped, given)
    out = settled(decision, reason, made, escalating=escalated, withheld=chance)
    assert [Decision(code).name for code in out.decision] == [
        *("RETRAIN", "DEFER", "ESCALATE", "HOLD", "KEEP", "KEEP", "RETRAIN")
    ]
    assert [Reason(code).name for code in out.reason] == [
        *("ALARM", "BUDGET", "NOT_HELPED", "WITHHELD", "GATHERING", "GATHERING", "MAX_AGE")
    ]
    assert (out.pending == (starts | waits | rest | chance)).all()
    assert (decision == np.where(asked, Decision.RETRAIN, Decision.KEEP)).all()


def test_a_stream_that_waited_and_is_granted_gets_the_reason_it_asked_for():
    yes, no = np.ones(1, dtype=bool), np.zeros(1, dtype=bool)
    kept, healthy = np.array([Decision.KEEP], np.int8), np.array([Reason.PENDING], np.int8)
    made = Granted(yes, no, no, no, np.array([Reason.DRIFT], dtype=np.int8))
    out = settled(kept, healthy, made, escalating=no, withheld=no)
    assert (out.decision[0], out.reason[0]) == (Decision.RETRAIN, Reason.DRIFT)
