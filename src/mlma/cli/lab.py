"""The command ``mlma lab``: another policy on the fleet's own recorded history.

Reads the store and changes nothing; it works beside a running server.
"""

import json
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlma.cli.columns import table
from mlma.cli.extras import AsJson, Config, StoreUrl, needs_serve, settings_of

if TYPE_CHECKING:
    from mlma.agent.lab import Progress

EXAMPLE = """
**Example**

    mlma lab "mlma(false_retrainings=0.5)" --per-cycle 200
"""
HEAD = ("measure", "as it was", "as it would be", "change")
MEASURES = ("loss", "retrainings", "alarms", "incidents", "minutes")
_STREAMS = ("unique_id", "real_loss", "tried_loss", "real_retrainings", "tried_retrainings")
_SHOWN = 3
_STEPS = 1_000


def register_lab(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLE)(lab)


def lab(
    policy: Annotated[str, typer.Argument(help='As in mlma.toml: "mlma(level=0.01)", "never".')],
    *,
    per_cycle: Annotated[
        int | None, typer.Option(help="Re-trainings that a cycle asks for at most.")
    ] = None,
    first: Annotated[int | None, typer.Option(help="First cycle; default: all.")] = None,
    last: Annotated[int | None, typer.Option(help="Last cycle; default: the newest.")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Tell the order that puts the policy in force.")
    ] = False,
    config: Config = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Try a policy on the recorded history: loss, re-trainings, incidents, minutes."""
    settings = settings_of("`mlma lab`", config, {"store": {"url": store}})
    live = settings.live()  # what is wrong is told before anything is opened
    with needs_serve("`mlma lab`"):
        from mlma.adapters.store import open_store
        from mlma.agent.lab import Question, played
        from mlma.service.ground import check_ground
    question = Question(policy, per_cycle, first, last)
    question.tried()
    opened = open_store(settings.store.url.get_secret_value())
    try:
        check_ground(settings, opened)
        result = _watched(played(opened, live, question, settings.labour.model()), as_json)
    finally:
        opened.close()
    print(json.dumps(result, allow_nan=False) if as_json else text_of(result))
    if apply and not as_json:
        print(applying(policy, per_cycle))


def _watched(steps: "Progress", quiet: bool) -> dict[str, Any]:
    """Return the result of a run, with a bar on stderr while it is played."""
    from mlma.library.progress import progress_for

    with progress_for(False if quiet else None) as report:
        try:
            while True:
                share = next(steps)
                if report is not None:
                    report("Playing", round(share * _STEPS), _STEPS)
        except StopIteration as end:
            result: dict[str, Any] = end.value
    return result


def text_of(result: dict[str, Any]) -> str:
    """Return both sides as a table, what was guessed, and how."""
    real, tried = result["real"], result["tried"]
    low, high = tried["loss_low"], tried["loss_high"]
    share = result["counterfactual_share"]
    lines = [
        f"{result['policy']} on cycles {result['first']} to {result['last']}, "
        f"{result['streams']:,} streams:",
        table(HEAD, [_measure(name, real[name], tried[name]) for name in MEASURES]),
        f"{share:.1%} of the losses are counterfactual, which is to say guessed"
        + (f"; taking that differently the loss is {low:.6g} to {high:.6g}." if share else "."),
    ]
    differing = _differing(result["rows"])
    if differing:
        lines += ["Streams that differ most:", table(_STREAMS, differing)]
    return "\n".join([*lines, *result["notes"]])


def _measure(name: str, real: float | None, tried: float | None) -> list[Any]:
    change = "" if not real or tried is None else f"{tried / real - 1:+.1%}"
    return [name, *(_number(one) for one in (real, tried)), change]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _differing(rows: list[dict[str, Any]]) -> list[list[Any]]:
    shown = rows if len(rows) <= 2 * _SHOWN else [*rows[:_SHOWN], *rows[-_SHOWN:]]
    return [[one["unique_id"], *(_number(one[name]) for name in _STREAMS[1:])] for one in shown]


def applying(policy: str, per_cycle: int | None) -> str:
    """Return the commands that put a policy, and its budget, in force."""
    orders = [f"mlma act policy {quote(policy)} --everything"]
    orders += [] if per_cycle is None else [f"mlma act budget {per_cycle}"]
    return "To put it in force: " + "; ".join(orders)
