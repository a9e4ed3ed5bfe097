"""``mlma versions``: what a store holds, what was in production when, and what is damaged."""

import json
import sys
from pathlib import Path

import pytest

from mlma.cli import main
from mlma.library.versions import ModelStore
from model_versions import new


@pytest.fixture
def run(monkeypatch):
    """Run the command line; return its exit code."""

    def ran(*words):
        monkeypatch.setattr(sys, "argv", ["mlma", "versions", *map(str, words)])
        try:
            main()
        except SystemExit as leaving:
            return leaving.code
        return 0

    return ran


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = ModelStore("models")
    records = store.save_many([new(streams="shop 1"), new(streams=["shop 1", "shop 2"])])
    store.deploy([("shop 1", records[0])], "2024-03-01", "first version")
    store.deploy([("shop 1", records[1]), ("shop 2", records[1])], "2024-04-01", "degraded")
    store.retire("shop 2", "2024-05-01", "closed")
    return store


def test_list_shows_each_version_with_stream_and_window(run, capsys, store):
    assert run("list", "models") == 0
    first, second, count = capsys.readouterr().out.splitlines()
    assert "shop 1  ridge  2024-01-15 00:00 to 2024-02-19 00:00  arrays" in first
    assert "shop 1 and 1 more" in second
    assert count == "2 versions"
    assert run("list", "models", "--stream", "shop 2", "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)["versions"]
    assert record == json.loads(json.dumps(store.records()[1].to_dict()))


def test_at_tells_version_window_hash_since_when_and_why(run, capsys, store):
    asked = ("at", "models", "shop 1")
    assert run(*asked, "2024-03-31 23:59") == 0
    told = capsys.readouterr().out
    record = store.records()[0]
    for part in (
        record.version,
        record.sha256,
        record.data_fingerprint,
        "2024-01-15 00:00 to 2024-02-19 00:00",
        "deploy at 2024-03-01 00:00: first version",
        "ridge, seed 5",
    ):
        assert part in told
    assert run(*asked, "2024-04-02", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["version"]["version"] == store.records()[1].version
    assert found["deployment"]["at"] == "2024-04-01T00:00:00"
    assert found["deployment"]["reason"] == "degraded"


@pytest.mark.parametrize(
    ("time", "why"), [("2024-03-09", ""), ("2024-05-02", "retire at 2024-05-01 00:00: closed")]
)
def test_at_tells_when_nothing_was_in_production(run, capsys, time, why):
    asked = ("at", "models", "shop 2", time)
    assert run(*asked) == 0
    told = capsys.readouterr().out
    assert "shop 2: nothing was in production then." in told
    assert why in told
    assert run(*asked, "--json") == 0
    assert json.loads(capsys.readouterr().out)["version"] is None


def test_verify_finds_nothing_in_a_whole_store(run, capsys, store):
    assert run("verify", "models") == 0
    told = capsys.readouterr().out
    assert told == "2 versions and 4 events were read\nNothing is damaged.\n"


def test_verify_reports_what_is_damaged_and_leaves_with_1(run, capsys, store):
    (path,) = (Path("models") / "bundles").glob("*.models")
    path.write_bytes(path.read_bytes().replace(b"ridge.FittedRidge", b"ridge.FittedRidgf", 1))
    assert run("verify", "models") == 1
    told = capsys.readouterr().out
    assert f"damaged: The artefact of version {store.records()[0].version}" in told
    assert run("verify", "models", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["versions"], len(found["damaged"])) == (2, 1)


def test_a_damaged_log_is_told_on_stderr_beside_the_answer(run, capsys, store):
    path = sorted((Path("models") / "log").iterdir())[-1]
    path.write_bytes(path.read_bytes()[:-5])
    assert run("at", "models", "shop 1", "2024-04-02", "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["version"]["version"] == store.records()[1].version
    assert f"of log/{path.name} cannot be read" in told.err


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["list", "nowhere"], 1, "There is no model store at nowhere"),
        (["verify", "nowhere"], 1, "There is no model store at nowhere"),
        (["at", "models", "shop 3", "2024-03-01"], 2, "did you mean `shop"),
        (["at", "models", "shop 1", "yesterday"], 2, "Got 'yesterday'"),
        (["at", "models", "shop 1", "2024-03-01T00:00Z"], 2, "without a zone"),
        (["at", "models", "shop 1"], 2, "Missing argument"),
        (["list", "carrier-pigeon://models"], 2, "fsspec knows"),
    ],
)
def test_bad_input_is_one_message_and_an_exit_code(run, capsys, words, code, named):
    assert run(*words) == code
    told = capsys.readouterr()
    assert named in told.err
    assert "Traceback" not in told.err
    assert told.out == ""
