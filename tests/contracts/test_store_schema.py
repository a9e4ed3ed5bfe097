"""Schemas: made new, led from an older one, refused when newer; all or nothing."""

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import postgres
from mlma.adapters.store import migrated, newest_schema, open_store, schema_version, versions
from mlma.adapters.store.engine import Database
from mlma.adapters.store.schema import METADATA
from mlma.domain.errors import SchemaError
from mlma.domain.ledger import Action
from stores import NOW, SHARED, commit, entry, place_of

DUMP = Path(__file__).resolve().parents[1] / "fixtures" / "store" / "schema_0001.sql"
"""A store with four revisions of three cycles, as the first form of the store wrote it."""


@pytest.fixture(params=SHARED)
def place(request, tmp_path):
    with place_of(request.param, tmp_path) as made:
        yield made


def tell(place, statement):
    if place.kind == "postgresql":
        return postgres.tell(place.url, statement)
    path = place.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


@pytest.fixture
def old(place):
    """A store of the first form: from the dump, or made by the first migration."""
    if place.kind == "postgresql":
        with closing(Database(place.url)) as database, database.write() as connection:
            versions.upgrade(connection, "0001")
    else:
        path = place.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(DUMP.read_text())
    return place


def test_a_new_store_has_the_tables_that_the_program_reads(place):
    assert schema_version(place.url) is None
    place.open()
    assert schema_version(place.url) == newest_schema()
    with closing(Database(place.url)) as database, database.read() as connection:
        ours = {"include_object": lambda _, name, *__: name != "mlma_version"}
        context = MigrationContext.configure(connection, opts={"compare_type": True, **ours})
        assert compare_metadata(context, METADATA) == []


def test_asking_for_the_schema_makes_no_file(tmp_path):
    assert schema_version(f"sqlite:///{tmp_path}/none.db") is None
    assert list(tmp_path.iterdir()) == []


def test_an_older_store_is_refused_and_the_message_tells_what_to_run(old):
    with pytest.raises(SchemaError, match=r"schema is 0001, expected .*`mlma db migrate`"):
        open_store(old.url)
    assert schema_version(old.url) == "0001"


def test_an_older_store_is_led_to_the_newest_schema_once(old):
    assert migrated(old.url) == ("0001", newest_schema())
    assert migrated(old.url) == (newest_schema(), newest_schema())
    store = old.open()
    store.commit(commit(entry(9)))
    assert store.cycles(first=9)[0].cycle == 9


def test_a_server_may_migrate_when_it_opens_the_store(old):
    assert old.open(migrate=True).facts()["schema"] == newest_schema()
    assert schema_version(old.url) == newest_schema()


def test_what_an_older_store_holds_is_read_after_migrating(tmp_path):
    with place_of("sqlite", tmp_path) as place:
        path = place.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(DUMP.read_text())
        store = place.open(migrate=True)
        assert store.streams() == ["north", "süd", "east"]
        assert [(info.cycle, info.revision) for info in store.cycles(revisions=True)] == [
            *((1, 0), (2, 0), (3, 0), (3, 1))
        ]
        cycles, records = store.history(1)
        assert cycles.tolist() == [1, 2, 3]
        assert records["loss"].tolist() == [1 / 7, 2 / 7, 0.5]
        assert store.losses(3, 0).tolist() == [[1.0, 1.0]] * 3
        assert np.isnan(store.snapshot().columns["stream.level"][1])
        assert store.parcels("forecasts", 10)[0].rows.cutoff.tolist() == [5, 5]
        (_, request), *_ = store.requests()
        assert (request.request.unique_id, request.status, request.error) == (
            "stream a",
            "open",
            "",
        )
        assert (request.request.kind, request.request.exclude) == ("retrain", ())
        assert (store.incidents(), store.lab_runs()) == ([], [])
        store.act([Action("failed", {"error": "no data"}, NOW)], finished={"a": "failed"})
        assert store.requests()[0][1].error == "no data"


def test_a_newer_store_is_refused_and_left_alone(place):
    place.open().close()
    tell(place, "UPDATE mlma_version SET version_num = '9999'")
    for call in (open_store, migrated, lambda url: open_store(url, migrate=True)):
        with pytest.raises(SchemaError, match="written by a newer mlma: its schema is 9999"):
            call(place.url)
    assert schema_version(place.url) == "9999"


def test_evidence_of_another_form_is_refused(place):
    place.open().close()
    tell(place, "UPDATE mlma_meta SET value = '128 [[\"loss\", \"<f8\"]]' WHERE name = 'evidence'")
    with pytest.raises(SchemaError, match="evidence of another form"):
        open_store(place.url)


def test_a_migration_that_fails_midway_leaves_the_older_store(old, monkeypatch):
    def full(*_):
        raise RuntimeError("midway")

    monkeypatch.setattr(MigrationContext, "stamp", full)
    with pytest.raises(RuntimeError, match="midway"):
        migrated(old.url)
    monkeypatch.undo()
    assert schema_version(old.url) == "0001"
    assert migrated(old.url) == ("0001", newest_schema())


CHILD = """
import os, signal, sys
from mlma.adapters.store import versions
from mlma.adapters.store.engine import Database
with Database(sys.argv[1]).write() as connection:
    versions.upgrade(connection)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_migration_that_is_killed_midway_leaves_the_older_store(old):
    env = {"PYTHONPATH": ":".join(sys.path)}
    child = subprocess.run([sys.executable, "-c", CHILD, old.url], env=env, check=False)
    assert child.returncode == -signal.SIGKILL
    assert schema_version(old.url) == "0001"
    assert migrated(old.url) == ("0001", newest_schema())


def test_two_servers_migrate_at_once(old):
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(migrated, [old.url] * 2))
    assert sorted(before for before, _ in told) == ["0001", newest_schema()]
