"""What every part of the store has: the database."""

from mlma.adapters.store.engine import Database


class Part:
    """Base of the parts of `SQLStore`; each knows one noun."""

    _database: Database
