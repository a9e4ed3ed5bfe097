"""The command ``mlma key``: a new key for the door of the server."""

import json
import sys
from typing import Annotated

import typer

from mlma.cli.extras import AsJson, needs_serve
from mlma.domain.errors import SettingsError, unknown_name

EXAMPLE = """
**Example**

    mlma key --name store-42 --role ingest
"""


def register_key(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLE)(key)


def key(
    *,
    name: Annotated[str, typer.Option(help="Whose it is; stands in logs and with actions.")],
    role: Annotated[
        str, typer.Option(help="read, ingest (push rows), engineer or admin (everything).")
    ],
    as_json: AsJson = False,
) -> None:
    """Make a key; show it once, with the entry for mlma.toml that recognises it."""
    with needs_serve("`mlma key`"):
        from mlma.service.entries import name_of
        from mlma.service.keys import key_hash, new_key
        from mlma.service.roles import ROLES
    if role not in ROLES:
        raise unknown_name("role", role, ROLES)
    if not name_of(name):
        raise SettingsError(
            f"`--name` must be 1 to 80 letters, digits, dots, hyphens or underscores. Got {name!r}."
        )
    made = new_key()
    hashed = key_hash(made)
    if as_json:
        print(json.dumps({"name": name, "role": role, "key": made, "hash": hashed}))
        return
    print("The key, which is shown this once and kept nowhere:", file=sys.stderr)
    print(f"\n{made}\n")
    print("Its entry for mlma.toml, or for the file that MLMA_KEYS_FILE names:", file=sys.stderr)
    print(f'\n[[keys]]\nname = "{name}"\nhash = "{hashed}"\nrole = "{role}"')
