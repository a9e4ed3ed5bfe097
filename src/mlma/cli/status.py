"""The command ``mlma status``: how the live agent stands, from its store or from a server.

Reads and changes nothing; it works beside a running server and after one has died.
"""

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlma.cli.columns import table
from mlma.cli.cycle import HEAD, cell, cells, moment, next_batch
from mlma.cli.extras import AsJson, Config, StoreUrl, needs_serve, settings_of
from mlma.domain.errors import SettingsError, StoreError

if TYPE_CHECKING:
    import httpx

    from mlma.service.settings import Settings

EXAMPLE = """
**Example**

    mlma status --url http://127.0.0.1:8321 --json
"""
_SECONDS = 10.0

Url = Annotated[
    str | None, typer.Option("--url", help="Address of a running server; its key: $MLMA_KEY.")
]


def register_status(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLE)(status)


def status(
    *,
    config: Config = None,
    store: StoreUrl = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Tell how the live agent stands: cycles, verdicts, what it waits for, what is open."""
    if url is not None:
        told = _of_server(url, os.environ.get("MLMA_KEY", ""))
        print(json.dumps(told) if as_json else _text_of_server(told))
        return
    settings = settings_of("`mlma status`", config, {"store": {"url": store}})
    told = _of_store(settings)
    print(json.dumps(told) if as_json else _text(told))


def _of_store(settings: "Settings") -> dict[str, Any]:
    with needs_serve("`mlma status`"):
        from mlma.adapters.store import schema_version
        from mlma.service.standing import onlooker, standing
    if schema_version(settings.store.url.get_secret_value()) is None:
        return {"store": {"url": str(settings.store.url), "schema": None}}
    with onlooker(settings) as service:
        return standing(service)


def _text(told: dict[str, Any]) -> str:
    if told["store"]["schema"] is None:
        return f"{told['store']['url']}: no store yet; `mlma serve` or `mlma cycle` makes one."
    facts, requests, lease = told["store"], told["requests"], told["lease"]
    held = lease is not None and lease["held"]
    rows = {
        "store": f"{facts['url']}, {facts['bytes'] / 1e6:.1f} MB, schema {facts['schema']}",
        "streams": told["streams"],
        "next": next_batch(told["next_period"], told["waits_for"]),
        "judge": f"{lease['holder']}, until {moment(lease['expires_at'])} UTC"
        if held
        else "nobody runs",
        "requests": f"{requests['open']} open, {requests['claimed']} being carried out",
        "messages": _messages(told["outbox"]),
    }
    lines = [f"{name:<9} {value}" for name, value in rows.items()]
    shown = [cells(one) for one in told["cycles"]]
    return "\n".join([*lines, "", table(HEAD, shown) if shown else "No cycle yet."])


def _messages(outbox: dict[str, dict[str, int]]) -> str:
    told = [
        f"{target}: {counts['waiting']} waiting, {counts['given_up']} given up"
        for target, counts in outbox.items()
    ]
    return "; ".join(told) or "none waiting"


def _of_server(url: str, key: str) -> dict[str, Any]:
    with needs_serve("`mlma status`"):
        import httpx
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(
            base_url=url, headers=headers, timeout=_SECONDS, trust_env=False
        ) as client:
            ready = client.get("/ready")
            return {
                "url": url,
                "ready": ready.json(),
                "metrics": _answer(client.get("/api/v1/metrics")),
            }
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise SettingsError(
            "`--url` must be the address of a server, such as http://127.0.0.1:8321."
        ) from error
    except (httpx.HTTPError, ValueError) as error:
        raise StoreError(f"The server does not answer as mlma does: {error}.") from error


def _answer(response: "httpx.Response") -> Any:
    if response.status_code in {401, 403}:
        raise SettingsError(
            "The server asks for a key that may read. Hint: put it into the variable MLMA_KEY."
        )
    response.raise_for_status()
    return response.json()


def _text_of_server(told: dict[str, Any]) -> str:
    ready, metrics = told["ready"], told["metrics"]
    rows = {
        "server": f"{told['url']}, {'ready' if ready['ready'] else '; '.join(ready['reasons'])}",
        "streams": metrics["streams"],
        "cycle": metrics["cycle"] or "none yet",
        "verdicts": cell(metrics["verdicts"]) or "none yet",
        "next": next_batch(metrics["next_period"], metrics["waits_for"]),
        "judge": "this server" if metrics["leads"] else "another instance, or nobody yet",
        "requests": f"{metrics['open_requests']} open",
    }
    return "\n".join(f"{name:<9} {value}" for name, value in rows.items())
