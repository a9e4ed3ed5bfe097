"""Opening, migrating and copying stores: what `mlma.adapters.store` offers."""

from contextlib import closing
from os import PathLike
from pathlib import Path

from mlma.adapters.store import versions
from mlma.adapters.store.addresses import address_of
from mlma.adapters.store.copies import copied
from mlma.adapters.store.engine import Database
from mlma.adapters.store.sql_store import SQLStore
from mlma.domain.errors import StoreError
from mlma.ports import Store


def opened(url: str, *, migrate: bool = False) -> SQLStore:
    """Return the store at an address; see `mlma.adapters.store.open_store`."""
    database = Database(url)
    try:
        with database.read() as connection:
            empty = versions.is_empty(connection)
        if empty or migrate:
            with database.write() as connection:
                versions.upgrade(connection)
        with database.read() as connection:
            versions.check_current(connection, database.address.shown)
    except BaseException:
        database.close()
        raise
    return SQLStore(database)


def migrated(url: str) -> tuple[str | None, str]:
    """Bring the store at an address up to date; return its schema before and after."""
    with closing(Database(url)) as database, database.write() as connection:
        return versions.upgrade(connection)


def schema_version(url: str) -> str | None:
    """Return the schema version of the store at an address; None = there is no store yet."""
    path = address_of(url).path
    if path is not None and not path.exists():
        return None  # to ask is not to make a file
    with closing(Database(url)) as database, database.read() as connection:
        return None if versions.is_empty(connection) else versions.current(connection)


def newest_schema() -> str:
    """Return the schema version that this version of mlma reads and writes."""
    return versions.newest()


def shown_url(url: str) -> str:
    """Return the address of a store without a password."""
    return address_of(url).shown


def backup(url: str, to: "str | PathLike[str]") -> int:
    """Copy a store into a new SQLite file; see `mlma.adapters.store.backup`."""
    if schema_version(url) is None:
        raise StoreError(f"There is no store at {address_of(url).shown}: nothing to copy.")
    with closing(Database(url)) as database:
        return copied(database, Path(to))


def _satisfies_the_port(store: SQLStore) -> Store:
    """Let the type checker hold the class to its port."""
    return store
