"""Roll back: model and reference of a version go back together to those before it.

Takes the state before a deployment, gives what must be kept of it; later takes the state and what
was kept, gives the state in which the former version is the deployed one. Next is the next cycle.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState, Floats, Ints, ReferenceState, Singles, Waiting

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Former(Columns):
    """What is kept of versions that were replaced: all that belongs to a version.

    reference
        as it stood, with its level, its anchored level and what its test remembers.
    version
        ``(k,) int32``, number of the former version.
    age, cycle
        ``(k,) int32``, when it was replaced: batches since it was trained, and the stream's count
        of cycles.
    birth_level
        ``(k,) float64``, of the former version.
    next_review, oldest
        ``(k,) float32``, ages of the former version.
    """

    reference: ReferenceState
    version: Ints
    age: Ints
    cycle: Ints
    birth_level: Floats
    next_review: Singles
    oldest: Singles


def remembered(state: AgentState, rows: Rows) -> Former:
    """Return what must be kept of the streams ``rows``, before new versions of them go live.

    Call it with the state that `deploy` is given, not with the one that it returns. The columns are
    copies. What waits outside the reference is not kept: its verdict is never known.
    """
    old = state.rows(rows)
    reference = replace(old.reference, waiting=Waiting.none(len(rows)))
    return Former(
        reference=reference,
        version=old.version,
        age=old.age,
        cycle=old.cycle,
        birth_level=old.birth_level,
        next_review=old.next_review,
        oldest=old.oldest,
    )


def restored(state: AgentState, rows: Rows, former: Former, policy: MLMA) -> AgentState:
    """Return the state after the former versions of the streams ``rows`` came back.

    - The reference, its levels and the birth level are those of the former version.
    - Evidence starts anew: what was added up spoke of the other version.
    - Age counts on from the former version's own training. Reviews and maximum age are its own,
      but not sooner than ``review_every`` batches from now: a version that has just been tried
      would be trained again at once.
    - The version's number goes up: each number names one deployment, whichever model it is.
    - An open episode stays open and goes on counting, as does a request that is pending. The alarm
      spoke of the stream: a new version that did not help has not answered it, and its follow-ups,
      trained on more data, are still due. Closing it would raise the same alarm again.

    Writes every column but key, cycle, episode, pending and benchmark_level.

    Parameters
    ----------
    rows
        ``(k,)``, streams.
    former
        of `remembered`, in the order of ``rows``, from the deployment that is taken back.
    """
    now = state.rows(rows)
    age = former.age + (now.cycle - former.cycle)
    soonest = (age + policy.review_every).astype(np.float32)
    nothing = np.zeros(len(rows))
    back = replace(
        now,
        reference=former.reference,
        age=age,
        version=now.version + np.int32(1),
        cusum_up=nothing,
        cusum_down=nothing,
        cusum_drift=nothing,
        cusum_all=nothing,
        alarms_in_a_row=np.zeros_like(now.alarms_in_a_row),
        birth_level=former.birth_level,
        next_review=np.maximum(former.next_review, soonest),
        oldest=np.maximum(former.oldest, soonest),
    )
    return state.with_rows(rows, back)
