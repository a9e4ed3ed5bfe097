"""The command line as a person uses it: a real process, its output, its exit code."""

import json
import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from histories import fleet


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "history.parquet"
    fleet(n=2).write_parquet(path)
    return path


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "mlma", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def test_json_is_one_document_with_every_policy(data):
    policies = ["never", "periodic(every=28)", "mlma(level=0.01, pool=1)"]
    asked = [word for policy in policies for word in ("--policy", policy)]
    done = run("replay", data, "--window", "28d", "--jobs", 1, "--json", *asked)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    by_name = {row["policy"]: row for row in document["policies"]}
    assert {"seasonal_naive", "never", "always", "periodic(every=28)", "mlma(level=0.01)"} <= set(
        by_name
    )
    assert by_name["always"]["loss"] == 1.0
    assert by_name["never"]["fits"] == 1.0
    assert {"loss", "fits", "alarms", "seconds"} <= set(by_name["mlma(level=0.01)"])
    assert document["data"]["streams"] == 2
    assert document["left_out"] == []


def test_the_table_goes_to_stdout_and_the_report_to_its_file(data, tmp_path):
    report = tmp_path / "out.html"
    done = run("replay", data, "--window", "28d", "--jobs", 1, "--report", report)
    assert done.returncode == 0, done.stderr
    assert "always" in done.stdout
    assert str(report) in done.stdout
    assert report.read_text().startswith("<!doctype html>") or "<html" in report.read_text()[:200]


def test_wrong_input_is_one_message_and_exit_code_2(data):
    for arguments in (("nowhere.parquet",), (data, "--loss", "absolut"), (data, "--policy", "x")):
        done = run("replay", *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("mlma: ")
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_the_command_line_beats_the_environment_and_that_the_file(data, tmp_path):
    config = tmp_path / "mlma.toml"
    config.write_text('[replay]\nloss = "squared"\nwindow = "28d"\njobs = 1\npolicy = ["never"]\n')
    common = ("replay", data, "--config", config, "--json")
    from_file = json.loads(run(*common).stdout)
    assert from_file["data"]["loss"] == "squared"
    assert len(from_file["policies"]) == 3
    from_environment = json.loads(run(*common, MLMA_LOSS="absolute").stdout)
    assert from_environment["data"]["loss"] == "absolute"
    from_words = json.loads(run(*common, "--loss", "rmsse", MLMA_LOSS="absolute").stdout)
    assert from_words["data"]["loss"] == "rmsse"


def test_an_unknown_key_of_the_file_names_the_nearest(data, tmp_path):
    config = tmp_path / "mlma.toml"
    config.write_text('[replay]\nlos = "squared"\n')
    done = run("replay", data, "--config", config)
    assert done.returncode == 2
    assert "did you mean `loss`" in done.stderr


def test_an_interrupt_leaves_no_report_and_exit_code_130(tmp_path):
    path, report = tmp_path / "long.parquet", tmp_path / "out.html"
    fleet(n=6, days=900).write_parquet(path)
    command = [sys.executable, "-m", "mlma", "replay", str(path), "--report", str(report)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        time.sleep(6)
        assert process.poll() is None, "the replay ended before it was interrupted"
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [path]


def test_help_shows_an_example_and_loads_nothing_heavy():
    assert "mlma replay history.parquet" in run("replay", "--help").stdout
    code = (
        "import sys, mlma, mlma.cli; "
        "print([name for name in ('sklearn', 'scipy', 'plotly', 'pandas', 'polars') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_csv_with_other_column_names_is_read(tmp_path):
    path = tmp_path / "history.csv"
    fleet(n=1).rename({"unique_id": "shop", "ds": "when", "y": "sold"}).write_csv(path)
    names = ("--unique-id", "shop", "--ds", "when", "--y", "sold")
    done = run("replay", path, *names, "--window", "28d", "--jobs", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert pl.read_csv(path)["shop"].n_unique() == json.loads(done.stdout)["data"]["streams"]
