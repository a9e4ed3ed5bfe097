"""Rehearsing: what would come of orders on judged batches, before they are given.

Takes orders that nobody recorded yet, judges the cycles anew without writing anything, gives the
difference to what the ledger says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlma.agent.afterwards import afterwards
from mlma.agent.heard import KINDS
from mlma.agent.recomputing import Recomputed, recomputed, restored
from mlma.agent.watch import Memory, watch_for
from mlma.domain.ledger import Action
from mlma.domain.live import LiveSettings
from mlma.domain.verdicts import Decision, Reason, Verdict
from mlma.ports.store import Store

Ints = NDArray[np.int64]

MOST_CHANGES = 1_000


@dataclass(frozen=True, slots=True)
class Changed:
    """One thing that would be another: a verdict or a decision of a stream in a cycle."""

    unique_id: str
    cycle: int
    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What would be another.

    cycles
        judged anew; 0 = nothing that was judged is touched.
    first
        the first of them; None = none.
    total
        of all changes; ``changes`` holds the first `MOST_CHANGES`.
    counts
        in words: ``verdicts``, ``decisions``, ``alarms that come``, ``alarms that go``,
        ``re-trainings asked for``, ``re-trainings no longer asked for``, ``references``.
    """

    cycles: int = 0
    first: int | None = None
    total: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    changes: tuple[Changed, ...] = ()


def rehearsed(store: Store, settings: LiveSettings, actions: Sequence[Action]) -> Difference:
    """Return what would come of some orders beside all that are recorded.

    A batch is judged from what the ledger says was read: rows that came since are not looked at.
    """
    known = store.actions(kind=KINDS)
    carried = [one for one in known if one.cycle is not None]
    pending = [one for one in known if one.cycle is None]
    last = known[-1].number if known else 0
    new = [replace(one, number=last + at) for at, one in enumerate(actions, start=1)]
    said = afterwards([*pending, *new], carried, store, settings)
    newest = store.cycles(newest_first=True, limit=1)
    if said.first is None or not newest:
        return Difference()
    tally = _Tally(store.streams())
    memory: Memory | None = None
    for made in recomputed(
        store, settings, said.first, newest[0].cycle, more=said.actions, in_words=False
    ):
        tally.take(made)
        memory = made.memory
    assert memory is not None
    snapshot = store.snapshot()
    names = store.streams()
    now, _ = restored(snapshot, watch_for(settings), names, store.url)
    return Difference(
        cycles=newest[0].cycle - said.first + 1,
        first=said.first,
        total=tally.total,
        counts={**tally.counts, **_at_the_end(now, memory)},
        changes=tuple(tally.changes),
    )


class _Tally:
    """Counts what comes out differently, cycle by cycle."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self.changes, self.total = names, list[Changed](), 0
        self.counts = dict.fromkeys(
            ("verdicts", "decisions", "alarms that come", "alarms that go"), 0
        )

    def take(self, made: Recomputed) -> None:
        was, now = made.before.evidence, made.entry.evidence
        if not np.array_equal(made.before.streams, made.entry.streams):
            return  # of other streams: nothing to hold it against
        self.counts["alarms that come"] += int((~was["alarm"].astype(bool) & now["alarm"]).sum())
        self.counts["alarms that go"] += int((was["alarm"].astype(bool) & ~now["alarm"]).sum())
        for what, labels in (("verdict", Verdict), ("decision", Decision)):
            apart = np.flatnonzero(was[what] != now[what])
            self.counts[f"{what}s"] += len(apart)
            self.total += len(apart)
            for at in apart[: MOST_CHANGES - len(self.changes)]:
                self.changes.append(
                    Changed(
                        self.names[made.entry.streams[at]],
                        made.entry.info.cycle,
                        what,
                        _words(labels(int(was[what][at])).label, int(was["reason"][at])),
                        _words(labels(int(now[what][at])).label, int(now["reason"][at])),
                    )
                )


def _words(label: str, reason: int) -> str:
    return f"{label}: {Reason(reason).label}"


def _at_the_end(now: Memory, then: Memory) -> dict[str, int]:
    """Return what is another in the state after the newest cycle."""
    n = min(len(now.row), len(then.row))
    before, after = now.state.rows(slice(0, n)), then.state.rows(slice(0, n))
    old, new = before.reference.moments.level(), after.reference.moments.level()
    same = (old == new) | (np.isnan(old) & np.isnan(new))
    return {
        "re-trainings asked for": int((after.pending & ~before.pending).sum()),
        "re-trainings no longer asked for": int((before.pending & ~after.pending).sum()),
        "references": int((~same).sum()),
    }
