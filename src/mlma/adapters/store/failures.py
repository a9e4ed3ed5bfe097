"""Errors of databases in the words of the store.

Takes what SQLAlchemy or a driver raises, gives `StoreError`: where, what, and what to do about it.
"""

import sqlite3

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mlma.adapters.store.addresses import Address
from mlma.domain.errors import ConflictError, StoreError

FOREIGN = (SQLAlchemyError, sqlite3.Error, OverflowError, UnicodeError)
"""What a call of a database may raise; a driver's own errors come wrapped by SQLAlchemy."""

_KNOWN: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("database or disk is full", "no space left", "could not extend file", "disk full"),
        "is full: nothing was written. Hint: free or add disk space; then it goes on by itself",
    ),
    (
        ("database is locked", "database table is locked"),
        "is busy: another process writes for too long. Hint: one server on a file; "
        "is a backup or another program holding it?",
    ),
    (
        ("readonly database", "read-only transaction"),
        "cannot be written. Hint: may this user write to the file and its folder?",
    ),
    (
        ("file is not a database", "malformed", "file is encrypted"),
        "is damaged, or is no SQLite file. Hint: restore a backup",
    ),
    (
        ("unable to open database file",),
        "cannot be opened. Hint: does its folder exist, and may this user write there?",
    ),
    (
        ("password authentication failed", "no password supplied"),
        "refuses the user or the password. Hint: check MLMA_STORE__URL",
    ),
    (
        (
            *("connection failed", "connection refused", "server closed the connection"),
            *("connection is lost", "terminating connection", "could not connect"),
            *("the connection is closed", "connection timeout", "failed to resolve host"),
            "starting up",
        ),
        "cannot be reached. Hint: does the server run? The next call tries again",
    ),
    (("permission denied",), "refuses. Hint: give the user rights on its tables"),
)


def store_error(error: BaseException, address: Address) -> StoreError:
    """Return what to raise for an error of the database at an address."""
    text = _plain(error, address)
    if isinstance(error, IntegrityError):
        return ConflictError(f"The store {address.shown} has that already: {text}.")
    if isinstance(error, PoolTimeoutError):
        return StoreError(f"The store {address.shown} is busy: no connection came free in time.")
    for signs, words in _KNOWN:
        if any(sign in text.lower() for sign in signs):
            return StoreError(f"The store {address.shown} {words} ({text}).")
    return StoreError(f"The store {address.shown} refused: {text}.")


def _plain(error: BaseException, address: Address) -> str:
    """Return the driver's words: no SQL, no values, no password, one line."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig else error
    text = " ".join(str(origin).split()).rstrip(".") or type(origin).__name__
    text = text.split("[SQL:")[0].strip()
    if address.secret:
        text = text.replace(address.secret, "***")
    return text if len(text) <= 300 else text[:297] + "..."
