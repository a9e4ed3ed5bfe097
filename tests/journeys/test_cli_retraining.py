"""From the command line: who shares a model, where it is trained, how long that may take."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import polars as pl
import pytest

from histories import fleet
from mlma.cli import main

QUICK = ("--model", "seasonal_naive", "--window", "28d", "--jobs", "1", "--phases", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "history.parquet"
    tagged = fleet(2, 50, breaks_at=40).with_columns(area=pl.lit("north"))
    tagged.write_parquet(path)
    return str(path)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in this process; gives exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("MLMA_EXECUTOR", "MLMA_JOBS", "MLMA_MODEL", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["mlma", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = leaving.code or 0
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return command


def figures(text):
    """The JSON document without what differs from run to run."""
    document = json.loads(text)
    del document["data"]["seconds"]
    for policy in document["policies"]:
        del policy["seconds"]
    return document


def test_ray_gives_the_same_figures_as_this_machine_to_the_bit(data):
    if find_spec("ray") is None:
        pytest.skip("Ray, of the extra `ray`, is not installed")
    words = [sys.executable, "-m", "mlma", "replay", data, "--window", "28d", "--phases", "1"]
    words += ["--jobs", "2", "--policy", "mlma", "--policy", "mlma(pool=1)", "--json"]
    apart = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    told = []
    for executor in ("local", "ray"):
        made = subprocess.run(
            [*words, "--executor", executor],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
            env=apart,
        )
        assert (made.returncode, made.stderr) == (0, "")
        told.append(figures(made.stdout))
    assert told[0] == told[1]
    pooled = next(row for row in told[1]["policies"] if row["policy"] == "mlma(level=0.001)")
    weights = [value for name, value in pooled.items() if name.startswith("weight_")]
    assert sum(weights) == pytest.approx(1)


def test_ray_that_cannot_be_reached_is_one_message_and_writes_nothing(run, data, tmp_path):
    pytest.importorskip("ray", reason="Ray, of the extra `ray`, is not installed")
    report = tmp_path / "report.html"
    address = "ray(address='127.0.0.1:1')"
    code, out, err = run("replay", data, *QUICK, "--executor", address, "--report", report)
    assert (code, out) == (1, "")
    assert err.startswith("mlma: Ray at `127.0.0.1:1` cannot be reached: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(run, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, out, err = run("replay", data, *QUICK, "--executor", "ray")
    assert (code, out) == (2, "")
    assert 'The executor `ray` needs the extra `ray`. Hint: pip install "mlma[ray]".' in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--executor", "rya"], "did you mean `ray`"),
        (["--executor", "ray(adress='a:1')"], "did you mean `address`"),
        (["--time-limit", "0"], "above 0"),
        (["--time-limit", "soon"], "--time-limit"),
        (["--scope", "area_code", "--model", "ridge"], "area_code"),
    ],
)
def test_a_wrong_setting_is_told(run, data, words, message):
    code, out, err = run("replay", data, *QUICK[2:], *words)
    assert (code, out) == (2, "")
    assert message in err


def test_the_time_limit_reaches_the_fits(run, data):
    code, out, err = run("replay", data, *QUICK, "--time-limit", "1e-6", "--policy", "never")
    assert (code, out) == (2, "")
    assert "it may take 1e-06 seconds and took longer" in err


def test_the_scope_reaches_the_replay(run, data):
    words = ("--window", "28d", "--jobs", 1, "--phases", 1, "--time-limit", 300)
    code, out, err = run("replay", data, *words, "--scope", "area", "--policy", "never", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["data"]["scope"] == "area"


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    run, data, tmp_path, monkeypatch
):
    config = tmp_path / "mlma.toml"
    config.write_text(
        '[replay]\nexecutor = "from_file"\nscope = "stream"\ntime_limit = 300\n', encoding="utf-8"
    )
    words = ("replay", data, *QUICK, "--policy", "never", "--config", config, "--json")
    assert "Unknown executor `from_file`" in run(*words)[2]
    monkeypatch.setenv("MLMA_EXECUTOR", "from_environment")
    assert "Unknown executor `from_environment`" in run(*words)[2]
    code, out, err = run(*words, "--executor", "local")
    assert (code, err) == (0, "")
    assert json.loads(out)["data"]["scope"] == "stream"


def test_the_table_tells_what_waited_for_the_budget(run, data):
    policy = "mlma(max_age=4, budget=0.05, pool=2)"
    code, out, err = run(
        *("replay", data, "--window", "28d", "--jobs", 1, "--phases", 1),
        *("--policy", policy, "--policy", "never"),
    )
    assert (code, err) == (0, "")
    assert "defer-" in out
    assert "esca-" not in out
