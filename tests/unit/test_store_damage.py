"""Disks that are full, files that are damaged or held by others: told, and nothing half-written."""

import sqlite3
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mlma.adapters.store import engine, open_store
from mlma.adapters.store.addresses import address_of
from mlma.adapters.store.codec import row_bytes, rows_of, sealed, unsealed
from mlma.adapters.store.failures import store_error
from mlma.domain.errors import StoreError
from mlma.domain.inbox import Parcel, Rows
from mlma.domain.ledger import EVIDENCE
from stores import commit, entry, parcel, rows

I32 = np.int32


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def store(path):
    with closing(open_store(f"sqlite:///{path}")) as made:
        yield made


def change(path, statement, *values):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(statement, values).rowcount == 1


def large(n=200_000, period=1):
    value = np.random.default_rng(0).random(n)
    made = Rows(np.arange(n, dtype=I32), np.zeros(n, dtype=I32), value)
    return Parcel("actuals", period, made)


def test_a_damaged_parcel_is_named_and_the_others_are_read(path, store):
    store.accept([parcel(1.0), parcel(2.0), parcel(3.0)])
    (data,) = (row.data for row in raw(path, "SELECT data FROM mlma_parcels WHERE number = 2"))
    change(path, "UPDATE mlma_parcels SET data = ? WHERE number = 2", data[:-1] + b"\0")
    with pytest.raises(StoreError, match=r"Parcel 2 of actuals is damaged.*restore a backup"):
        store.parcels("actuals", 10)
    assert [one.number for one in store.parcels("actuals", 10, after=2)] == [3]


def raw(path, statement):
    with closing(sqlite3.connect(path)) as connection:
        return [SimpleNamespace(data=row[0]) for row in connection.execute(statement)]


def test_no_changed_byte_of_a_parcel_goes_unnoticed():
    data = row_bytes(rows(1.0, 2.0, cutoff=3), "it")
    assert rows_of(data, "it").value.tolist() == [1.0, 2.0]
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(StoreError, match="it is damaged"):
            rows_of(changed, "it")
    for end in range(len(data)):
        with pytest.raises(StoreError, match="it is damaged"):
            unsealed(data[:end], "it")


def test_bytes_are_compressed_where_it_pays():
    dull, noise = bytes(100_000), np.random.default_rng(0).bytes(100_000)
    assert len(sealed(dull, "it")) < 1000
    assert len(sealed(noise, "it")) < 100_020
    assert unsealed(sealed(dull, "it"), "it") == dull
    assert unsealed(sealed(noise, "it"), "it") == noise


def test_damage_of_evidence_losses_and_snapshots_is_told(path, store):
    store.commit(commit(entry(1, losses=np.ones((3, 2)))))
    change(path, "UPDATE mlma_evidence SET data = substr(data, 1, 100)")
    with pytest.raises(StoreError, match="Chunk 0 of the evidence is damaged"):
        store.evidence(1)
    with pytest.raises(StoreError, match="Chunk 0 of the evidence is damaged"):
        store.history(1)
    change(path, "UPDATE mlma_losses SET data = zeroblob(20) WHERE part = 1")
    with pytest.raises(StoreError, match="The losses of cycle 1 is damaged"):
        store.losses(1)
    change(path, "DELETE FROM mlma_snapshot_parts WHERE name = 'stream.age'")
    with pytest.raises(StoreError, match=r"Column stream.age of snapshot 1 is damaged"):
        store.snapshot()


@pytest.fixture
def small_disk(path, store):
    """A connection may not let the file grow by more than 40 pages: SQLite says that it is full."""
    store.accept([parcel(1.0)])
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]

    def limited(connection, _record):
        connection.execute(f"PRAGMA max_page_count = {pages + 40}")

    event.listen(Engine, "connect", limited)
    yield
    event.remove(Engine, "connect", limited)


def test_a_full_disk_is_told_and_the_store_goes_on(store, small_disk):
    with pytest.raises(StoreError, match=r"store.db is full: nothing was written. Hint: free"):
        store.accept([parcel(2.0, period=20), large()], offsets={"a": "1"})
    assert (store.periods(), store.offsets()) == ({10: 1}, {})
    big = entry(1, streams=np.arange(20_000))
    with pytest.raises(StoreError, match="is full"):
        store.commit(commit(big))
    assert store.cycles() == []
    assert len(store.evidence(1)[0]) == 0
    assert store.accept([parcel(2.0)]) == 2
    assert store.forget(11) == 2


def test_a_file_that_is_no_database_is_told(path):
    path.write_bytes(b"certainly no database" * 500)
    with pytest.raises(StoreError, match="is damaged, or is no SQLite file"):
        open_store(f"sqlite:///{path}")


def test_a_file_that_another_program_holds_is_told(path, store, monkeypatch):
    store.close()
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="is busy: another process writes"):
            store.register(["a"])
        assert store.streams() == []  # who only reads is not kept waiting
        other.execute("ROLLBACK")
    assert store.register(["a"]) == 1


def test_unknown_errors_are_one_short_line_without_the_password():
    address = address_of("postgresql://ann:s3cret@db/mlma")
    told = str(store_error(ValueError("first\nsecond s3cret " + "x" * 1000), address))
    assert told.startswith("The store postgresql://ann:***@db/mlma refused: first second *** x")
    assert len(told) < 400


def test_one_record_takes_as_many_bytes_as_it_has(store):
    store.commit(commit(entry(1, streams=np.arange(12_800))))
    assert store.facts()["bytes_per_stream_batch"] == EVIDENCE.itemsize
