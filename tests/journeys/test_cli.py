"""The command line, as people, scripts and schedulers use it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mlma
from histories import fleet
from mlma.cli import main

HEAVY = ("sklearn", "plotly", "scipy", "polars", "numpy", "pandas", "pyarrow", "joblib")
QUICK = ("--model", "seasonal_naive", "--window", "28d", "--jobs", "1", "--phases", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "history.parquet"
    fleet(3, 60, breaks_at=40).write_parquet(path)
    return str(path)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in this process; gives exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("MLMA_MODEL", "MLMA_LOSS", "MLMA_BATCH", "MLMA_SEED", "MLMA_JOBS"):
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


def no_constant(text):
    raise AssertionError(f"{text} is no JSON")


def document(out):
    """The one JSON document on stdout, without NaN and the like."""
    return json.loads(out, parse_constant=no_constant)


def test_the_table_goes_to_stdout_and_nothing_to_stderr(run, data):
    code, out, err = run(
        "replay", data, *QUICK, "--policy", "never", "--policy", "periodic(every=9)"
    )
    assert (code, err) == (0, "")
    for words in ("loss vs", "seasonal_naive", "never", "always", "periodic(every=9)"):
        assert words in out


def test_json_is_one_document_with_the_figures_of_the_library(run, data):
    policies = ["never", "periodic(every=28)", "mlma(pool=1, level=0.01)"]
    asked = [word for policy in policies for word in ("--policy", policy)]
    code, out, err = run(
        "replay", data, "--window", "28d", "--jobs", 1, "--phases", 2, *asked, "--json"
    )
    assert (code, err) == (0, "")
    got = document(out)
    assert {"data", "policies", "left_out"} <= set(got)
    result = mlma.replay(data, policies=policies, window="28d", phases=2, n_jobs=1)
    losses = result.losses
    always = losses.filter(pl.col("policy") == "always").drop("policy")
    sums = (
        losses.join(always, on=["unique_id", "ds"], suffix="_of_always")
        .group_by("policy", "unique_id")
        .agg(pl.col("loss", "loss_of_always").sum())
        .with_columns(ratio=pl.col("loss") / pl.col("loss_of_always"))
    )
    means = dict(sums.group_by("policy").agg(pl.col("ratio").mean()).iter_rows())
    fits = dict(result.to_df().group_by("policy").agg(pl.col("fits").mean()).iter_rows())
    assert [row["policy"] for row in got["policies"][:5]] == [
        *("seasonal_naive", "never", "always", "periodic(every=28)", "mlma(pool=1, level=0.01)"),
    ]
    for row in got["policies"]:
        assert row["loss"] == pytest.approx(means[row["policy"]], rel=1e-9)
        assert row["fits"] == pytest.approx(fits[row["policy"]], rel=1e-9)
        assert row["seconds"] >= 0
        assert row["alarms"] >= 0
    assert got["left_out"] == []
    assert got["data"]["streams"] == 3


def test_json_tells_what_was_left_out_and_has_null_for_what_is_undefined(run, tmp_path):
    dead = fleet(1, 40, breaks_at=None).with_columns(y=pl.lit(0.0))
    holes = pl.when(pl.int_range(pl.len()) < 5).then(None).otherwise("y")
    dead.with_columns(y=holes, unique_id=pl.lit("Zürich")).write_csv(tmp_path / "dead.csv")
    code, out, _ = run("replay", tmp_path / "dead.csv", *QUICK, "--policy", "never", "--json")
    assert code == 0
    assert out.isascii()
    got = document(out)
    assert {row["loss"] for row in got["policies"]} == {None}
    (left,) = got["left_out"]
    assert (left["reason"], left["unit"], left["count"]) == ("missing y", "rows", 5)
    assert left["examples"][0] == "Zürich 2024-01-01 00:00:00"
    assert len(left["examples"]) == 3


def test_the_report_is_written_and_named(run, data, tmp_path):
    report = tmp_path / "out.html"
    code, out, _ = run("replay", data, *QUICK, "--policy", "never", "--report", report)
    assert code == 0
    assert "Report:" in out
    assert report.read_text().lstrip().lower().startswith("<!doctype html>")
    code, out, _ = run("replay", data, *QUICK, "--policy", "never", "--report", report, "--json")
    assert code == 0
    assert document(out)["data"]["streams"] == 3


def test_every_option_reaches_the_replay(run, tmp_path):
    frame = fleet(2, 40, breaks_at=None).rename({"unique_id": "id", "ds": "t", "y": "count"})
    frame = frame.with_columns(area=pl.lit("north"), wind=pl.lit(1.0), other=pl.lit(2.0))
    frame.write_parquet(tmp_path / "history.parquet")
    options = {
        "--unique-id": "id",
        "--ds": "t",
        "--y": "count",
        "--tag": "area",
        "--exogenous": "wind",
        "--step": "6h",
        "--batch": "12h",
        "--mode": "one_step",
        "--loss": "squared",
        "--model": "ridge(alpha=3)",
        "--window": "10d",
        "--seed": 7,
        "--phases": 2,
        "--jobs": 1,
        "--policy": "random(rate=0.1)",
    }
    words = [word for option in options.items() for word in option]
    code, out, err = run("replay", tmp_path / "history.parquet", *words, "--json")
    assert (code, err) == (0, "")
    got = document(out)
    expected = {
        "history": "history.parquet",
        "model": "ridge",
        "mode": "one_step",
        "loss": "squared",
        "slot": "6h",
        "batch": "12h",
        "window": "20 batches",
        "phases": "2",
        "seed": "7",
    }
    assert {name: got["data"][name] for name in expected} == expected
    assert got["policies"][3]["policy"] == "random(rate=0.1)"
    assert got["policies"][3]["phases"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{data}", "--model", "rigde"], "did you mean `ridge`"),
        (["{data}", "--loss", "absolut"], "did you mean `absolute`"),
        (["{data}", "--policy", "mlma(levle=1)"], "did you mean `level`"),
        (["{data}", "--policy", "mlma(pool=0)"], "`pool` of `MLMA` must be a number of versions"),
        (["{data}", "--window", "28"], "length of time"),
        (["{data}", "--y", "count"], "Column `count` (y) is missing"),
        (["{data}", "--batch", "5h"], "whole multiple"),
        (["nowhere.parquet"], "does not exist"),
        (["{data}", "--report", "{folder}"], "it is a folder"),
        (["{data}", "--report", "{folder}/none/report.html"], "no such folder"),
        (["{data}", "--report", "{data}/report.html"], "no such folder"),
        (["{data}", "--config", "none.toml"], "cannot be read"),
        (["{data}", "--jobs", "0"], "at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_data_or_settings_are_one_message_and_code_2(words, message, run, data, tmp_path):
    filled = [word.format(data=data, folder=tmp_path) for word in words]
    code, out, err = run("replay", *filled)
    assert (code, out) == (2, "")
    assert err.startswith("mlma: ")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words",
    [
        ["replay"],
        ["replay", "a.csv", "--bacth", "1d"],
        ["replay", "a.csv", "--phases", "many"],
        ["rerun"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_on_stderr_with_code_2(words, run):
    code, out, err = run(*words)
    assert code == 2
    assert "Usage" in out + err
    assert "Traceback" not in err


def test_a_report_that_cannot_be_written_in_the_end_is_code_2_after_the_table(
    run, data, tmp_path, monkeypatch
):
    report = tmp_path / "report.html"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    code, out, err = run("replay", data, *QUICK, "--policy", "never", "--report", report)
    assert code == 2
    assert "seasonal_naive" in out
    assert "No space left on device" in err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_fails_everywhere_is_code_2_with_its_message(run, data, monkeypatch):
    from histories import BatchMean
    from mlma.adapters.models import registry

    broken = BatchMean(fails="fit", on=("s0", "s1", "s2"))
    monkeypatch.setitem(registry.MODELS, "broken", lambda mode: broken)
    code, out, err = run("replay", data, "--window", "28d", "--jobs", 1, "--model", "broken")
    assert (code, out) == (2, "")
    assert "no convergence" in err


def test_version_and_help_answer(run):
    assert run("--version") == (0, f"mlma {mlma.__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    assert "replay" in out
    assert "demo" in out
    for words in (["--help"], ["replay", "--help"]):
        code, out, _ = run(*words)
        assert code == 0
        assert 'mlma replay history.parquet --policy "mlma(level=0.01)"' in out
        assert "--report report.html" in out


CONFIG = """
[replay]
model = "seasonal_naive"
loss = "squared"
window = "20d"
seed = 5
jobs = 1
phases = 1
policy = ["never", "periodic(every=9)"]
json = true
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mlma.toml"
    path.write_text(CONFIG)
    return path


def settings(out):
    return document(out)["data"]


def test_a_configuration_file_is_read(config, run, data):
    code, out, err = run("replay", data, "--config", config)
    assert (code, err) == (0, "")
    read = settings(out)
    assert (read["model"], read["loss"], read["seed"]) == ("seasonal_naive", "squared", "5")
    assert [row["policy"] for row in document(out)["policies"]] == [
        *("seasonal_naive", "never", "always", "periodic(every=9)"),
    ]


def test_the_command_line_beats_the_environment_which_beats_the_file(
    config, run, data, monkeypatch
):
    monkeypatch.setenv("MLMA_LOSS", "poisson")
    monkeypatch.setenv("MLMA_SEED", "6")
    _, out, _ = run("replay", data, "--config", config, "--seed", "7", "--policy", "never")
    read = settings(out)
    assert read["model"] == "seasonal_naive"  # of the file; the default is ridge
    assert read["loss"] == "poisson"
    assert read["seed"] == "7"
    assert len(document(out)["policies"]) == 3
    _, out, _ = run("replay", data, "--config", config)
    assert settings(out)["seed"] == "6"


def test_the_environment_alone_beats_the_default(run, data, monkeypatch):
    monkeypatch.setenv("MLMA_MODEL", "seasonal_naive")
    monkeypatch.setenv("MLMA_BATCH", "2d")
    monkeypatch.setenv("MLMA_JOBS", "1")
    _, out, _ = run("replay", data, "--window", "20d", "--policy", "never", "--json")
    assert (settings(out)["model"], settings(out)["batch"]) == ("seasonal_naive", "2d")


@pytest.mark.parametrize("written", ['policy = "never"', 'policy = ["never"]'])
def test_one_policy_may_stand_without_brackets(written, config, run, data):
    config.write_text(CONFIG.replace('policy = ["never", "periodic(every=9)"]', written))
    code, out, _ = run("replay", data, "--config", config)
    assert code == 0
    assert len(document(out)["policies"]) == 3


def test_the_data_and_names_with_hyphens_may_stand_in_the_file(config, run, data):
    config.write_text(CONFIG + f'data = "{Path(data).as_posix()}"\nunique-id = "unique_id"\n')
    code, out, _ = run("replay", "--config", config)
    assert code == 0
    assert settings(out)["streams"] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[replay]\npolicies = "never"', "Unknown key of [replay]"),
        ('[replay]\npolicies = "never"', "did you mean `policy`"),
        ("[replays]\nseed = 1", "did you mean `replay`"),
        ("[replay]\nconfig = 'other.toml'", "Unknown key"),
        ("[replay]\nseed = 'one'", "'--seed'"),
        ("[replay]\nphases = 2.5", "'--phases'"),
        ("[replay]\nmodel = ['ridge']", "`model` in"),
        ("[replay]\npolicy = [['never']]", "must be one value. Got a list"),
        ("replay = 3", "must be a table"),
        ("[replay", "is not TOML"),
        ("[replay]\nmodel = 'rigde'", "did you mean `ridge`"),
    ],
)
def test_a_configuration_that_cannot_be_used_says_why(text, message, config, run, data):
    config.write_text(text)
    code, out, err = run("replay", data, "--config", config)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


def test_a_configuration_that_is_no_text_is_refused(config, run, data):
    config.write_bytes(b"\xff\xfe\x00")
    code, _, err = run("replay", data, "--config", config)
    assert code == 2
    assert "not UTF-8" in err


def in_python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import mlma",
        "import mlma.cli",
        "import sys; sys.argv = ['mlma', '--help']\n"
        "import os, contextlib, io; from mlma.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()",
    ],
    ids=["mlma", "mlma.cli", "mlma --help"],
)
def test_nothing_heavy_is_imported_before_it_is_used(code):
    loaded = in_python(f"{code}\nimport sys; print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []


def test_python_m_mlma_is_the_command_line(data):
    words = [sys.executable, "-m", "mlma", "replay", data, *QUICK, "--policy", "never", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert document(done.stdout)["data"]["streams"] == 3


@pytest.fixture(scope="module")
def long_history(tmp_path_factory):
    """Forty streams of a year: minutes of work for trees."""
    path = tmp_path_factory.mktemp("long") / "history.parquet"
    fleet(40, 365).write_parquet(path)
    return str(path)


def children(pid):
    """Every living process below this one."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def wait_until(reached, seconds=60):
    """Wait for something that comes soon; False = it did not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if reached():
            return True
        time.sleep(0.05)
    return False


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


THE_COMMAND, ITS_GROUP = "the command", "its whole group, as a terminal does"
STARTING, BUSY = 0.2, 1.0  # seconds after the workers appear: they import, they train


@pytest.fixture(
    scope="module", params=[(THE_COMMAND, BUSY), (ITS_GROUP, BUSY), (ITS_GROUP, STARTING)], ids=str
)
def interrupted(request, long_history, tmp_path_factory):
    """A command that was interrupted while its workers started or trained, and what it left."""
    whom, delay = request.param
    if not Path("/proc/self/stat").exists():
        pytest.skip("there is no /proc here")
    folder = tmp_path_factory.mktemp("interrupted")
    words = [sys.executable, "-m", "mlma", "replay", long_history, "--model", "lightgbm"]
    words += ["--jobs", "2", "--policy", "never", "--report", str(folder / "report.html")]
    command = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert wait_until(lambda: len(children(command.pid)) >= 2)
        time.sleep(delay)
        workers = children(command.pid)
        if whom == THE_COMMAND:
            command.send_signal(signal.SIGINT)
        else:
            os.killpg(command.pid, signal.SIGINT)
        out, err = command.communicate(timeout=60)
    finally:
        command.kill()
        command.wait()
    return command.returncode, out, err, workers, folder


def test_an_interrupted_command_says_so_with_code_130(interrupted):
    code, out, err, _, _ = interrupted
    assert (code, out) == (130, "")
    assert err.strip().splitlines()[-1] == "mlma: Interrupted; nothing was written."


def test_an_interrupted_command_shows_no_traceback(interrupted):
    _, _, err, _, _ = interrupted
    assert "Traceback" not in err


def test_an_interrupted_command_leaves_neither_report_nor_workers(interrupted):
    *_, workers, folder = interrupted
    assert list(folder.iterdir()) == []
    assert wait_until(lambda: not any(alive(worker) for worker in workers), seconds=20)


def test_the_demo_replays_the_real_streams(run, tmp_path, monkeypatch):
    """The command of the demo on a small history: its data have a test of their own."""
    from mlma.library import datasets

    small = fleet(2, 130, slots=4)
    monkeypatch.setattr(datasets, "auckland_pedestrians", lambda: small)
    report = tmp_path / "demo.html"
    code, out, err = run("demo", "--report", report, "--jobs", 1, "--json")
    assert code == 0
    assert report.exists()
    labels = [row["policy"] for row in document(out)["policies"] if row["role"] == "policy"]
    assert "mlma(level=0.001)" in labels
    assert "Playing the baselines" in err
    assert np.isfinite([row["loss"] for row in document(out)["policies"]]).all()
