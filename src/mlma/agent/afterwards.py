"""Afterwards: orders that speak of judged batches, and from which cycle on they count.

Takes orders that are not carried out yet, gives those that have cycles judged anew. All others
wait for the next cycle.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from mlma.agent.noting import overruled_apart, touched
from mlma.agent.standing import Standing, order_of, standing_of
from mlma.domain.ledger import Action, CycleInfo
from mlma.domain.live import LiveSettings
from mlma.domain.orders import Rejudge
from mlma.ports.store import Ledger


@dataclass(frozen=True, slots=True)
class Afterwards:
    """Orders on judged batches.

    first
        the first cycle that is judged anew; None = none is.
    read_again
        periods whose rows are laid together once more.
    """

    actions: tuple[Action, ...] = ()
    first: int | None = None
    read_again: tuple[int, ...] = ()


def afterwards(
    pending: Iterable[Action], carried: Sequence[Action], ledger: Ledger, settings: LiveSettings
) -> Afterwards:
    """Return those of the pending orders that speak of judged batches."""
    heads = ledger.cycles()
    known, before = list(carried), standing_of(carried)
    told: list[Action] = []
    firsts: list[int] = []
    again: list[int] = []
    for action in pending:
        after = standing_of([*known, action])
        first = _first_cycle(before, after, heads, settings)
        if action.kind == Rejudge.kind and action.number not in after.undone:
            first = cast("Rejudge", order_of(action)).cycle
            again += [head.period for head in heads if head.cycle == first]
        if first is not None:
            told.append(action)
            firsts.append(first)
            known.append(action)
            before = after
    return Afterwards(tuple(told), min(firsts, default=None), tuple(again))


def _first_cycle(
    before: Standing, after: Standing, heads: Sequence[CycleInfo], settings: LiveSettings
) -> int | None:
    """Return the first judged cycle of which something else is said; None = of none."""
    period = touched(before, after, settings.periods)
    found = [] if period is None else [head.cycle for head in heads if head.period >= period]
    cycle = overruled_apart(before, after)
    if cycle is not None and heads and cycle <= heads[-1].cycle:
        found.append(cycle)
    return min(found, default=None)
