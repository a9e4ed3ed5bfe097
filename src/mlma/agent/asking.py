"""Asking: requests for re-training that a person makes, or a plan whose time has come.

Takes streams and who asks, gives requests. They go out at once, not with the next cycle.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime

from mlma.agent.exclusions import NOTHING_LEFT_OUT, Exclusions
from mlma.agent.noting import in_force
from mlma.agent.standing import standing_of
from mlma.agent.watch import Memory
from mlma.domain.ledger import Action
from mlma.domain.orders import Retrain
from mlma.domain.requests import RetrainingRequest, digest
from mlma.domain.selectors import Selector

BY_HAND = "asked for by an engineer"
PLANNED = "planned by an engineer"


def requests_by_hand(
    names: Sequence[str],
    memory: Memory,
    *,
    at: datetime,
    by: str,
    reason: str = BY_HAND,
    excluded: Mapping[str, Exclusions] | None = None,
) -> tuple[RetrainingRequest, ...]:
    """Return one request per stream; streams that were never judged have version 0.

    ``excluded`` are those of `mlma.agent.exclusions.exclusions`.
    """
    out = excluded or {}
    return tuple(
        RetrainingRequest(
            id=digest([name, *_counts(name, memory), "by hand", at.isoformat()]),
            unique_id=name,
            reason=reason,
            version=_counts(name, memory)[0],
            cycle=_counts(name, memory)[1],
            asked_at=at,
            evidence={},
            exclude=out.get(name, NOTHING_LEFT_OUT).spans,
            train_from=out.get(name, NOTHING_LEFT_OUT).train_from,
            by=by,
        )
        for name in names
    )


def _counts(name: str, memory: Memory) -> tuple[int, int]:
    row = memory.row.get(name)
    if row is None:
        return 0, 0
    return int(memory.state.version[row]), int(memory.state.cycle[row])


def due_plans(
    actions: Sequence[Action],
    now: datetime,
    memory: Memory,
    asked: Container[str],
    left_out: Callable[[Sequence[str]], Mapping[str, Exclusions]],
) -> list[tuple[Action, tuple[RetrainingRequest, ...]]]:
    """Return what asks for the re-trainings that were planned until now, and its requests.

    ``actions`` are all orders: who planned is who asks. Streams that are frozen or pinned, or whose
    re-training is ``asked`` for already, are passed over. ``left_out`` gives what some streams may
    not be trained on.
    """
    standing, made = standing_of(actions), []
    for action in actions:
        plan = standing.plans.get(action.number)
        if plan is None or plan.done or now < plan.at:
            continue
        held = {*in_force(standing.frozen, now), *standing.pinned}
        free = [name for name in plan.unique_ids if name not in held and name not in asked]
        requests = requests_by_hand(
            free, memory, at=plan.at, by=action.by, reason=PLANNED, excluded=left_out(free)
        )
        order = Retrain(selector=Selector(unique_ids=plan.unique_ids))
        payload = {
            "order": order.payload(),
            "unique_ids": list(plan.unique_ids),
            "plan": action.number,
            "requests": {one.unique_id: one.id for one in requests},
        }
        made.append((Action(Retrain.kind, payload, now, action.by, action.why), requests))
    return made
