"""Recomputing: cycles once more, out of the ledger.

Batches that are opened again and the proof of the ledger both go this way. Takes a store, gives
each entry as it stands and as it comes out now.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.agent.carrying import carried_out
from mlma.agent.judging import Inputs, Registered, judged, recorded
from mlma.agent.noting import OrderBook
from mlma.agent.past import Past
from mlma.agent.remembered import remembered
from mlma.agent.watch import Memory, Watch, watch_for
from mlma.domain.ledger import Action, CycleEntry, CycleInfo, Snapshot
from mlma.domain.live import LiveSettings
from mlma.domain.orders import ORDERS
from mlma.domain.settings import policy_from
from mlma.ports.store import Store

Bools = NDArray[np.bool_]

Reader = Callable[[CycleEntry], tuple[CycleInfo, Inputs]]
"""Gives the head of the new entry and what it reads, from the entry as it stands."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """One cycle: the entry as it stands, as it comes out now, and the memory after it."""

    before: CycleEntry
    entry: CycleEntry
    memory: Memory
    registered: Registered


def recomputed(
    store: Store,
    settings: LiveSettings,
    first: int,
    last: int,
    read: Reader | None = None,
    *,
    more: Sequence[Action] = (),
    in_words: bool = True,
) -> Iterator[Recomputed]:
    """Yield the cycles ``first`` to ``last``, each judged once more.

    It starts from the last snapshot before ``first``; actions are carried out before the cycles
    before which they were. What is said of batches is all that was carried out by now, and
    ``more``. ``read`` None = what the ledger says was read; ``in_words`` as in
    `mlma.agent.judging.judged`.
    """
    watch, past = watch_for(settings), Past(store, settings.periods)
    names = store.streams()
    orders = [one for one in store.actions(kind=tuple(ORDERS)) if one.cycle is not None]
    registered = Registered(list(names), book=OrderBook.noting([*orders, *more]))
    snapshot = store.snapshot(before=first)
    memory, _ = restored(snapshot, watch, names, store.url)
    began = 1 if snapshot is None else snapshot.cycle + 1
    early = store.actions(kind="tags", cycles=(0, began - 1))
    memory = carried_out(memory, early, watch, registered)
    registered.book.carry_out(one for one in orders if (one.cycle or 0) < began)
    actions = store.actions(cycles=(began, last))
    for cycle in range(began, last + 1):
        before = read_entry(store, cycle)
        own = [one for one in actions if one.cycle == cycle]
        of_then = watch_of(watch, before.info)
        registered.book.carry_out(own)
        memory = carried_out(memory, own, of_then, registered)
        info, inputs = unchanged(before) if read is None else read(before)
        known = registered.names
        if len(inputs.rows) and inputs.rows[-1] >= len(known):
            registered.extend(store.streams(len(known)))
        memory, entry = judged(
            memory,
            inputs,
            info,
            of_then,
            registered,
            past=past,
            before=before,
            in_words=in_words and cycle >= first,
        )
        past.judged_anew(entry)
        if cycle >= first:
            yield Recomputed(before, entry, memory, registered)


def unchanged(before: CycleEntry) -> tuple[CycleInfo, Inputs]:
    """Return head and inputs of an entry as it stands."""
    return before.info, recorded(before)


def watch_of(watch: Watch, info: CycleInfo) -> Watch:
    """Return the watch by which a cycle was judged."""
    return replace(watch, policy=policy_from(info.policy), seed=info.seed)


def restored(
    snapshot: Snapshot | None, watch: Watch, names: list[str], where: str
) -> tuple[Memory, Bools]:
    """Return the memory of a snapshot, and the streams that are expected in the next cycle."""
    if snapshot is None:
        return watch.nothing(), np.zeros(len(names), dtype=np.bool_)
    expected = snapshot.columns["live.expected"]
    row = {name: place for place, name in enumerate(names[: len(expected)])}
    state, fleet = remembered(
        snapshot.head["fleet"], snapshot.columns, len(row), f"A snapshot in {where}"
    )
    return Memory(row, state, fleet), expected.copy()


def read_entry(store: Store, cycle: int) -> CycleEntry:
    """Return a cycle out of the ledger, in its newest revision."""
    (info,) = store.cycles(first=cycle, last=cycle)
    streams, evidence = store.evidence(cycle)
    return CycleEntry(info, streams, evidence, losses=store.losses(cycle))
