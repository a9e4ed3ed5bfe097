"""The command ``mlma serve-demo``: a delivery platform is played against a real server."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlma.cli.extras import AsJson, needs_serve

if TYPE_CHECKING:
    from mlma.library.live_demo.outcome import Outcome

EXAMPLE = """
**Example**

    mlma serve-demo --streams 200 --days 70
"""


def register_serve_demo(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(name="serve-demo", epilog=EXAMPLE)(serve_demo)


def serve_demo(
    *,
    streams: Annotated[int, typer.Option(help="Number of streams.")] = 200,
    days: Annotated[int, typer.Option(help="Days that are played.")] = 70,
    seed: Annotated[int, typer.Option(envvar="MLMA_SEED")] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="Empty or new folder; default: a temporary one.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 = any that is free.")
    ] = 0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Serve on until Ctrl-C, and keep the folder.")
    ] = False,
    store: Annotated[
        str | None, typer.Option(help="Address of an empty store; default: a file in the folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a server and play a delivery platform with planted breaks against it."""
    with needs_serve("`mlma serve-demo`"):
        from mlma.library.live_demo.display import display
        from mlma.library.live_demo.plan import Plan
        from mlma.library.live_demo.run import Place, run
    place = Place(folder, port, store, keep)
    with display(silent=as_json) as show, needs_serve("`mlma serve-demo`"):
        told = _told_as_json if as_json else partial(_told, keep=keep)
        run(Plan(streams, days, seed), place, show, told)


def _told(made: "Outcome", *, keep: bool) -> None:
    from mlma.library.live_demo.display import print_outcome

    print_outcome(made)
    if not keep:
        print("The server ends now; `mlma serve-demo --keep` leaves it to look around.")
    if made.folder is not None:
        print(f"Folder: {made.folder}")


def _told_as_json(made: "Outcome") -> None:
    print(json.dumps(made.to_dict(), allow_nan=False), flush=True)
