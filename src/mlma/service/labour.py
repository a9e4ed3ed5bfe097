"""The labour of a span of cycles, read from a store: for the Fleet page and whoever asks.

Takes a store and cycles, gives `mlma.domain.labour.Labour`, of all of them or week by week.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlma.domain.incidents import Incident
from mlma.domain.labour import Labour, LabourModel
from mlma.domain.ledger import Action, CycleInfo
from mlma.domain.orders import ORDERS
from mlma.domain.periods import Periods
from mlma.ports import Store
from mlma.steps.labour import labour_of

_WEEK = np.timedelta64(7, "D")


@dataclass(frozen=True, slots=True)
class LabourRecord:
    """What the labour of some cycles is counted from; read once, counted for any part of them.

    cycles
        heads, by number.
    actions
        orders of engineers in these cycles; those that wait belong to the newest one.
    """

    cycles: Sequence[CycleInfo]
    incidents: Sequence[Incident]
    actions: Sequence[Action]
    periods: Periods

    def labour(self, first: int, last: int, model: LabourModel) -> Labour:
        """Return the labour of the cycles ``first`` to ``last``.

        An incident counts in the cycle that opened it, and its time on the desk in the one that
        closed it; an order before the cycle in which it was carried out.
        """
        heads = [one for one in self.cycles if first <= one.cycle <= last]
        if not heads:
            return Labour()
        # Periods without a forecast have no cycle: a person's week has them all the same.
        n_periods = heads[-1].period - heads[0].period + 1
        return labour_of(
            [one for one in self.incidents if first <= one.opened_cycle <= last],
            [one for one in self.actions if self._within(one, first, last)],
            streams=round(sum(one.streams for one in heads) / len(heads)),
            weeks=float(n_periods * self.periods.batch / _WEEK),
            model=model,
            resolved=[
                one
                for one in self.incidents
                if one.closed_cycle is not None and first <= one.closed_cycle <= last
            ],
            retrainings=sum(_retrainings(one) for one in heads),
        )

    def weeks(self, model: LabourModel) -> Iterator[tuple[CycleInfo, Labour]]:
        """Yield the first cycle of each week (periods count from a Monday), and its labour.

        The first and the last week may not be whole ones.
        """
        a_week = max(int(_WEEK // self.periods.batch), 1)
        starts = [
            at
            for at, one in enumerate(self.cycles)
            if not at or one.period // a_week != self.cycles[at - 1].period // a_week
        ]
        ends = [*starts[1:], len(self.cycles)] if starts else []
        for start, stop in zip(starts, ends, strict=True):
            first, last = self.cycles[start], self.cycles[stop - 1]
            yield first, self.labour(first.cycle, last.cycle, model)

    def _within(self, action: Action, first: int, last: int) -> bool:
        if action.cycle is None:
            return last >= self.cycles[-1].cycle
        return first <= action.cycle <= last


def read_labour(
    store: Store, periods: Periods, *, first: int | None = None, last: int | None = None
) -> LabourRecord:
    """Return what the labour of the cycles ``first`` to ``last`` is counted from; None = all."""
    cycles = store.cycles(first=first, last=last)
    if not cycles:
        return LabourRecord((), (), (), periods)
    begin, end = cycles[0].cycle, cycles[-1].cycle
    orders = tuple(ORDERS)
    actions = store.actions(kind=orders, cycles=(begin, end))
    newest = store.cycles(newest_first=True, limit=1)[0].cycle
    if end >= newest:
        actions += store.actions(kind=orders, pending=True)
    incidents = [one for one in store.incidents(touched_since=begin) if one.opened_cycle <= end]
    return LabourRecord(cycles, incidents, actions, periods)


def _retrainings(info: CycleInfo) -> int:
    return int(info.summary.get("decisions", {}).get("retrain", 0))
