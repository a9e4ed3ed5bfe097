"""Sources out of settings: which table makes what, and what is wrong with the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlma.adapters.sources.folder import FolderSource
from mlma.adapters.sources.query import QuerySource
from mlma.adapters.sources.registry import source_from
from mlma.adapters.sources.topic import TopicFeed
from mlma.domain.errors import SettingsError

QUERY = "SELECT * FROM sales WHERE ds >= :start AND ds < :end"
FOLDER = {"kind": "folder", "rows": "actuals", "path": "out"}
SQL = {"kind": "sql", "rows": "forecasts", "url": "sqlite:///a.db", "query": QUERY}
KAFKA = {"kind": "kafka", "rows": "benchmarks", "brokers": "127.0.0.1:1", "topic": "naive"}


@pytest.mark.parametrize(
    ("table", "made", "name"),
    [
        (FOLDER, FolderSource, "out"),
        (FOLDER | {"path": Path("out"), "columns": {"y": "sold"}}, FolderSource, "out"),
        (SQL, QuerySource, "query of forecasts"),
        (SQL | {"name": "fc", "look_again": "1h", "timeout": "30s"}, QuerySource, "fc"),
        (SQL | {"stamp_query": "SELECT count(*) FROM sales"}, QuerySource, "query of forecasts"),
        (KAFKA, TopicFeed, "naive"),
        (KAFKA | {"group": None, "settings": {"fetch.wait.max.ms": 10}}, TopicFeed, "naive"),
    ],
)
def test_a_table_makes_the_source_of_its_kind(table: dict[str, Any], made: type, name: str) -> None:
    source = source_from(table, zone=None)
    assert type(source) is made
    assert (source.name, source.kind) == (name, table["rows"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"`kind` of a source is missing. Needed: kind, rows. Got: nothing"),
        ({"kind": "folder"}, r"`rows` of a source is missing. Needed: kind, rows, path"),
        (FOLDER | {"kind": "folders"}, r"Unknown kind of source `folders`.*did you mean `folder`"),
        (FOLDER | {"rows": "actual"}, r"Unknown kind of rows `actual`.*did you mean `actuals`"),
        (FOLDER | {"path": ""}, r"`path` of a source of kind folder is missing"),
        (FOLDER | {"query": QUERY}, r"Unknown key of a source of kind folder `query`"),
        (FOLDER | {"column": {}}, r"`column`.*did you mean `columns`"),
        (FOLDER | {"columns": {"yhat": "p"}}, r"Unknown column.*`yhat`.*did you mean `y_hat`"),
        (FOLDER | {"columns": "y"}, r"`columns` of a source must be a table. Got 'y'"),
        (SQL | {"query": None}, r"`query` of a source of kind sql is missing"),
        (SQL | {"query": "SELECT 1"}, r"must have the parameters :start and :end"),
        (SQL | {"look_again": "soon"}, r"`look_again`.*soon"),
        (KAFKA | {"brokers": ""}, r"`brokers` of a source of kind kafka is missing"),
        (KAFKA | {"topics": "a"}, r"`topics`.*did you mean `topic`"),
    ],
)
def test_a_table_that_is_of_no_use_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        source_from(table, zone=None)


def test_settings_of_the_client_are_text_and_secrets_are_not_starred_out() -> None:
    from pydantic import SecretStr

    given = {"sasl.password": SecretStr("hunter2"), "enable.idempotence": True, "linger.ms": 5}
    feed = source_from(KAFKA | {"settings": given}, zone=None)
    assert isinstance(feed, TopicFeed)
    kept = {key: feed._settings[key] for key in given}
    assert kept == {"sasl.password": "hunter2", "enable.idempotence": "true", "linger.ms": "5"}


def test_keys_that_are_empty_count_as_absent() -> None:
    empty = {"name": "", "stamp_query": "", "columns": {}}
    source = source_from(SQL | empty, zone=None)
    assert source.name == "query of forecasts"
    stamp = source.stamp(np.datetime64("2025-03-01"), np.datetime64("2025-03-02"))  # type: ignore[union-attr]
    assert stamp.startswith("look again ")
    assert source_from(KAFKA | {"dead_letters": "", "settings": {}}, zone=None).name == "naive"
