"""Streams that the live agent meets for the first time.

Takes names, gives their rows of the state. Next is the cycle.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mlma.agent.cycle import new_state
from mlma.domain.chance import stream_keys
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState
from mlma.steps.lay import widened
from mlma.steps.refer import deploy


def born(ids: Sequence[str], monitor: MLMA, slots: int, seed: int) -> AgentState:
    """Return the state of streams whose first version goes live now."""
    empty = new_state(stream_keys(ids), monitor, slots)
    return deploy(empty, np.arange(len(ids)), None, monitor, seed)


def first_ages(state: AgentState, monitor: MLMA, seed: int) -> AgentState:
    """Return the state in which streams that were in no cycle yet are reviewed as is asked for now.

    Nobody writes down under which policy a stream was registered: that of its first cycle counts.
    Writes next_review and oldest, where a stream was in no cycle and its first version is live.
    """
    first = np.flatnonzero((state.cycle == 0) & (state.version == 1))
    if not len(first):
        return state
    old = state.rows(first)
    unborn = replace(old, version=old.version - np.int32(1))
    fresh = deploy(unborn, np.arange(len(first)), None, monitor, seed)
    aged = replace(old, next_review=fresh.next_review, oldest=fresh.oldest)
    return state.with_rows(first, aged)


def with_streams(
    state: AgentState,
    known: dict[str, int],
    ids: Sequence[str],
    newborn: Callable[[Sequence[str]], AgentState],
) -> tuple[AgentState, dict[str, int]]:
    """Return the state and the rows of all streams, those of ``ids`` that are new added."""
    new = [name for name in ids if name not in known]
    if not new:
        return state, known
    fresh = newborn(new)
    window = state.reference.window
    if window is not None:
        fresh = widened(fresh, window.losses.shape[2])
    first = len(known)
    places = {name: first + place for place, name in enumerate(new)}
    return state.joined(fresh) if known else fresh, {**known, **places}
