"""Checks of the store: can it be reached, does it fit, is there room, how fast does it write?

Takes settings, gives findings. A store that is not there yet is not made.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from mlma.ports import Store
from mlma.service.checks import Finding, Grade
from mlma.service.ground import check_ground
from mlma.service.settings import Settings

_SCARCE_BYTES, _TOO_FEW_BYTES = 2**30, 100 * 2**20
_SLOW_SECONDS, _TOO_SLOW_SECONDS = 0.05, 1.0
_TRIES = 5
_OTHER = "`mlma db migrate`, or the version of mlma that wrote it"


def store(settings: Settings) -> Iterator[Finding]:
    """The store: reachable, of this version, with room, and fast enough?"""
    from mlma.adapters.store import newest_schema, open_store, schema_version

    url = settings.store.url.get_secret_value()
    if url.startswith("memory:"):
        told = "memory://: everything is gone at the end of the process"
        yield Finding("store", "warn", told, 'url = "sqlite:///mlma.db"')
        return
    folder = folder_of(url)
    if folder is not None:
        yield from _room(folder)
        if not folder.is_dir():
            return
    schema, newest = schema_version(url), newest_schema()
    if schema is None:
        yield Finding("store", "ok", f"{settings.store.url}: no store yet, it will be made")
    elif schema != newest:
        yield Finding("store", "fail", f"schema {schema}, this mlma knows {newest}", _OTHER)
    else:
        opened = open_store(url)
        try:
            yield from _looked_at(opened)
            check_ground(settings, opened)
        finally:
            opened.close()
    if folder is not None:
        yield _disk(folder)


def folder_of(url: str) -> Path | None:
    """Return the folder of a store in a file; None = it is in no file.

    >>> str(folder_of("sqlite:////var/lib/mlma/mlma.db"))
    '/var/lib/mlma'
    """
    kind, _, path = url.partition(":///")
    return Path(path.partition("?")[0]).parent if kind == "sqlite" and path else None


def speed(what: str, seconds: list[float]) -> Finding:
    """Return the finding on the time that durable writes took."""
    taken = median(seconds)
    told = f"a durable write takes {taken * 1000:.1f} ms"
    if taken < _SLOW_SECONDS:
        return Finding(what, "ok", told)
    grade: Grade = "warn" if taken < _TOO_SLOW_SECONDS else "fail"
    return Finding(
        what, grade, told, "each request and each cycle waits for one; a disk of its own"
    )


def room(free: int) -> Finding:
    """Return the finding on the bytes that are left."""
    told = f"{free / 1e9:.1f} GB are free"
    if free >= _SCARCE_BYTES:
        return Finding("room", "ok", told)
    grade: Grade = "warn" if free >= _TOO_FEW_BYTES else "fail"
    return Finding("room", grade, told, "[retention] says what is kept for how long")


def _room(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        yield Finding("store", "fail", f"the folder {folder} does not exist", f"mkdir -p {folder}")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("store", "fail", f"the folder {folder} cannot be written by this user")
        return
    yield room(shutil.disk_usage(folder).free)


def _disk(folder: Path) -> Finding:
    try:
        return speed("disk", [_synced(folder) for _ in range(_TRIES)])
    except OSError as error:
        return Finding("disk", "fail", f"{folder} cannot be written: {error.strerror or error}")


def _looked_at(opened: Store) -> Iterator[Finding]:
    facts = opened.facts()
    told = f"{facts['url']}: schema {facts['schema']}, {facts['bytes'] / 1e6:.1f} MB"
    yield Finding("store", "ok", told)
    lease, now = opened.lease(), datetime.now(UTC)
    if lease is not None and lease.expires_at > now:
        yield Finding("judge", "ok", f"{lease.holder} judges")
    else:
        yield Finding("judge", "ok", "no instance runs")
    if str(facts["url"]).startswith("postgresql"):
        yield speed("database", [_remembered(opened) for _ in range(_TRIES)])
    newest = opened.cycles(newest_first=True, limit=1)
    if newest and newest[0].judged_at > now + timedelta(minutes=1):
        yield Finding(
            "clock",
            "warn",
            f"the newest cycle was judged at {newest[0].judged_at:%Y-%m-%d %H:%M} UTC, which is "
            "still to come",
            "right for a simulated clock; otherwise set the clock of this machine",
        )


def _remembered(opened: Store) -> float:
    begun = perf_counter()
    opened.remember("doctor", datetime.now(UTC).isoformat())
    return perf_counter() - begun


def _synced(folder: Path) -> float:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".mlma-doctor-") as file:
        file.write(os.urandom(4096))
        begun = perf_counter()
        file.flush()
        os.fsync(file.fileno())
        return perf_counter() - begun
