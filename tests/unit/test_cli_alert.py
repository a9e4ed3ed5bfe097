"""`mlma alert test` sends a message at once, and tells whether it was taken."""

import json

import pytest
import typer
from typer.testing import CliRunner

from commands import CommandLine
from mlma.cli.alert import register_alert
from mlma.domain.errors import SettingsError
from requests_for_retraining import serving

app = typer.Typer()
register_alert(app)


@pytest.fixture
def told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def told(*words, alerts=""):
        (tmp_path / "mlma.toml").write_text(f'[agent]\nslot = "1h"\n{alerts}')
        return CliRunner().invoke(app, ["alert", "test", *words])

    return told


def entry(name, port, **keys):
    more = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    return f'[[alerts]]\nname = "{name}"\nurl = "json://u:secret-token@127.0.0.1:{port}/"\n{more}'


def test_a_test_message_arrives_even_in_quiet_hours(told):
    with serving() as receiver:
        answer = told(alerts=entry("desk", receiver.port, quiet="00:00-23:59"))
    assert (answer.exit_code, answer.output) == (0, "desk: sent\n")
    assert json.loads(receiver.bodies[0])["title"] == "Test message of mlma"


def test_one_that_is_refused_is_told_and_leaves_with_1(told):
    with serving() as good, serving(403) as bad:
        both = entry("desk", good.port) + entry("pager", bad.port)
        answer = told("--json", alerts=both)
    assert answer.exit_code == 1
    alerts = json.loads(answer.output)["alerts"]
    assert alerts["desk"] == ""
    assert "403" in alerts["pager"]
    assert "secret-token" not in answer.output


def test_only_the_alerts_that_are_named_send(told):
    with serving() as one, serving() as other:
        answer = told("pager", alerts=entry("desk", one.port) + entry("pager", other.port))
    assert answer.output == "pager: sent\n"
    assert (len(one.bodies), len(other.bodies)) == (0, 1)


@pytest.mark.parametrize(
    ("alerts", "words", "error"),
    [("", (), "There are no alerts"), (entry("desk", 9), ("dsk",), "did you mean `desk`")],
)
def test_what_cannot_be_tested_is_told(told, alerts, words, error):
    answer = told(*words, alerts=alerts)
    assert isinstance(answer.exception, SettingsError)
    assert error in str(answer.exception)


@pytest.mark.parametrize(
    ("url", "public", "grade", "words"),
    [
        ("json://u:hunter2@127.0.0.1/", "https://mlma.example", "ok", "its address is understood"),
        ("json://u:hunter2@127.0.0.1/", "", "warn", "messages have no links"),
        ("nonsense://hunter2", "", "fail", "`url` of the alert `desk`"),
    ],
)
def test_the_doctor_looks_at_alerts_and_sends_nothing(
    monkeypatch, capsys, tmp_path, *, url, public, grade, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlma.toml").write_text(
        f'[agent]\nslot = "1h"\n[server]\npublic_url = "{public}"\n'
        f'[[alerts]]\nname = "desk"\nurl = "{url}"\n'
    )
    answer = CommandLine(monkeypatch, capsys)("doctor", "--json")
    (found,) = [one for one in json.loads(answer.out)["checks"] if one["check"] == "alert desk"]
    assert found["grade"] == grade
    assert words in found["told"]
    assert "hunter2" not in answer.out + answer.err
