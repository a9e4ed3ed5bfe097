"""``mlma init``: a commented file with every key, which reads back as the defaults."""

import re
import stat
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from pydantic import BaseModel

from commands import CommandLine
from mlma.service.entries import SOURCE_TABLES, ColumnsTable, KeyTable, WebhookTable
from mlma.service.keys import key_hash, new_key
from mlma.service.settings import Settings, read_settings
from mlma.service.template import template


@pytest.fixture
def mlma(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


def hourly(days=3, streams=("a", "b"), step="1h", zone=None):
    start, end = (
        pl.datetime(2024, 1, 1, time_zone=zone),
        pl.datetime(2024, 1, 1 + days, time_zone=zone),
    )
    times = pl.select(pl.datetime_range(start, end, step, closed="left")).to_series()
    return pl.concat(
        pl.DataFrame({"unique_id": name, "ds": times, "y": 1.0, "y_hat": 2.0}) for name in streams
    )


def set_in(text):
    """The file with every setting that is not set being set."""
    return re.sub(r"^#(?! )", "", text, flags=re.MULTILINE)


def test_the_written_file_reads_back_as_the_defaults(mlma):
    answer = mlma("init")
    assert (answer.code, answer.out) == (0, "Settings: mlma.toml\n")
    assert "`slot` of [agent]" in answer.err
    assert read_settings(Path("mlma.toml"), {}) == Settings()


def test_the_written_file_has_every_key_with_what_it_does():
    text = template()
    document = tomllib.loads(set_in(text))
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert set(document[name]) == set(field.annotation.model_fields), name
    (key,), (webhook,) = document["keys"], document["webhooks"]
    assert set(key) == set(KeyTable.model_fields)
    assert set(webhook) == set(WebhookTable.model_fields)
    for source in document["sources"]:
        assert set(source) == set(SOURCE_TABLES[source["kind"]].model_fields)
        assert set(source["columns"]) == set(ColumnsTable.model_fields)
    assert {source["kind"] for source in document["sources"]} == set(SOURCE_TABLES)
    lines = text.splitlines()
    settings = [at for at, line in enumerate(lines) if re.match(r"#?\w+ = ", line)]
    assert all(lines[at - 1].startswith("# ") for at in settings)


def test_the_written_file_with_everything_set_is_right(tmp_path):
    path = tmp_path / "mlma.toml"
    text = set_in(template()).replace('secret = "at least 16 letters"\n', "")
    path.write_text(text)
    made = read_settings(path, {"TRAINER_SECRET": "x" * 16})
    assert made.live().periods.slots == 96
    assert len(made.sources) == 3
    assert made.webhooks[0].secret.get_secret_value() == "x" * 16


def test_a_file_that_is_there_stays_unless_forced(mlma):
    Path("mlma.toml").write_text("[agent]\nseed = 5\n")
    answer = mlma("init")
    assert (answer.code, answer.out) == (2, "")
    assert "mlma.toml is there already. Hint: --force overwrites it." in answer.err
    assert read_settings(None, {}).agent.seed == 5
    assert mlma("init", "--force").code == 0
    assert read_settings(None, {}).agent.seed == 0


def test_only_its_owner_reads_the_file(mlma):
    assert mlma("init", "other.toml").code == 0
    assert stat.S_IMODE(Path("other.toml").stat().st_mode) == 0o600


def test_a_place_where_no_file_can_be_is_told(mlma):
    Path("folder").mkdir()
    assert "Got a folder" in mlma("init", "folder").err
    answer = mlma("init", "nowhere/mlma.toml")
    assert answer.code == 2
    assert "nowhere/mlma.toml cannot be written: No such file" in answer.err


@pytest.mark.parametrize(
    ("step", "slot", "batch"),
    [("15m", "15m", "1d"), ("1h", "1h", "1d"), ("1d", "1d", "1d"), ("7d", "7d", "7d")],
)
def test_the_slot_is_the_most_frequent_distance_in_a_stream(mlma, step, slot, batch):
    data = hourly(days=28, step=step)
    data.filter(pl.int_range(pl.len()) % 11 != 10).write_parquet("data.parquet")
    assert mlma("init", "--data", "data.parquet").code == 0
    agent = read_settings(None, {}).agent
    made = read_settings(None, {}).live().periods
    assert (agent.timezone, made.slots) == ("", agent.batch // agent.slot)
    document = tomllib.loads(Path("mlma.toml").read_text())["agent"]
    assert (document["slot"], document["batch"]) == (slot, batch)


def test_zone_and_columns_come_from_the_data_too(mlma):
    data = hourly(zone="Europe/Paris").rename({"unique_id": "Store", "ds": "timestamp"})
    data.rename({"y_hat": "forecast"}).drop("y").write_parquet("data.parquet")
    answer = mlma("init", "--data", "data.parquet")
    assert "2 streams, slots of 1h, times of Europe/Paris, rows of forecasts" in answer.err
    assert read_settings(None, {}).agent.timezone == "Europe/Paris"
    sources = tomllib.loads(set_in(Path("mlma.toml").read_text()))["sources"]
    for source in sources:
        columns = source["columns"]
        found = (columns["unique_id"], columns["ds"], columns["y_hat"], columns["y"])
        assert found == ("Store", "timestamp", "forecast", "y")


def test_a_csv_file_tells_the_same(mlma):
    hourly(streams=("007", "008")).drop("y_hat").write_csv("data.csv")
    answer = mlma("init", "--data", "data.csv")
    assert "2 streams, slots of 1h, rows of actuals" in answer.err


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (pl.DataFrame({"a": [1], "b": [2]}), "must have columns for unique_id, ds, y or y_hat"),
        (hourly().drop("y", "y_hat"), "must have columns for y or y_hat"),
        (hourly().clear(), "at least one row"),
        (hourly().head(1), "set `slot` of [agent]"),
    ],
)
def test_data_that_tell_nothing_are_refused_and_nothing_is_written(mlma, data, told):
    data.write_parquet("data.parquet")
    answer = mlma("init", "--data", "data.parquet")
    assert answer.code == 2
    assert told in answer.err
    assert not Path("mlma.toml").exists()


def test_the_example_of_a_key_in_the_file_has_the_form_of_a_real_one():
    (key,) = tomllib.loads(set_in(template()))["keys"]
    real = key_hash(new_key())
    assert re.sub(r"[0-9a-f]", "0", key["hash"]) == re.sub(r"[0-9a-f]", "0", real)


def test_rows_that_ended_long_ago_are_told_to_be_a_history(mlma):
    hourly().write_parquet("old.parquet")
    told = mlma("init", "--data", "old.parquet").err
    assert "They end at 2024-01-03 23:00" in told
    assert 'kind = "simulated" in [clock]' in told
    now = datetime.now(UTC).replace(tzinfo=None, minute=0, second=0, microsecond=0)
    fresh = pl.col("ds") + (now - datetime(2024, 1, 4))
    hourly().with_columns(fresh.cast(pl.Datetime("us"))).write_parquet("new.parquet")
    assert "They end" not in mlma("init", "--force", "--data", "new.parquet").err
