"""``mlma db``: migrate, status and backup from the command line."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mlma.adapters.store import newest_schema, open_store, schema_version
from mlma.cli.db import register_db
from mlma.domain.errors import SchemaError, StoreError
from stores import commit, entry

DUMP = Path(__file__).resolve().parents[1] / "fixtures" / "store" / "schema_0001.sql"
APP = typer.Typer()
register_db(APP)


@APP.callback()
def _root():
    """A command line with nothing else."""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLMA_STORE__URL", "MLMA_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def run(*words):
    answer = CliRunner().invoke(APP, ["db", *words], catch_exceptions=False)
    assert answer.exit_code == 0
    return answer.stdout


def old(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DUMP.read_text())


def test_status_tells_what_a_store_holds():
    with closing(open_store("sqlite:///mlma.db")) as store:
        store.register(["a", "b"])
        store.commit(commit(entry(1), entry(2)))
    text = run("status")
    for words in ("sqlite:///mlma.db", f"schema           {newest_schema()}", "1 to 2", "2 rows"):
        assert words in text
    told = json.loads(run("status", "--json"))
    assert (told["schema"], told["newest_cycle"], told["rows"]["streams"]) == (
        newest_schema(),
        2,
        2,
    )


def test_status_makes_no_store():
    assert "no store yet" in run("status")
    assert json.loads(run("status", "--json"))["schema"] is None
    assert list(Path().iterdir()) == []


def test_the_store_is_told_by_option_environment_or_file(monkeypatch):
    Path("mlma.toml").write_text('[store]\nurl = "sqlite:///file.db"\n')
    Path("other.toml").write_text('[store]\nurl = "sqlite:///other.db"\n')
    assert "sqlite:///file.db" in run("status")
    assert "sqlite:///other.db" in run("status", "--config", "other.toml")
    monkeypatch.setenv("MLMA_STORE__URL", "sqlite:///environment.db")
    assert "sqlite:///environment.db" in run("status")
    assert "sqlite:///option.db" in run("status", "--store", "sqlite:///option.db")


def test_an_older_store_is_shown_and_migrated():
    old("mlma.db")
    assert "schema 0001" in run("status")
    assert "run `mlma db migrate`" in run("status")
    assert run("migrate") == f"Schema {newest_schema()}; it was 0001.\n"
    assert "up to date" in run("migrate")
    told = json.loads(run("migrate", "--json"))
    assert told == {"before": newest_schema(), "schema": newest_schema()}


def test_a_newer_store_is_shown_and_not_migrated():
    open_store("sqlite:///mlma.db").close()
    with closing(sqlite3.connect("mlma.db", isolation_level=None)) as connection:
        connection.execute("UPDATE mlma_version SET version_num = '9999'")
    assert "it needs a newer mlma" in run("status")
    with pytest.raises(SchemaError, match="newer mlma"):
        run("migrate")


def test_migrate_makes_a_store_where_there_is_none():
    assert "it was an empty database" in run("migrate")
    assert schema_version("sqlite:///mlma.db") == newest_schema()


def test_backup_writes_a_store_of_its_own():
    with closing(open_store("sqlite:///mlma.db")) as store:
        store.register(["a"])
    assert "copy.db" in run("backup", "copy.db")
    told = json.loads(run("backup", "again.db", "--json"))
    assert told == {"file": "again.db", "bytes": Path("again.db").stat().st_size}
    with closing(open_store("sqlite:///copy.db")) as copy:
        assert copy.streams() == ["a"]
    with pytest.raises(StoreError, match="would overwrite"):
        run("backup", "copy.db")


def test_an_older_store_is_copied_as_it_is():
    old("mlma.db")
    run("backup", "copy.db")
    assert schema_version("sqlite:///copy.db") == "0001"
