"""The story of an incident: when what was seen, what the agent did, what people did.

Takes an incident and the store, gives its timeline.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mlma.domain.incidents import BY_ITSELF, WITHDRAWN, Incident
from mlma.domain.ledger import Action
from mlma.domain.orders import AFTERWARDS, AHEAD, ON_INCIDENTS
from mlma.domain.selectors import Selector
from mlma.web.face import Desk
from mlma.web.pages.order_filling import zone_of
from mlma.web.pages.order_words import Told, told, who

_OF_STREAMS = [one.kind for one in (*AHEAD, *AFTERWARDS)]
_OF_TRAINERS = ["deployed", "failed"]
_MOST_ACTIONS = 2_000


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened.

    action
        number of the action; None = it is none.
    tone
        ``open``, ``closed``, ``person`` or ``agent``.
    live
        versions that went live with it; 0 = it was something else.
    """

    at: datetime
    what: str
    who: str = ""
    why: str = ""
    cycle: int | None = None
    action: int | None = None
    tone: str = "agent"
    live: int = 0


def story(at: Desk, one: Incident) -> list[Moment]:
    """Return what happened with an incident, in the order in which it did."""
    opened = Moment(one.opened_at, "Opened", "the agent", one.cause, one.opened_cycle, tone="open")
    moments = [opened, *_by_people(at, one), *_by_trainers(at, one)]
    if one.closed_at is not None and one.closed_by in {BY_ITSELF, WITHDRAWN, ""}:
        closed = Moment(
            one.closed_at, "Closed", "the agent", _why_closed(one), one.closed_cycle, tone="closed"
        )
        moments.append(closed)
    return _together(sorted(moments, key=lambda moment: moment.at))


def _why_closed(one: Incident) -> str:
    if one.closed_by == WITHDRAWN:
        return "judged anew, the batch no longer shows it"
    return "the cause went away"


def _together(moments: Sequence[Moment]) -> list[Moment]:
    """Return moments in which one after the other version went live as one."""
    made: list[Moment] = []
    for moment in moments:
        before = made[-1] if made else moment
        if made and before.live and moment.live:
            live = before.live + moment.live
            until = f"until cycle {moment.cycle}" if moment.cycle else "and some count from now on"
            what = f"{live:,} new versions went live"
            made[-1] = replace(before, what=what, why=until, live=live)
        else:
            made.append(moment)
    return made


def _by_people(at: Desk, one: Incident) -> list[Moment]:
    """Return what people did about it, and about its members meanwhile."""
    wanted = [kind.kind for kind in ON_INCIDENTS] + _OF_STREAMS
    actions = _since(at, one, wanted)
    own = [told(action, zone_of(at)) for action in actions]
    names = at.room.names()
    members = set(names.gather([*one.members]).to_list())
    return [_moment(act) for act in own if _about(at, act, one, members)]


def _about(at: Desk, act: Told, one: Incident, members: set[str]) -> bool:
    if act.incident:
        return act.incident == one.id
    if act.action.kind == "event":
        return _declared_for(at, act.action, members)
    return any(name in members for name in act.action.payload.get("unique_ids", ()))


def _declared_for(at: Desk, action: Action, members: set[str]) -> bool:
    """Return whether an event is about one of some streams."""
    whom = Selector.of(action.payload["order"]["event"]["selector"])
    return bool(whom.mask(sorted(members), at.room.tags()).any())


def _moment(act: Told) -> Moment:
    action = act.action
    words = act.what if act.incident or not act.whom else f"{act.what}: {act.whom}"
    return Moment(
        action.at, words, who(action.by), action.why, action.cycle, action.number, "person"
    )


def _by_trainers(at: Desk, one: Incident) -> list[Moment]:
    """Return which re-trainings of its members ended meanwhile, those of a cycle together."""
    members = set(at.room.names().gather([*one.members]).to_list())
    ended: dict[tuple[str, int | None], list[Action]] = {}
    counts: dict[tuple[str, int | None], int] = {}
    for action in _since(at, one, _OF_TRAINERS):
        count = len(members.intersection(action.payload["unique_ids"]))
        if count:
            key = (action.kind, action.cycle)
            ended.setdefault(key, []).append(action)
            counts[key] = counts.get(key, 0) + count
    return [
        Moment(
            actions[0].at,
            _ended(key[0], counts[key]),
            "the trainer",
            actions[0].why if key[0] == "failed" else "",
            key[1],
            live=counts[key] if key[0] == "deployed" else 0,
        )
        for key, actions in ended.items()
    ]


def _ended(kind: str, count: int) -> str:
    streams = "stream" if count == 1 else "streams"
    if kind == "deployed":
        return f"New versions of {count:,} {streams} went live"
    return f"Re-training of {count:,} {streams} failed"


def _since(at: Desk, one: Incident, kinds: Sequence[str]) -> list[Action]:
    """Return actions of some kinds while the incident lasted, and those that wait."""
    store = at.room.store
    last = one.closed_cycle or max(one.updated_cycle, _newest(at))
    span = (one.opened_cycle, last + 1)
    found = store.actions(kind=list(kinds), cycles=span, limit=_MOST_ACTIONS)
    waiting = store.actions(kind=list(kinds), pending=True, limit=_MOST_ACTIONS)
    own = [*found, *waiting] if one.unfinished else found
    return [action for action in own if action.at >= one.opened_at or _names(action, one)]


def _names(action: Action, one: Incident) -> bool:
    return bool(action.payload.get("order", {}).get("incident") == one.id)


def _newest(at: Desk) -> int:
    newest = at.room.newest()
    return newest.cycle if newest else 0
