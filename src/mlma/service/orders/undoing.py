"""Undo, looked at: what it takes to have an order as if it had never been.

Takes an undo and what is known, gives its draft. Most orders are undone by leaving them out of what
stands; requests and incidents have to be set back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlma.agent.standing import Standing, names_of, order_of, standing_of
from mlma.domain.errors import ConflictError, DataError
from mlma.domain.ledger import Action, OpenRequest
from mlma.domain.orders import (
    CancelEvent,
    Declare,
    LabelBatches,
    OnIncident,
    Order,
    Overrule,
    Plan,
    Rejudge,
    Retrain,
    RollBack,
    Undo,
)
from mlma.service.orders.asking import retrainings
from mlma.service.orders.batches import ANEW, anew, changes_of, difference, span_of, trial
from mlma.service.orders.dependence import dependents, listed, root_of
from mlma.service.orders.draft import Change, Draft, Known, also, streams_text, told
from mlma.service.orders.incident_state import incident_state
from mlma.service.orders.models import restoring
from mlma.service.orders.on_incidents import back, incident_of
from mlma.service.orders.versions import Versions


def undo(order: Undo, known: Known) -> Draft:
    """Look at an undo.

    Raises
    ------
    DataError
        There is no such order, or nothing of it can be taken back.
    ConflictError
        It was undone already, or later orders rest on it: they are named.
    """
    action = _action(order.action, known)
    _check_not_undone(action, known)
    later = dependents(action, known)
    if later:
        raise ConflictError(
            f"Action {action.number} ({action.kind}) cannot be undone: {_rest(later)} on it, "
            f"{listed(later)}. Nothing was written. Hint: undo action {later[-1].number} first."
        )
    root = root_of(action.number, known)
    assert root is not None  # an undo is recorded only of what is there
    made = _way_back(order_of(root))(order, action, root, known)
    again = "again " if action.kind == Undo.kind else ""
    head = f"Undoes {told(action)}"
    if again:
        head = f"{head}, so that {told(root)} is {_now(root, known)}"
    return replace(made, sentence=f"{head}{made.sentence}.")


def _rest(later: Sequence[Action]) -> str:
    return "a later one rests" if len(later) == 1 else f"{len(later)} later ones rest"


def _now(root: Action, known: Known) -> str:
    return "in force again" if root.number in known.standing.undone else "undone"


def _action(number: int, known: Known) -> Action:
    action = known.action(number)
    if action is not None:
        return action
    reported = known.store.actions(start=number, limit=1) if number >= 1 else []
    if reported and reported[0].number == number:
        raise DataError(
            f"Action {number} ({reported[0].kind}) is no order: it was reported by "
            f"{reported[0].by or 'somebody'}. Hint: roll back, if a version has to go."
        )
    raise DataError(f"There is no order {number}. The last one is {known.newest or '(none yet)'}.")


def _check_not_undone(action: Action, known: Known) -> None:
    if action.number not in known.standing.undone:
        return
    by = next(
        one
        for one in reversed(known.actions)
        if one.kind == Undo.kind
        and int(one.payload["order"]["action"]) == action.number
        and one.number not in known.standing.undone
    )
    raise ConflictError(
        f"Action {action.number} ({action.kind}) is undone already, by {told(by)}. "
        f"Hint: undo action {by.number} to have it again."
    )


_Way = Callable[[Undo, Action, Action, Known], Draft]


def _way_back(order: Order) -> _Way:
    """Return how an order of some kind is undone, and done again."""
    if isinstance(order, Retrain):
        return _requests
    if isinstance(order, RollBack):
        return _versions
    if isinstance(order, OnIncident):
        return _incident
    if isinstance(order, LabelBatches | Overrule | Declare | CancelEvent):
        return _batches
    if isinstance(order, Rejudge):
        return _nothing
    return _plan if isinstance(order, Plan) else _standing


def _nothing(order: Undo, action: Action, root: Action, known: Known) -> Draft:
    raise DataError(
        f"Action {action.number} ({action.kind}) cannot be undone: the cycle was judged from the "
        f"rows that are there, and would be again. Hint: label the batches, or overrule verdicts."
    )


def _requests(order: Undo, action: Action, root: Action, known: Known) -> Draft:
    """Withdraw what was asked for; or ask for it again, where that was withdrawn."""
    asked: Mapping[str, str] = action.payload.get("requests", {})
    if not asked:
        return _asked_again(root, known)
    found = _found(asked, known)
    withdrawn = tuple(one.request.id for one in found.values() if one.status == "open")
    rest = len(asked) - len(withdrawn)
    if not withdrawn:
        raise DataError(
            f"Action {action.number} ({action.kind}) cannot be undone: all "
            f"{len(asked):,} of its re-trainings are running or over. "
            f"Hint: roll back to the version before."
        )
    warnings = []
    if rest:
        warnings.append(
            f"{rest:,} of its re-trainings are running or over: these models stay. Roll them back, "
            f"if they have to go."
        )
    names = tuple(name for name, one in found.items() if one.status == "open")
    return Draft(
        sentence=f"; {len(withdrawn):,} re-trainings are withdrawn{also(rest, 'running or over')}",
        streams=names,
        changes=[Change(name, None, "re-training", "asked for", "withdrawn") for name in names],
        counts={"re-trainings withdrawn": len(withdrawn), "running or over": rest},
        warnings=tuple(warnings),
        payload={"withdrawn": list(withdrawn)},
        withdrawn=withdrawn,
    )


def _asked_again(root: Action, known: Known) -> Draft:
    were = names_of(root)
    held = {
        *known.held(known.standing.pinned, were),
        *known.held(known.standing.frozen, were),
    }
    names = tuple(name for name in were if name not in known.open_requests and name not in held)
    requests = retrainings(known, names, Versions(known.store, known.fleet.row))
    return Draft(
        sentence=f"; asks for {len(names):,} re-trainings again"
        f"{also(len(held), 'pinned or frozen')}",
        streams=names,
        changes=[Change(name, None, "re-training", "", "asked for") for name in names],
        counts={"re-trainings asked for": len(names)},
        payload={"requests": {one.unique_id: one.id for one in requests}},
        requested=requests,
    )


def _found(asked: Mapping[str, str], known: Known) -> dict[str, OpenRequest]:
    """Return what is asked for still, of what was, by stream."""
    ids = set(asked.values())
    return {name: one for name, one in known.open_requests.items() if one.request.id in ids}


def _versions(order: Undo, action: Action, root: Action, known: Known) -> Draft:
    """Bring back what was live before: what is not carried out yet is withdrawn."""
    told_versions: Mapping[str, list[int]] = action.payload.get("versions", {})
    found = _found(action.payload.get("requests", {}), known)
    running = [name for name, one in found.items() if one.status == "claimed"]
    withdrawn = tuple(one.request.id for one in found.values() if one.status == "open")
    versions = Versions(known.store, known.fleet.row)
    # Where nothing came of it, what was live before still is.
    gone_back: dict[str, int | None] = {
        name: was[0]
        for name, was in told_versions.items()
        if name not in found and versions.live(name) > was[0]
    }
    if not gone_back and not withdrawn:
        state = "being carried out" if running else "live still"
        raise DataError(
            f"Action {action.number} ({action.kind}) cannot be undone now: what was live before "
            f"is {state}. Hint: {'wait until the fits have ended' if running else 'nothing to do'}."
        )
    made = restoring(gone_back, known, versions) if gone_back else Draft("")
    since = [name for name in gone_back if versions.live(name) > told_versions[name][0] + 1]
    warnings = [*made.warnings]
    if since:
        warnings.append(f"{streams_text(len(since))} got newer versions since: they go, too.")
    back_again = {name: told_versions[name] for name, one in found.items() if one.status == "open"}
    return replace(
        made,
        sentence=f"; {len(gone_back):,} versions come back"
        f"{also(len(withdrawn), 'withdrawn before they were carried out')}"
        f"{also(len(running), 'being carried out, and left as they are')}",
        streams=(*gone_back, *back_again),
        counts={"versions that come back": len(gone_back), "withdrawn": len(withdrawn)},
        warnings=tuple(warnings),
        payload={
            **made.payload,
            "withdrawn": list(withdrawn),
            "versions": {**made.payload.get("versions", {}), **_turned(back_again)},
        },
        withdrawn=withdrawn,
    )


def _turned(versions: Mapping[str, list[int]]) -> dict[str, list[int]]:
    return {name: [target, live] for name, (live, target) in versions.items()}


def _incident(order: Undo, action: Action, root: Action, known: Known) -> Draft:
    on = order_of(root)
    assert isinstance(on, OnIncident)
    incident = incident_of(on.incident, known)
    made = back(incident, action.payload, known)
    return Draft(
        sentence=f"; the incident of {incident.scope} is {made.state}",
        named=False,
        changes=[Change("", None, "state", incident.state, made.state)],
        payload={"before": incident_state(incident), "after": incident_state(made)},
        incidents=(made,),
        cycle=known.cycle,
    )


def _batches(order: Undo, action: Action, root: Action, known: Known) -> Draft:
    """Have the batches judged anew without what was said of them, or with it again."""
    names, before = names_of(root), known.standing
    after = _after(order, known)
    heads = [head for span in _spans(root, before, after, known) for head in known.judged(*span)]
    if not (heads and known.dry):
        return Draft("; nothing that is judged changes", names, counts={ANEW: 0})
    made = difference(order, names, known)
    return Draft(
        sentence=f"; {anew(made)}",
        streams=names,
        changes=changes_of(made),
        total=made.total,
        counts={ANEW: made.cycles, **made.counts},
    )


def _spans(root: Action, before: Standing, after: Standing, known: Known) -> list[Any]:
    order = order_of(root)
    own = span_of(order, known)
    if own is not None:
        return [own]
    events = {**before.events, **after.events}
    return [
        (event.begins, event.ends)
        for one in events
        if before.events.get(one) != after.events.get(one)
        for event in (before.events.get(one), after.events.get(one))
        if event is not None
    ]


def _plan(order: Undo, action: Action, root: Action, known: Known) -> Draft:
    plan = known.standing.plans.get(action.number)
    if plan is not None and plan.done:
        raise DataError(
            f"Action {action.number} (plan) cannot be undone: its time has come and the "
            f"re-trainings are asked for. Hint: undo these."
        )
    return _standing(order, action, root, known)


def _standing(order: Undo, action: Action, root: Action, known: Known) -> Draft:
    """Leave it out of what stands, or take it in again."""
    names, after = names_of(root), _after(order, known)
    changes = list(_apart(known.standing, after, names))
    return Draft(
        sentence=f"; {len(changes):,} things change",
        streams=names,
        named=bool(names),
        changes=changes,
        counts={"things that change": len(changes)},
    )


def _after(order: Undo, known: Known) -> Standing:
    return standing_of([*known.actions, trial(order, (), known)])


def _apart(before: Standing, after: Standing, names: Sequence[str]) -> "list[Change]":
    made = []
    if before.budget != after.budget:
        told_ones = [
            "no limit" if one is None else f"{one:,} re-trainings per cycle"
            for one in (before.budget, after.budget)
        ]
        made.append(Change("", None, "budget", *told_ones))
    if before.fleet_policy != after.fleet_policy:
        texts = [one or "that of mlma.toml" for one in (before.fleet_policy, after.fleet_policy)]
        made.append(Change("", None, "policy of the fleet", *texts))
    for what in ("frozen", "pinned", "policies"):
        old, new = getattr(before, what), getattr(after, what)
        every = names or sorted({*old, *new})
        made += [
            Change(
                name, None, _WORDS[what], _shown(what, old.get(name)), _shown(what, new.get(name))
            )
            for name in every
            if old.get(name) != new.get(name)
        ]
    made += [
        Change(name, None, "plan", *_planned(number, name, before, after))
        for number in sorted({*before.plans, *after.plans})
        if before.plans.get(number) != after.plans.get(number)
        for name in (before.plans.get(number) or after.plans[number]).unique_ids
    ]
    return made


def _planned(number: int, name: str, *standings: Standing) -> list[str]:
    found = [one.plans.get(number) for one in standings]
    return ["" if one is None else one.at.isoformat(timespec="minutes") for one in found]


def _shown(what: str, held: Any) -> str:
    if held is None:
        return ""
    if what == "policies":
        return str(held[1])
    return (
        what if held.until is None else f"{what} until {held.until.isoformat(timespec='minutes')}"
    )


_WORDS = {"frozen": "frozen", "pinned": "pinned", "policies": "policy"}
