"""The store of a live agent: SQLite and PostgreSQL behind one port.

SQLAlchemy and Alembic are imported when a store is opened, not before.
"""

from os import PathLike
from typing import TYPE_CHECKING, Any

from mlma.domain.errors import MissingExtraError

if TYPE_CHECKING:
    from mlma.adapters.store.sql_store import SQLStore

__all__ = ["backup", "migrated", "newest_schema", "open_store", "schema_version", "shown_url"]


def open_store(url: str, *, migrate: bool = False) -> "SQLStore":
    """Return the store at an address; an empty database is made ready.

    Parameters
    ----------
    url
        ``sqlite:///file.db`` (relative), ``sqlite:////folder/file.db`` (absolute),
        ``postgresql://user:password@host/database``, or ``memory://``: gone when it is closed.
    migrate
        bring a store of an older version of mlma up to date instead of refusing it.

    Raises
    ------
    StoreError
        It cannot be reached.
    SchemaError
        It was written by an older or newer version of mlma.
    MissingExtraError
        SQLAlchemy, or the driver of PostgreSQL, is not installed.

    >>> store = open_store("memory://")
    >>> store.register(["shop-1", "shop-2"])
    2
    >>> store.close()
    """
    return _rooms().opened(url, migrate=migrate)  # type: ignore[no-any-return]


def migrated(url: str) -> tuple[str | None, str]:
    """Bring the store at an address up to date; return its schema before and after.

    All or nothing, and harmless where it is up to date. None = the database was empty.
    """
    return _rooms().migrated(url)  # type: ignore[no-any-return]


def schema_version(url: str) -> str | None:
    """Return the schema version of the store at an address; None = there is no store yet."""
    return _rooms().schema_version(url)  # type: ignore[no-any-return]


def newest_schema() -> str:
    """Return the schema version that this version of mlma reads and writes."""
    return _rooms().newest_schema()  # type: ignore[no-any-return]


def shown_url(url: str) -> str:
    """Return the address of a store without a password."""
    return _rooms().shown_url(url)  # type: ignore[no-any-return]


def backup(url: str, to: "str | PathLike[str]") -> int:
    """Copy a store, as it is at one moment, into a new SQLite file; return the bytes of the file.

    The store may be written meanwhile. The file is a store itself: ``sqlite:///`` and its path.
    """
    return _rooms().backup(url, to)  # type: ignore[no-any-return]


def _rooms() -> Any:
    try:
        from mlma.adapters.store import opening
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("sqlalchemy", "alembic"):
            raise
        raise MissingExtraError("The store of a live agent", "serve") from error
    return opening
