"""Standing: what of an engineer's orders is in force, and what was said of batches.

Takes recorded actions in their order, gives a pure fold of them: actions that were undone are left
out as if they had never been. Next are `mlma.agent.noting`, pages and dry runs.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.ledger import Action
from mlma.domain.orders import (
    ORDERS,
    CancelEvent,
    Declare,
    Freeze,
    LabelBatches,
    LabelName,
    Order,
    Overrule,
    Plan,
    SetBudget,
    SwitchPolicy,
    Told,
    Undo,
    order_from,
)


@dataclass(frozen=True, slots=True)
class Hold:
    """A stream is not re-trained: by which action, and until when; None = until it is let go."""

    action: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A re-training that was asked for ahead; ``done``: its time has come."""

    action: int
    at: datetime
    unique_ids: tuple[str, ...]
    done: bool = False


@dataclass(frozen=True, slots=True)
class Labelled:
    """What an engineer says that batches were; a later label of the same batch counts."""

    action: int
    unique_ids: tuple[str, ...]
    begins: datetime
    ends: datetime
    label: LabelName


@dataclass(frozen=True, slots=True)
class Overruled:
    """A verdict of an engineer on one batch."""

    action: int
    unique_ids: tuple[str, ...]
    cycle: int
    verdict: Told


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in force. Streams are named; a stream that is not named is free.

    policies
        by stream: the action, and the policy by which it is decided.
    fleet_policy
        empty = that of mlma.toml.
    budget
        re-trainings that are asked for in a cycle at most; None = no limit was ordered.
    events
        by their ids.
    undone
        numbers of the actions that were taken back.
    """

    frozen: Mapping[str, Hold] = field(default_factory=dict)
    pinned: Mapping[str, Hold] = field(default_factory=dict)
    policies: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    fleet_policy: str = ""
    budget: int | None = None
    plans: Mapping[int, Planned] = field(default_factory=dict)
    events: Mapping[str, CalendarEvent] = field(default_factory=dict)
    labels: tuple[Labelled, ...] = ()
    overruled: tuple[Overruled, ...] = ()
    undone: frozenset[int] = frozenset()


def standing_of(actions: Iterable[Action]) -> Standing:
    """Return what of some actions is in force, in whatever order they come.

    Their numbers count: one about judged batches is carried out before an earlier one about others.
    """
    ordered = sorted(actions, key=lambda one: one.number)
    undone = undone_of(ordered)
    made = _Fold()
    for action in ordered:
        if action.kind not in ORDERS:
            continue
        if action.number not in undone:
            made.take(action)
        made.plan_done(action)  # undone or not: a plan asks once
    return Standing(
        frozen=made.frozen,
        pinned=made.pinned,
        policies=made.policies,
        fleet_policy=made.fleet_policy,
        budget=made.budget,
        plans=made.plans,
        events=made.events,
        labels=tuple(made.labels),
        overruled=tuple(made.overruled),
        undone=undone,
    )


def undone_of(actions: Iterable[Action]) -> frozenset[int]:
    """Return the numbers of the actions that were taken back; an undo can be undone too."""
    undone: set[int] = set()
    taken_back = [one for one in actions if one.kind == Undo.kind]
    for action in sorted(taken_back, key=lambda one: one.number, reverse=True):
        if action.number not in undone:
            undone.add(int(action.payload["order"]["action"]))
    return frozenset(undone)


def order_of(action: Action) -> Order:
    """Return the order that an action recorded."""
    return order_from(action.kind, action.payload["order"])


def names_of(action: Action) -> tuple[str, ...]:
    """Return the streams that an action concerns; empty = none by name."""
    return tuple(action.payload.get("unique_ids", ()))


class _Fold:
    """What is in force so far; actions are taken in their order."""

    def __init__(self) -> None:
        self.frozen: dict[str, Hold] = {}
        self.pinned: dict[str, Hold] = {}
        self.policies: dict[str, tuple[int, str]] = {}
        self.fleet_policy = ""
        self.budget: int | None = None
        self.plans: dict[int, Planned] = {}
        self.events: dict[str, CalendarEvent] = {}
        self.labels: list[Labelled] = []
        self.overruled: list[Overruled] = []

    def take(self, action: Action) -> None:
        """Take note of one action."""
        take = _TAKERS.get(action.kind)
        if take is not None:
            take(self, action, order_of(action))

    def plan_done(self, action: Action) -> None:
        """Take note that an action asked for what was planned."""
        plan = self.plans.get(int(action.payload.get("plan", 0)))
        if plan is not None:
            self.plans[plan.action] = Planned(plan.action, plan.at, plan.unique_ids, done=True)

    def plan(self, action: Action, order: Order) -> None:
        at = cast("Plan", order).at
        self.plans[action.number] = Planned(action.number, at, names_of(action))

    def freeze(self, action: Action, order: Order) -> None:
        hold = Hold(action.number, cast("Freeze", order).until)
        self.frozen.update(dict.fromkeys(names_of(action), hold))

    def unfreeze(self, action: Action, _: Order) -> None:
        for name in names_of(action):
            self.frozen.pop(name, None)

    def set_budget(self, _: Action, order: Order) -> None:
        self.budget = cast("SetBudget", order).per_cycle

    def declare(self, _: Action, order: Order) -> None:
        event = cast("Declare", order).event
        self.events[event.id] = event

    def cancel(self, _: Action, order: Order) -> None:
        self.events.pop(cast("CancelEvent", order).event, None)

    def pin(self, action: Action, _: Order) -> None:
        self.pinned.update(dict.fromkeys(names_of(action), Hold(action.number)))

    def unpin(self, action: Action, _: Order) -> None:
        for name in names_of(action):
            self.pinned.pop(name, None)

    def switch(self, action: Action, order: Order) -> None:
        switch = cast("SwitchPolicy", order)
        if switch.selector.everything:
            self.fleet_policy = switch.policy
            self.policies.clear()
        elif switch.policy:
            told = (action.number, switch.policy)
            self.policies.update(dict.fromkeys(names_of(action), told))
        else:
            for name in names_of(action):
                self.policies.pop(name, None)

    def label(self, action: Action, order: Order) -> None:
        label = cast("LabelBatches", order)
        self.labels.append(
            Labelled(action.number, names_of(action), label.begins, label.ends, label.label)
        )

    def overrule(self, action: Action, order: Order) -> None:
        said = cast("Overrule", order)
        self.overruled.append(Overruled(action.number, names_of(action), said.cycle, said.verdict))


_TAKERS: dict[str, Callable[[_Fold, Action, Any], None]] = {
    "plan": _Fold.plan,
    "freeze": _Fold.freeze,
    "unfreeze": _Fold.unfreeze,
    "budget": _Fold.set_budget,
    "event": _Fold.declare,
    "cancel_event": _Fold.cancel,
    "pin": _Fold.pin,
    "unpin": _Fold.unpin,
    "policy": _Fold.switch,
    "label": _Fold.label,
    "overrule": _Fold.overrule,
}
