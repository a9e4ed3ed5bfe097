"""The same order without its page: the request and the command that do what the button does.

Takes an order, gives both as text that can be copied.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from mlma.domain.orders import Order, Selecting
from mlma.domain.selectors import Selector

_MOST_NAMES = 5
_ARGUMENTS = {
    "budget": "per_cycle",
    "cancel_event": "event",
    "policy": "policy",
    "label": "label",
    "overrule": "verdict",
    "rejudge": "cycle",
    "undo": "action",
    "acknowledge": "incident",
    "snooze": "incident",
    "resolve": "incident",
    "reopen": "incident",
    "confirm": "incident",
    "deny": "incident",
}
"""What the command of a kind takes without a name before it."""
_CARRIED = frozenset({"revisions", "revision", "seen"})
_LEFT_OUT = frozenset({"selector", "everything", "overlap"}) | _CARRIED


def request_of(order: Order) -> str:
    """Return the request that gives an order; `dry_run` tells only what it would change.

    >>> from mlma.domain.orders import Undo
    >>> print(request_of(Undo(action=7)))
    POST /api/v1/actions
    {"kind": "undo", "action": 7, "dry_run": true}
    """
    body = {"kind": order.kind, **_short(order.payload()), "dry_run": True}
    return f"POST /api/v1/actions\n{json.dumps(body, ensure_ascii=False)}"


def command_of(order: Order) -> str:
    """Return the command that gives an order.

    >>> from mlma.domain.orders import Freeze
    >>> command_of(Freeze(selector=Selector(tags=("city=New York",))))
    "mlma act freeze --tag 'city=New York'"
    """
    kind, payload = order.kind, order.payload()
    told = ["mlma", "act", kind.replace("_", "-")]
    if kind == "event":
        told += _event(payload["event"])
    argument = _ARGUMENTS.get(kind)
    if argument is not None:
        value = payload[argument]
        told.append("none" if value is None else str(value))
    for name, value in payload.items():
        if name not in {argument, "event", *_LEFT_OUT} and value is not None:
            told += [f"--{name.replace('_', '-')}", str(value)]
    if isinstance(order, Selecting):
        told += [*_selector(order.selector), *(["--everything"] if order.everything else [])]
    return shlex.join(told)


def _short(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return an order as a request tells it, but for what its page only carries along."""
    made = {
        name: value
        for name, value in payload.items()
        if (value not in (None, False, {}) or name == "per_cycle") and name not in _CARRIED
    }
    names = made.get("selector", {}).get("unique_ids", ())
    if len(names) > _MOST_NAMES:
        made["selector"] = {**made["selector"], "unique_ids": [*names[:_MOST_NAMES], "..."]}
    return made


def _selector(selector: Selector) -> list[str]:
    told = [word for tag in selector.tags for word in ("--tag", tag)]
    told += ["--search", selector.search] if selector.search else []
    told += [word for name in selector.unique_ids[:_MOST_NAMES] for word in ("--stream", name)]
    return told if len(selector.unique_ids) <= _MOST_NAMES else [*told, "..."]


def _event(plain: Mapping[str, Any]) -> list[str]:
    told = [str(plain["name"])]
    for name in ("begins", "ends", "type"):
        told += [f"--{name}", str(plain[name])]
    told += [] if plain["exclude"] else ["--no-exclude"]
    told += [] if plain["mute"] else ["--no-mute"]
    told += ["--matched"] if plain["matched"] else []
    return [*told, *_selector(Selector.of(plain["selector"]))]
