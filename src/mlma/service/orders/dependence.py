"""Dependence: which later orders rest on an earlier one.

Takes recorded orders, gives those that have to be undone first. Orders depend on earlier ones of
the same facet that concern the same streams; on the same event; on the same incident. What is said
of batches depends only on what was said of the same batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlma.agent.standing import names_of, order_of
from mlma.domain.ledger import Action
from mlma.domain.orders import (
    CancelEvent,
    Declare,
    OnIncident,
    Order,
    Rejudge,
    SetBudget,
    SwitchPolicy,
    Undo,
)
from mlma.service.orders.batches import span_of
from mlma.service.orders.draft import Known, told


@dataclass(frozen=True, slots=True)
class Touch:
    """What an order touches.

    thing
        event or incident; empty = streams.
    streams
        None = every stream.
    span
        of time; None = no time in particular.
    """

    facet: str
    thing: str = ""
    streams: frozenset[str] | None = None
    span: tuple[datetime, datetime] | None = None

    def meets(self, other: "Touch") -> bool:
        """Return whether both touch the same."""
        if (self.facet, self.thing) != (other.facet, other.thing):
            return False
        apart = (
            self.streams is not None
            and other.streams is not None
            and self.streams.isdisjoint(other.streams)
        )
        return not apart and _same_time(self.span, other.span)


def _same_time(
    one: tuple[datetime, datetime] | None, other: tuple[datetime, datetime] | None
) -> bool:
    return one is None or other is None or (one[0] < other[1] and other[0] < one[1])


def touch_of(order: Order, names: Sequence[str], known: Known) -> Touch | None:
    """Return what an order touches; None = nothing that another one rests on."""
    if isinstance(order, Rejudge):
        return None
    if isinstance(order, Undo):
        return _of_undone(order, known)
    if isinstance(order, OnIncident):
        return Touch(order.facet, order.incident)
    if isinstance(order, Declare | CancelEvent):
        event = order.event.id if isinstance(order, Declare) else order.event
        return Touch(order.facet, event)
    whole = isinstance(order, SetBudget)
    whole |= isinstance(order, SwitchPolicy) and order.selector.everything
    streams = None if whole else frozenset(names)
    return Touch(order.facet, streams=streams, span=span_of(order, known))


def _of_undone(order: Undo, known: Known) -> Touch | None:
    root = root_of(order.action, known)
    return None if root is None else touch_of(order_of(root), names_of(root), known)


def root_of(number: int, known: Known) -> Action | None:
    """Return the order behind an action: of an undo that which it undoes, undos passed over."""
    action = known.action(number)
    while action is not None and action.kind == Undo.kind:
        action = known.action(int(action.payload["order"]["action"]))
    return action


def dependents(action: Action, known: Known) -> list[Action]:
    """Return the later orders in force that rest on one, by number."""
    root = root_of(action.number, known)
    mine = None if root is None else touch_of(order_of(root), names_of(root), known)
    if mine is None:
        return []
    return [
        one
        for one in known.actions
        if one.number > action.number
        and one.number not in known.standing.undone
        and not _neutral(one, action, known)
        and _meets(mine, one, known)
    ]


def since(order: Order, names: Sequence[str], after: int, known: Known) -> list[Action]:
    """Return orders of after a number that touch what an order touches, by number."""
    mine = touch_of(order, names, known)
    if mine is None:
        return []
    return [one for one in known.actions if one.number > after and _meets(mine, one, known)]


def _neutral(one: Action, action: Action, known: Known) -> bool:
    """Return whether a later undo only takes back what is later itself."""
    if one.kind != Undo.kind:
        return False
    root = root_of(one.number, known)
    return root is not None and root.number > action.number


def _meets(mine: Touch, other: Action, known: Known) -> bool:
    theirs = touch_of(order_of(other), names_of(other), known)
    return theirs is not None and mine.meets(theirs)


def listed(actions: Sequence[Action]) -> str:
    """Return actions in words; the first three and how many more there are."""
    text = "; ".join(told(one) for one in actions[:3])
    return text if len(actions) <= 3 else f"{text}; and {len(actions) - 3} more"
