"""The command ``mlma serve``: the live agent as a service.

It ends with exit code 0 when a signal asks it to.
"""

from typing import Annotated, Any

import typer

from mlma.cli.extras import Config, StoreUrl, needs_serve, settings_of

EXAMPLE = """
**Example**

    mlma serve --config mlma.toml --port 8321
"""

Port = Annotated[int | None, typer.Option(help="Port; before `port` of [server]. 0 = any.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on; before `host` of [server].")]


def register_serve(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLE)(serve)


def serve(
    *, config: Config = None, host: Host = None, port: Port = None, store: StoreUrl = None
) -> None:
    """Run the live agent behind HTTP until SIGTERM or SIGINT; a second signal ends it at once."""
    options: dict[str, dict[str, Any]] = {
        "server": {"host": host, "port": port},
        "store": {"url": store},
    }
    settings = settings_of("`mlma serve`", config, options)
    settings.check_exposed()
    settings.live()  # what is wrong is told before anything is opened
    with needs_serve("`mlma serve`"):
        from mlma.cli.listening import run
        from mlma.service.logs import logs
    with logs(settings.server.log, settings.server.level), needs_serve("`mlma serve`"):
        run(settings)
