"""The command ``mlma verify``: the ledger proves itself by being computed once more.

Reads and changes nothing; it works beside a running server.
"""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlma.cli.extras import AsJson, Config, StoreUrl, needs_serve, settings_of

if TYPE_CHECKING:
    from mlma.agent.verification import Verified

DIFFERS = 1
_SHOWN = 10


def register_verify(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(verify)


def verify(
    *,
    config: Config = None,
    store: StoreUrl = None,
    first: Annotated[
        int | None,
        typer.Option(help="First cycle to compute; it starts from the snapshot before."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute every cycle of the ledger once more and compare it, bit by bit.

    Exit code 0: all came out the same; 1: something did not, and what is told.
    """
    settings = settings_of("`mlma verify`", config, {"store": {"url": store}})
    from mlma.library.progress import progress_for

    with needs_serve("`mlma verify`"):
        from mlma.adapters.store import open_store
        from mlma.agent.verification import verified
        from mlma.service.ground import check_ground
    live = settings.live()  # what is wrong is told before anything is opened
    opened = open_store(settings.store.url.get_secret_value())
    try:
        check_ground(settings, opened)
        newest = opened.cycles(newest_first=True, limit=1)
        cycles = newest[0].cycle - (first or 1) + 1 if newest else 0
        made = verified(opened, live, first=first)
        told = []
        with progress_for(False if as_json else None) as report:
            for one in made:
                told.append(one)
                if report is not None:
                    report("Verifying", len(told), cycles)
        names = opened.streams() if any(one.differing for one in told) else []
    finally:
        opened.close()
    document = _document(told, names)
    print(json.dumps(document) if as_json else _text(document))
    if document["differing_cycles"]:
        raise typer.Exit(DIFFERS)


def _document(told: "list[Verified]", names: list[str]) -> dict[str, Any]:
    wrong = [one for one in told if not one.holds]
    return {
        "cycles": len(told),
        "stream_batches": sum(one.streams for one in told),
        "differing_cycles": len(wrong),
        "differences": [
            {
                "cycle": one.cycle,
                "revision": one.revision,
                "columns": list(one.columns),
                "streams": len(one.differing),
                "examples": [names[row] for row in one.differing[:3]],
            }
            for one in wrong
        ],
    }


def _text(document: dict[str, Any]) -> str:
    head = f"{document['cycles']} cycles, {document['stream_batches']:,} stream-batches: "
    if not document["cycles"]:
        return "The ledger is empty: there is nothing to verify."
    if not document["differing_cycles"]:
        return head + "each came out the same, and so did the state."
    lines = [
        f"cycle {one['cycle']}: {', '.join(one['columns'])} of {one['streams']} streams"
        + (f" ({', '.join(one['examples'])})" if one["examples"] else "")
        for one in document["differences"][:_SHOWN]
    ]
    more = document["differing_cycles"] - len(lines)
    lines += [f"and {more} cycles more"] if more > 0 else []
    return "\n".join(
        [head + f"{document['differing_cycles']} cycles came out differently.", *lines]
    )
