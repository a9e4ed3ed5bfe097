"""Orders ahead, looked at: freezes, pins, policies, plans, the budget, and re-trainings now.

Takes an order and what is known, gives its draft.
"""

from collections.abc import Mapping
from datetime import datetime

from mlma.agent.standing import Hold
from mlma.domain.errors import DataError, SettingsError
from mlma.domain.orders import (
    Freeze,
    Pin,
    Plan,
    Retrain,
    SetBudget,
    SwitchPolicy,
    Unfreeze,
    Unpin,
)
from mlma.domain.policy import Policy
from mlma.domain.settings import one_model, policy_from, same_memory, same_reading
from mlma.service.orders.asking import retrainings
from mlma.service.orders.draft import Change, Draft, Known, also, streams_text, when
from mlma.service.orders.versions import Versions


def retrain(order: Retrain, known: Known) -> Draft:
    """Look at re-trainings now: streams that are asked for already, or held, are left out."""
    names = known.fleet.of(order)
    asked = [name for name in names if name in known.open_requests]
    pinned = known.held(known.standing.pinned, names)
    frozen = known.held(known.standing.frozen, names)
    out = {*asked, *pinned, *frozen}
    left = tuple(name for name in names if name not in out)
    skipped = (
        f"{also(len(asked), 'asked for already')}{also(len(pinned), 'pinned')}"
        f"{also(len(frozen), 'frozen')}"
    )
    if not left:
        raise DataError(
            f"None of the {streams_text(len(names))} can be re-trained now{skipped}. "
            f"Hint: unpin or unfreeze, or wait for what is asked for."
        )
    requests = retrainings(known, left, Versions(known.store, known.fleet.row))
    ids = {one.unique_id: one.id for one in requests}
    return Draft(
        sentence=f"Asks for {len(left):,} re-trainings ({order.selector.text}){skipped}.",
        streams=left,
        changes=[Change(name, None, "re-training", "", "asked for") for name in left],
        counts={
            "re-trainings asked for": len(left),
            "asked for already": len(asked),
            "pinned": len(pinned),
            "frozen": len(frozen),
        },
        warnings=_nobody_trains(known),
        payload={"requests": ids, "skipped": len(out)},
        requested=requests,
    )


def _nobody_trains(known: Known) -> tuple[str, ...]:
    if known.trains:
        return ()
    return ("The agent has no trainer of its own: whoever trains has to read the requests.",)


def plan(order: Plan, known: Known) -> Draft:
    """Look at re-trainings at a time."""
    _check_ahead("at", order.kind, order.at, known)
    names = known.fleet.of(order)
    planned = {
        name
        for one in known.standing.plans.values()
        if not one.done and one.at > known.now
        for name in one.unique_ids
    }
    again = sum(name in planned for name in names)
    held = {
        *known.held(known.standing.pinned, names),
        *known.held(known.standing.frozen, names),
    }
    warnings = []
    if held:
        warnings.append(
            f"{len(held):,} of them are pinned or frozen now: if they still are then, nothing is "
            f"asked for."
        )
    return Draft(
        sentence=f"Plans re-trainings of {streams_text(len(names))} ({order.selector.text}) for "
        f"{when(order.at)}{also(again, 'planned already')}.",
        streams=names,
        changes=[Change(name, None, "plan", "", when(order.at)) for name in names],
        counts={"re-trainings planned": len(names), "planned already": again},
        warnings=(*warnings, *_nobody_trains(known)),
    )


def freeze(order: Freeze, known: Known) -> Draft:
    """Look at a freeze: open requests of the streams are withdrawn."""
    if order.until is not None:
        _check_ahead("until", order.kind, order.until, known)
    until = "" if order.until is None else f" until {when(order.until)}"
    after = "frozen" if order.until is None else f"frozen until {when(order.until)}"
    return _hold(order, known, known.standing.frozen, ("Freezes", "frozen", until, after))


def pin(order: Pin, known: Known) -> Draft:
    """Look at a pin: open requests of the streams are withdrawn."""
    return _hold(order, known, known.standing.pinned, ("Pins", "pinned", "", "pinned"))


def _hold(
    order: Freeze | Pin, known: Known, holds: Mapping[str, Hold], words: tuple[str, str, str, str]
) -> Draft:
    verb, held, until, after = words
    names = known.fleet.of(order)
    there = known.held(holds, names)
    before = {name: _told(holds[name], held) for name in there}
    asked = [known.open_requests[name] for name in names if name in known.open_requests]
    withdrawn = tuple(one.request.id for one in asked if one.status == "open")
    running = len(asked) - len(withdrawn)
    warnings = [f"{running:,} fits are running; they go live when they end."] if running else []
    return Draft(
        sentence=f"{verb} {streams_text(len(names))} ({order.selector.text}){until}"
        f"{also(len(there), f'{held} already')}.",
        streams=names,
        changes=[
            Change(name, None, held, before.get(name, ""), after)
            for name in names
            if before.get(name, "") != after
        ],
        counts={
            f"newly {held}": len(names) - len(there),
            f"{held} already": len(there),
            "re-trainings withdrawn": len(withdrawn),
        },
        warnings=tuple(warnings),
        payload={"withdrawn": list(withdrawn)},
        withdrawn=withdrawn,
    )


def _told(hold: Hold, held: str) -> str:
    return held if hold.until is None else f"{held} until {when(hold.until)}"


def unfreeze(order: Unfreeze, known: Known) -> Draft:
    """Look at the end of a freeze."""
    return _release(order, known, known.standing.frozen, "frozen")


def unpin(order: Unpin, known: Known) -> Draft:
    """Look at the end of a pin."""
    return _release(order, known, known.standing.pinned, "pinned")


def _release(order: Unfreeze | Unpin, known: Known, holds: Mapping[str, Hold], held: str) -> Draft:
    names = known.fleet.of(order)
    there = known.held(holds, names)
    if not there:
        raise DataError(
            f"None of the {streams_text(len(names))} ({order.selector.text}) is {held}. "
            f"Expected at least one that is."
        )
    verb = "Unfreezes" if isinstance(order, Unfreeze) else "Unpins"
    free = len(names) - len(there)
    return Draft(
        sentence=f"{verb} {streams_text(len(there))} ({order.selector.text})"
        f"{also(free, f'not {held}')}.",
        streams=names,
        changes=[Change(name, None, held, _told(holds[name], held), "") for name in there],
        counts={f"{held} no longer": len(there), f"not {held}": free},
    )


def budget(order: SetBudget, known: Known) -> Draft:
    """Look at a budget."""
    before, after = _limit(known.standing.budget), _limit(order.per_cycle)
    warnings = ["Nothing is re-trained with a budget of 0."] if order.per_cycle == 0 else []
    return Draft(
        sentence=f"Sets the budget to {after}; before: {before}.",
        named=False,
        changes=[] if before == after else [Change("", None, "budget", before, after)],
        counts={},
        warnings=tuple(warnings),
    )


def _limit(per_cycle: int | None) -> str:
    return "no limit" if per_cycle is None else f"{per_cycle:,} re-trainings per cycle"


def policy(order: SwitchPolicy, known: Known) -> Draft:
    """Look at another policy of some streams, or of the fleet.

    Raises
    ------
    SettingsError
        The policy cannot be, or does not go with that of the fleet.
    """
    names, whole = known.fleet.of(order), order.selector.everything
    of_file, own = known.settings.policy, known.standing.policies
    text, fleet = order.policy.strip(), known.standing.fleet_policy or of_file.label
    if text:
        in_force = policy_from(known.standing.fleet_policy or of_file)
        _check_policy(text, in_force, whole=whole)
    after = text or (of_file.label if whole else fleet)
    before = {name: own[name][1] if name in own else fleet for name in names}
    changed = [
        Change(name, None, "policy", old, after) for name, old in before.items() if old != after
    ]
    whom = "the fleet" if whole else f"{streams_text(len(names))} ({order.selector.text})"
    warnings = []
    if whole and own:
        warnings.append(f"{streams_text(len(own))} with a policy of their own lose it.")
    return Draft(
        sentence=f"Decides by {after} for {whom}; {streams_text(len(changed))} changed.",
        streams=names,
        named=not whole,
        changes=changed,
        counts={"streams that change": len(changed)},
        warnings=tuple(warnings),
    )


def _check_policy(text: str, fleet: Policy, *, whole: bool) -> None:
    wanted = one_model(text)
    apart = same_memory(fleet, wanted) if whole else same_reading(fleet, wanted)
    if not apart:
        return
    if whole:
        raise SettingsError(
            f"The policy of the fleet must be able to read what was remembered under "
            f"`{fleet.label}`. Got another `{apart[0]}` in `{text}`. Hint: that takes a new store."
        )
    raise SettingsError(
        f"The policy of some streams must read evidence as that of the fleet does, which is "
        f"`{fleet.label}`. Got another `{apart[0]}` in `{text}`. Hint: change what is done about "
        f"the evidence (level, max_age, follow_ups ...), or the policy of the fleet."
    )


def _check_ahead(name: str, kind: str, moment: datetime, known: Known) -> None:
    if moment.tzinfo is None:
        raise DataError(f"`{name}` of `{kind}` must have a time zone. Got {moment.isoformat()}.")
    if moment <= known.now:
        raise DataError(
            f"`{name}` of `{kind}` must lie ahead of {known.now.isoformat()}. "
            f"Got {moment.isoformat()}."
        )
