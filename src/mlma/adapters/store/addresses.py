"""Addresses of stores: what stands in ``url`` of the table ``[store]``.

Takes a text, gives an address of SQLAlchemy and one that may be shown. Next is `engine`.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from mlma.domain.errors import MissingExtraError, StoreError

_SECRET_KEYS = ("password", "sslpassword")
_FORMS = "sqlite:///file.db, postgresql://user:password@host/database or memory://"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is.

    kind
        ``memory``, ``sqlite`` or ``postgresql``.
    url
        for SQLAlchemy.
    shown
        for people: without a password.
    secret
        the password; empty = none.
    """

    kind: str
    url: URL
    shown: str
    secret: str = ""

    @property
    def path(self) -> Path | None:
        """The file of SQLite; None = it has none."""
        return Path(self.url.database) if self.kind == "sqlite" and self.url.database else None


def address_of(text: str) -> Address:
    """Return the address that a text tells.

    Raises
    ------
    StoreError
        It is no address of a store.
    MissingExtraError
        The driver of PostgreSQL is not installed.
    """
    if text.strip() in ("memory://", "sqlite://", "sqlite:///:memory:"):
        return Address("memory", make_url("sqlite://"), "memory://")
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError) as error:  # the text may hold a password: not shown
        raise StoreError(f"The address of the store cannot be read. Expected {_FORMS}.") from error
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _file(url)
    if backend in ("postgresql", "postgres"):
        return _server(url)
    raise StoreError(f"A store cannot be at {backend}://.... Expected {_FORMS}.")


def _file(url: URL) -> Address:
    if url.host or not url.database:
        raise StoreError(
            f"The address {url.render_as_string()} names no file. Hint: three slashes and a "
            f"relative path, or four and an absolute one: sqlite:////var/lib/mlma/mlma.db."
        )
    return Address("sqlite", url.set(drivername="sqlite"), f"sqlite:///{url.database}")


def _server(url: URL) -> Address:
    try:
        import psycopg as _  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("A store in PostgreSQL", "postgres") from error
    if "@" in (url.host or ""):  # what comes before it is the rest of a password: not shown
        raise StoreError("The address of the store must have `%40` for an @ in its password.")
    word = url.query.get("password")
    if isinstance(word, str):
        url = url.difference_update_query(["password"]).set(password=url.password or word)
    shown = url.set(drivername="postgresql").difference_update_query(_SECRET_KEYS)
    return Address(
        "postgresql",
        url.set(drivername="postgresql+psycopg"),
        shown.render_as_string(hide_password=True),
        url.password or "",
    )
