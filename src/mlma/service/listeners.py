"""Addresses to listen on: taken before anything else is opened.

Takes host and port, gives a socket. Next is the server.
"""

import socket

from mlma.domain.errors import SettingsError


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that has an address and does not listen yet.

    Raises
    ------
    SettingsError
        The host has no address here, or the port is taken.
    """
    try:
        rows = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, number, _, address = rows[0]
        made = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise _refused("host", host, error) from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise _refused("port", port, error) from error
    return made


def address_of(listener: socket.socket) -> str:
    """Return the address of a socket as people type it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refused(key: str, got: object, error: Exception) -> SettingsError:
    reason = getattr(error, "strerror", None) or error
    hint = " Hint: another server may have it; `--port 0` takes any." if key == "port" else ""
    return SettingsError(
        f"`{key}` of [server] must be one to listen on. Got {got}: {reason}.{hint}"
    )
