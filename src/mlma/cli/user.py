"""The command ``mlma user``: the entry of a person who signs in to the pages."""

import json
import sys
from typing import Annotated

import typer

from mlma.cli.extras import AsJson, needs_serve
from mlma.domain.errors import SettingsError, unknown_name

EXAMPLE = """
**Example**

    mlma user ann --role engineer
"""


def register_user(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLE)(user)


def user(
    name: Annotated[str, typer.Argument(help="What the person types to sign in.")],
    *,
    role: Annotated[
        str, typer.Option(help="read, engineer (orders) or admin (of the whole fleet, too).")
    ],
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read the password from a line of standard input.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a password; show the entry for mlma.toml that recognises it."""
    with needs_serve("`mlma user`"):
        from mlma.service.entries import name_of
        from mlma.service.roles import USER_ROLES
        from mlma.service.users import check_password, password_hash
    if role not in USER_ROLES:
        raise unknown_name("role", role, USER_ROLES)
    if not name_of(name):
        raise SettingsError(
            f"NAME must be 1 to 80 letters, digits, dots, hyphens or underscores. Got {name!r}."
        )
    password = _line() if stdin else _asked(name)
    check_password(password)
    hashed = password_hash(password)
    if as_json:
        print(json.dumps({"name": name, "password_hash": hashed, "role": role}))
        return
    print("The entry for mlma.toml; the password is kept nowhere:", file=sys.stderr)
    print(f'\n[[users]]\nname = "{name}"\npassword_hash = "{hashed}"\nrole = "{role}"')


def _line() -> str:
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError("The password on standard input must be text in UTF-8.") from None


def _asked(name: str) -> str:
    """Return the password that is typed twice, hidden."""
    if not sys.stdin.isatty():
        raise SettingsError(
            "A password is asked for at a terminal, and there is none. "
            "Hint: --stdin reads it from standard input."
        )
    told: str = typer.prompt(
        f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True
    )
    return told
