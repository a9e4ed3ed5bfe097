"""The commands ``mlma act ...``: orders of an engineer, one per kind.

Each shows first what it would change, and asks. It works on the store beside a running server,
which sees the order with its next look, or by the server itself.
"""

import inspect
import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer

from mlma.cli.columns import table
from mlma.cli.errands import counter, plain_cell
from mlma.cli.extras import AsJson, Config, StoreUrl
from mlma.cli.status import Url
from mlma.domain.errors import DataError

EXAMPLE = """
**Example**

    mlma act freeze --tag city=Ghent --until 2025-03-08T00:00:00+01:00 --why "fair" --dry-run
"""
_SHOWN = 20

Tags = Annotated[
    list[str] | None, typer.Option("--tag", help="name=value; repeat: a stream must have all.")
]
Search = Annotated[str, typer.Option("--search", help="Part of the name of streams.")]
Streams = Annotated[list[str] | None, typer.Option("--stream", help="Name of a stream; repeat.")]
Everything = Annotated[
    bool, typer.Option("--everything", help="Confirm that every stream is meant.")
]
Why = Annotated[str, typer.Option("--why", help="For the record.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would change; write nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Until = Annotated[str | None, typer.Option(help="Time with its zone; default: for good.")]
IncidentId = Annotated[str, typer.Argument(help="Id of the incident; `mlma incidents` lists them.")]
Seen = Annotated[int | None, typer.Option(help="`changed` of the incident when it was looked at.")]

acts = typer.Typer(
    name="act",
    help="Give orders to the live agent; each tells first what it changes.",
    no_args_is_help=True,
)


def register_act(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(acts)


Order = dict[str, Any]


def _option(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


_SELECTING = (
    _option("tag", Tags, None),
    _option("search", Search, ""),
    _option("stream", Streams, None),
    _option("everything", Everything, False),
)
_COMMON = (
    _option("why", Why, ""),
    _option("dry_run", DryRun, False),
    _option("yes", Yes, False),
    _option("as_json", AsJson, False),
    _option("config", Config, None),
    _option("store", StoreUrl, None),
    _option("url", Url, None),
)


def _command(kind: str, *, selecting: bool) -> Callable[[Callable[..., Order]], Any]:
    """Make a command of a function that gives the fields of an order from its own options."""

    def made(fields: Callable[..., Order]) -> Any:
        own = inspect.signature(fields).parameters
        shared = (*(_SELECTING if selecting else ()), *_COMMON)

        def command(**told: Any) -> None:
            order = fields(**{name: told[name] for name in own})
            if selecting:
                order = {**_selected(told), **order}
            _run(kind, order, told)

        parameters = [*own.values(), *shared]
        command.__doc__, command.__name__ = fields.__doc__, fields.__name__
        # Typer reads what a function takes from these two.
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        acts.command(kind.replace("_", "-"), epilog=EXAMPLE)(command)
        return fields

    return made


def _selected(told: dict[str, Any]) -> Order:
    selector = {
        "tags": list(told["tag"] or ()),
        "search": told["search"],
        "unique_ids": list(told["stream"] or ()),
    }
    plain = {name: value for name, value in selector.items() if value}
    return {"selector": plain, "everything": told["everything"]}


def _run(kind: str, order: Order, told: dict[str, Any]) -> None:
    """Show what an order would change, ask, and carry it out."""
    order = {name: value for name, value in order.items() if value is not None or kind == "budget"}
    with counter("`mlma act`", told["config"], told["store"], told["url"]) as at:
        made = at.rehearse(kind, order)
        if told["dry_run"]:
            print(json.dumps(made) if told["as_json"] else _text(made))
            return
        if not told["yes"]:
            print(_text(made), file=sys.stderr)
            typer.confirm("Carry it out?", abort=True, err=True)
        number = at.carry_out(kind, order, told["why"], made["after"])
    if told["as_json"]:
        print(json.dumps({"action": number, **made}))
    else:
        print(f"{made['sentence']}\nAction {number}. To take it back: mlma act undo {number}")


def _text(made: dict[str, Any]) -> str:
    lines = [made["sentence"]]
    lines += [f"Note: {one}" for one in made["warnings"]]
    counts = [f"{value:,} {name}" for name, value in made["counts"].items() if value]
    lines += [", ".join(counts)] if counts else []
    changes = made["changes"][:_SHOWN]
    if changes:
        head = ("stream", "cycle", "what", "before", "after")
        names = ("unique_id", "cycle", "what", "before", "after")
        lines += ["", table(head, [[plain_cell(one[name]) for name in names] for one in changes])]
    if made["total"] > len(changes):
        lines.append(f"... and {made['total'] - len(changes):,} more changes")
    return "\n".join(lines)


# Ahead.


@_command("retrain", selecting=True)
def retrain() -> Order:
    """Ask for re-trainings now."""
    return {}


@_command("plan", selecting=True)
def plan(*, at: Annotated[str, typer.Option(help="Time with its zone.")]) -> Order:
    """Ask for re-trainings at a time."""
    return {"at": at}


@_command("freeze", selecting=True)
def freeze(*, until: Until = None) -> Order:
    """Re-train nothing, until a time or `unfreeze`; losses are watched on."""
    return {"until": until}


@_command("unfreeze", selecting=True)
def unfreeze() -> Order:
    """Let the agent re-train again."""
    return {}


@_command("budget", selecting=False)
def budget(
    per_cycle: Annotated[str, typer.Argument(help="Re-trainings per cycle at most, or none.")],
) -> Order:
    """Ask for at most so many re-trainings per cycle, the worst losses first."""
    if per_cycle.lower() == "none":
        return {"per_cycle": None}
    if not per_cycle.isdecimal() or len(per_cycle) > 9:
        raise DataError(f"A budget must be 0 re-trainings or more, or none. Got {per_cycle!r}.")
    return {"per_cycle": int(per_cycle)}


@_command("event", selecting=False)
def event(
    name: Annotated[str, typer.Argument(help="Such as Christmas.")],
    *,
    begins: Annotated[str, typer.Option(help="Time with its zone.")],
    ends: Annotated[str, typer.Option(help="The first moment after it.")],
    type: Annotated[str, typer.Option(help="holiday, promotion, outage or other.")] = "other",
    id: Annotated[str | None, typer.Option(help="Of the event to change.")] = None,
    exclude: Annotated[
        bool, typer.Option(help="Its batches count for no reference and no training.")
    ] = True,
    mute: Annotated[bool, typer.Option(help="No re-training and no incident.")] = True,
    matched: Annotated[
        bool, typer.Option("--matched", help="Compare with the last one; --no-exclude.")
    ] = False,
    overlap: Annotated[bool, typer.Option("--overlap", help="Confirm an overlap.")] = False,
    tag: Tags = None,
    search: Search = "",
    stream: Streams = None,
) -> Order:
    """Put an event into the calendar, or change the one of the same id."""
    from mlma.domain.requests import digest

    whom = _selected({"tag": tag, "search": search, "stream": stream, "everything": False})
    told = {
        "id": id or digest([name, begins])[:12],
        "name": name,
        "type": type,
        "begins": _time("--begins", begins),
        "ends": _time("--ends", ends),
        "selector": whom["selector"],
        "exclude": exclude,
        "mute": mute,
        "matched": matched,
    }
    return {"event": told, "overlap": overlap}


def _time(name: str, text: str) -> str:
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        made = None
    if made is None or made.tzinfo is None:
        raise DataError(
            f"`{name}` must be a time with its zone. Got {text[:80]!r}. "
            f"Hint: 2025-03-01T12:00:00+00:00."
        )
    return made.isoformat()


@_command("cancel_event", selecting=False)
def cancel_event(event: Annotated[str, typer.Argument(help="Id of the event.")]) -> Order:
    """Take an event out of the calendar."""
    return {"event": event}


@_command("pin", selecting=True)
def pin() -> Order:
    """Keep the version that is live, until `unpin`."""
    return {}


@_command("unpin", selecting=True)
def unpin() -> Order:
    """Give a pinned version free."""
    return {}


@_command("policy", selecting=True)
def policy(
    policy: Annotated[str, typer.Argument(help='As in mlma.toml; "" = that of the fleet again.')],
) -> Order:
    """Decide by another policy: of some streams, or of the fleet."""
    return {"policy": policy}


# Afterwards.


@_command("roll_back", selecting=True)
def roll_back(
    *, version: Annotated[int | None, typer.Option(help="Default: the one before.")] = None
) -> Order:
    """Go back to a former version, model and reference together."""
    return {"version": version}


@_command("label", selecting=True)
def label(
    label: Annotated[str, typer.Argument(help="one_off, real_shift, broken, or none.")],
    *,
    begins: Annotated[str, typer.Option(help="Time with its zone.")],
    ends: Annotated[str, typer.Option(help="The first moment after the batches.")],
) -> Order:
    """Say what batches were; what followed is judged anew."""
    return {"label": label, "begins": _time("--begins", begins), "ends": _time("--ends", ends)}


@_command("overrule", selecting=True)
def overrule(
    verdict: Annotated[str, typer.Argument(help="healthy or degraded.")],
    *,
    cycle: Annotated[int, typer.Option(help="Number of the cycle.")],
) -> Order:
    """Say what the batches of a cycle were, against the verdict of the agent."""
    return {"verdict": verdict, "cycle": cycle}


@_command("rejudge", selecting=False)
def rejudge(cycle: Annotated[int, typer.Argument(help="Number of the cycle.")]) -> Order:
    """Open the batches of a cycle again: it is judged from the rows that are there now."""
    return {"cycle": cycle}


@_command("undo", selecting=False)
def undo(action: Annotated[int, typer.Argument(help="Number of the action.")]) -> Order:
    """Take an action back."""
    return {"action": action}


# Incidents.


@_command("acknowledge", selecting=False)
def acknowledge(incident: IncidentId, *, seen: Seen = None) -> Order:
    """Say that somebody is at an incident."""
    return {"incident": incident, "seen": seen}


@_command("snooze", selecting=False)
def snooze(
    incident: IncidentId,
    *,
    until: Annotated[str, typer.Option(help="Time with its zone.")],
    seen: Seen = None,
) -> Order:
    """Put an incident aside until a time."""
    return {"incident": incident, "until": until, "seen": seen}


@_command("resolve", selecting=False)
def resolve(incident: IncidentId, *, seen: Seen = None) -> Order:
    """Say that an incident is done with."""
    return {"incident": incident, "seen": seen}


@_command("reopen", selecting=False)
def reopen(incident: IncidentId, *, seen: Seen = None) -> Order:
    """Say that an incident is not done with."""
    return {"incident": incident, "seen": seen}


@_command("confirm", selecting=False)
def confirm(incident: IncidentId, *, seen: Seen = None) -> Order:
    """Say that the alarm of an incident was right."""
    return {"incident": incident, "seen": seen}


@_command("deny", selecting=False)
def deny(incident: IncidentId, *, seen: Seen = None) -> Order:
    """Say that the alarm of an incident was false."""
    return {"incident": incident, "seen": seen}
