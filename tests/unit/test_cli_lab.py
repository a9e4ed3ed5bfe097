"""`mlma lab`: both sides as a table, or as one document."""

import json

import pytest
from typer.testing import CliRunner

from lab_worlds import LabWorld, recorded_history
from mlma.cli.app import app
from mlma.cli.lab import applying

RUNNER = CliRunner()
REAL = "mlma(pool=1, review_age=None, max_age=None)"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    url = f"sqlite:///{folder}/lab.db"
    world = LabWorld(streams=8, cycles=50, breaks=2.0)
    recorded_history(world, REAL, url)[0].close()
    file = folder / "mlma.toml"
    file.write_text(f'[agent]\npolicy = "{REAL}"\nslot = "4h"\n[store]\nurl = "{url}"\n')
    return file


def lab(config, *words):
    return RUNNER.invoke(app, ["lab", *words, "--config", str(config)])


def test_both_sides_stand_beside_each_other(config):
    told = lab(config, "never", "--apply")
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert lines[0] == "never on cycles 1 to 50, 8 streams:"
    assert lines[1].split() == ["measure", "as", "it", "was", "as", "it", "would", "be", "change"]
    (fits,) = [line.split() for line in lines if line.startswith("retrainings")]
    assert int(fits[1]) > 0
    assert fits[2:] == ["0", "-100.0%"]
    assert any("of the losses are counterfactual" in line for line in lines)
    assert any(line.startswith("stream 0") for line in lines)
    assert lines[-1] == "To put it in force: mlma act policy never --everything"


def test_one_document_holds_the_whole_result(config):
    told = lab(config, REAL, "--json", "--first", "20", "--last", "45", "--per-cycle", "9")
    result = json.loads(told.stdout)
    assert (result["first"], result["last"], result["per_cycle"]) == (20, 45, 9)
    assert result["counterfactual_share"] == 0.0
    assert result["real"]["loss"] == result["tried"]["loss"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mlma(pool=8)"], "mlma replay"),
        (["never", "--first", "60"], "1 to 50. Got 60"),
        (["never", "--per-cycle=-2"], "`per_cycle` of a lab run"),
    ],
)
def test_what_cannot_be_tried_is_refused(config, words, says):
    told = lab(config, *words)
    assert told.exit_code != 0
    assert says in str(told.exception)


def test_the_orders_that_put_it_in_force_can_be_pasted():
    assert applying('mlma(test="batch_t")', 20) == (
        "To put it in force: mlma act policy 'mlma(test=\"batch_t\")' --everything; "
        "mlma act budget 20"
    )
