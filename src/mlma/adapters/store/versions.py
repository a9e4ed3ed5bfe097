"""Which schema a store has, and the way to the newest one.

Takes a transaction, leaves tables. The versions themselves are modules of `migrations.versions`.
"""

from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, insert, inspect, select, text

from mlma.adapters.store.chunks import FORM
from mlma.adapters.store.schema import META, VERSION_TABLE
from mlma.domain.errors import SchemaError

_FOLDER = Path(__file__).parent / "migrations"
_EVIDENCE = "evidence"
_ONE_AT_A_TIME = 0x6D6C6D61  # "mlma", the key of the lock of whoever migrates


def newest() -> str:
    """Return the schema version that this version of mlma reads and writes."""
    return str(_scripts().get_current_head())


def current(connection: Connection) -> str | None:
    """Return the schema version of a database; None = it holds no store."""
    return _context(connection).get_current_revision()


def upgrade(connection: Connection, to: str = "head") -> tuple[str | None, str]:
    """Lead a database to a version, in the transaction of ``connection``; return both versions.

    Raises
    ------
    SchemaError
        A newer version of mlma wrote it.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
    before = current(connection)
    scripts, context = _scripts(), _context(connection)
    check_known(before, "The store")
    reached = before
    with Operations.context(context):
        for step in reversed(list(scripts.iterate_revisions(to, before or "base"))):
            if step.revision == before:
                continue
            step.module.upgrade()
            context.stamp(scripts, step.revision)
            reached = step.revision
    if before is None:
        connection.execute(insert(META), {"name": _EVIDENCE, "value": FORM})
    return before, str(reached)


def check_known(version: str | None, what: str) -> None:
    """Refuse a schema that this version of mlma does not know."""
    if version is None:
        return
    try:
        _scripts().get_revision(version)
    except CommandError:
        raise SchemaError(
            f"{what} was written by a newer mlma: its schema is {version}, and this one knows "
            f"{newest()}. Hint: start the newer version, or restore a backup."
        ) from None


def check_current(connection: Connection, shown: str) -> None:
    """Refuse a store that is not of the newest schema and the form of `EVIDENCE`.

    Raises
    ------
    SchemaError
        It is older or newer than this version of mlma.
    """
    version = current(connection)
    check_known(version, f"The store {shown}")
    if version != newest():
        raise SchemaError(
            f"The store {shown} was written by an older mlma: its schema is {version}, expected "
            f"{newest()}. Hint: make a backup (`mlma db backup`), then run `mlma db migrate`."
        )
    form = connection.execute(select(META.c.value).where(META.c.name == _EVIDENCE)).scalar()
    if form != FORM:
        raise SchemaError(
            f"The store {shown} holds evidence of another form than this mlma reads. "
            f"Got {form}. Hint: start the version of mlma that wrote it."
        )


def is_empty(connection: Connection) -> bool:
    """Tell whether a database holds no store yet."""
    return not inspect(connection).has_table(VERSION_TABLE)


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(_FOLDER), version_locations=[str(_FOLDER / "versions")])


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "transactional_ddl": True}
    )
