"""The database under a store: connections, transactions and their errors.

Takes an address, gives transactions. Next are the nouns of the store, each with its own module.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock
from typing import Any

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event

from mlma.adapters.store.addresses import Address, address_of
from mlma.adapters.store.failures import FOREIGN, store_error
from mlma.domain.errors import StoreError

BUSY_SECONDS = 30
"""So long a call waits for another writer, or for a free connection."""

PAGE_BYTES = 8192
"""Page of a new SQLite file; measured in benchmarks/speed/store_forms.py."""

_LARGEST_LOG = 64 * 1024 * 1024


class Database:
    """Transactions on one database; may be used from any thread.

    Raises
    ------
    StoreError
        From every transaction: what the database raised, in our words. Nothing was written.
    """

    def __init__(self, url: str | Address) -> None:
        self.address = address_of(url) if isinstance(url, str) else url
        self._engine = _engine(self.address)
        self._reading = self._engine
        if self.kind == "postgresql":  # a call sees one moment, as it does in SQLite
            self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ")
        lock = RLock()
        self._alone: AbstractContextManager[Any] = (
            lock if self.kind != "postgresql" else nullcontext()
        )
        self._shared: AbstractContextManager[Any] = lock if self.kind == "memory" else nullcontext()

    @property
    def kind(self) -> str:
        """``memory``, ``sqlite`` or ``postgresql``."""
        return self.address.kind

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one moment of the database."""
        with self._shared, self._told(), self._reading.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes: all of it when it ends, nothing when it raises."""
        with self._alone, self._told(), self._engine.connect() as connection:
            writing = connection.execution_options(mlma_writes=True)
            with writing.begin():
                yield writing

    @contextmanager
    def raw(self) -> Iterator[Any]:
        """Lend a connection of the driver, outside of any transaction."""
        with self._shared, self._told(), self._engine.connect() as connection:
            yield connection.connection.driver_connection

    def close(self) -> None:
        """Give all connections back."""
        with self._told():
            self._engine.dispose()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FOREIGN as error:
            raise store_error(error, self.address) from error


def _engine(address: Address) -> Engine:
    if address.kind == "postgresql":
        return _server_engine(address)
    options: dict[str, Any] = {"connect_args": {"check_same_thread": False}}
    if address.kind == "memory":
        options["poolclass"] = StaticPool
    else:
        _check_folder(address)
        options |= {"pool_size": 8, "max_overflow": 56, "pool_timeout": BUSY_SECONDS}
        options["connect_args"]["timeout"] = BUSY_SECONDS
    engine = create_engine(address.url, **options)
    event.listen(engine, "connect", _prepared_file)
    event.listen(engine, "begin", _begun)
    return engine


def _check_folder(address: Address) -> None:
    path = address.path
    if path is not None and not path.parent.is_dir():
        raise StoreError(
            f"The store {address.shown} cannot be opened: there is no folder {path.parent}."
        )


def _prepared_file(connection: Any, _record: Any) -> None:
    """Prepare a new connection of SQLite; transactions are begun by `_begun`, not by the driver."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    cursor.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file; else without effect
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -16384")  # 16 MB for each connection
    cursor.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
    cursor.close()


def _begun(connection: Connection) -> None:
    # A writer takes its place in the queue at once: a reader that turns writer may be refused.
    writes = connection.get_execution_options().get("mlma_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _server_engine(address: Address) -> Engine:
    engine = create_engine(
        address.url,
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=24,
        pool_timeout=BUSY_SECONDS,
        connect_args={
            "connect_timeout": 10,
            "application_name": "mlma",
            "client_encoding": "utf8",
        },
    )
    event.listen(engine, "connect", _prepared_server)
    return engine


def _prepared_server(connection: Any, _record: Any) -> None:
    """Ask for what a call promises: what it wrote survives the loss of power."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        if cursor.fetchone()[0] == "off":
            cursor.execute("SET synchronous_commit = on")
        cursor.execute("SHOW server_encoding")
        encoding = cursor.fetchone()[0]
    connection.commit()
    if encoding != "UTF8":
        raise StoreError(
            f"The database of the store must be in UTF8, so that it takes every name. Got "
            f"{encoding}. Hint: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0."
        )
