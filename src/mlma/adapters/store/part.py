"""What every part of the store has: the database."""

from sqlalchemy import Column, ColumnElement, collate

from mlma.adapters.store.engine import Database


class Part:
    """Base of the parts of `SQLStore`; each knows one noun."""

    _database: Database

    def _bytewise(self, column: Column[str]) -> ColumnElement[str]:
        """Return a column of names to order by, the same in both databases."""
        return collate(column, "C" if self._database.kind == "postgresql" else "BINARY")
