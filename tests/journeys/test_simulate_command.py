"""``mlma simulate``: a file, its truth, and what is told about them."""

import json
import sys

import polars as pl
import pytest

import mlma
from mlma.cli import main
from mlma.library.simulate import simulate


def run(monkeypatch, *words):
    """Run the command line; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["mlma", "simulate", *map(str, words)])
    try:
        main()
    except SystemExit as leaving:
        return leaving.code
    return 0


def test_the_command_writes_what_the_library_gives(monkeypatch, tmp_path, capsys):
    out, truth = tmp_path / "platform.parquet", tmp_path / "truth.parquet"
    words = ("--streams", 20, "--days", 90, "--slot", "1h", "--seed", 3, "--truth", truth)
    assert run(monkeypatch, out, *words) == 0
    made = simulate(20, 90, slot="1h", seed=3)
    assert pl.read_parquet(out).equals(made.to_df())
    assert pl.read_parquet(truth).equals(made.truth)
    told = capsys.readouterr().out
    assert f"{len(made.to_df())} rows; 20 streams, 90 days of 24 slots; seed 3" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["platform.parquet", "truth.parquet"]


def test_json_tells_what_was_planted(monkeypatch, tmp_path, capsys):
    out = tmp_path / "platform.parquet"
    platform = "platform(breaks=1.0, kinds=('level',), births=0.0, group_breaks=0.0)"
    words = ("--streams", 40, "--days", 150, "--platform", platform, "--arrivals", "--json")
    assert run(monkeypatch, out, *words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == len(pl.read_parquet(out))
    assert told["breaks"]["level"] >= 20
    assert set(told["breaks"]) == {"level"}
    assert told["events"]["holiday"] == 2
    assert told["nature"]["born"] == 0
    assert pl.read_parquet(out).schema["arrived_at"] == pl.Datetime("us")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["a.csv"], "parquet"),
        (["no/such/folder/a.parquet"], "no such folder"),
        (["a.parquet", "--truth", "a.parquet"], "share one file"),
        (["a.parquet", "--slot", "7m"], "slot"),
        (["a.parquet", "--platform", "platform(demand=-1)"], "demand"),
        (["a.parquet", "--streams", "10000000"], "batches"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(monkeypatch, tmp_path, capsys, words, named):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *words) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_as_it_was(monkeypatch, tmp_path):
    out = tmp_path / "platform.parquet"
    out.write_bytes(b"old")

    def fails(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fails)
    assert run(monkeypatch, out, "--streams", 3, "--days", 5) == 130
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


def test_on_a_simulated_platform_looking_at_the_losses_beats_never_retraining():
    settings = {"breaks": 1.0, "kinds": ("level", "shape"), "births": 0.0, "deaths": 0.0}
    history = mlma.simulate(5, 160, **settings).to_df()
    result = mlma.replay(history, policies=["mlma"], n_jobs=1, phases=1, progress=False)
    loss = {row["policy"].split("(")[0]: row["loss"] for row in result.summary().to_dicts()}
    assert loss["mlma"] < loss["never"] - 0.01
