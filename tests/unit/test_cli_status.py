"""``mlma status``: how the agent stands, from its store alone or from a server."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from commands import CommandLine
from live_server import serving
from live_stores import TODAY, filled, settings_file
from mlma.adapters.store import open_store
from mlma.domain.ledger import Event
from mlma.service.keys import key_hash, new_key
from mlma.service.settings import read_settings


@pytest.fixture
def mlma(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLMA_KEY", raising=False)
    return CommandLine(monkeypatch, capsys)


def test_without_a_store_it_says_so_and_makes_none(mlma):
    settings_file()
    answer = mlma("status")
    assert (answer.code, answer.err) == (0, "")
    assert (
        answer.out == "sqlite:///mlma.db: no store yet; `mlma serve` or `mlma cycle` makes one.\n"
    )
    assert json.loads(mlma("status", "--json").out)["store"]["schema"] is None
    assert not Path("mlma.db").exists()


def test_cycles_verdicts_and_what_the_next_batch_waits_for(mlma):
    settings_file()
    filled(days=2)
    mlma("cycle")
    answer = mlma("status")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[1] == "streams   3"
    assert lines[2].startswith(f"next      {TODAY:%Y-%m-%d} 00:00, waits for its end at ")
    assert lines[3] == "judge     nobody runs"
    day = f"{TODAY - timedelta(2):%Y-%m-%d}"
    assert lines[-1].split()[:6] == ["1", "0", day, "00:00", "complete", "3"]
    told = json.loads(mlma("status", "--json").out)
    assert (told["cycle"], told["streams"], told["verdicts"]["unclear"]) == (2, 3, 3)
    assert [one["cycle"] for one in told["cycles"]] == [2, 1]
    assert told["next_period"] == TODAY.replace(tzinfo=UTC).isoformat()
    assert told["store"]["rows"]["streams"] == 3
    assert told["lease"] is None or not told["lease"]["held"]


def test_open_requests_messages_and_the_holder_of_the_lease_are_told(mlma):
    path = settings_file(
        '[[webhooks]]\nname = "desk"\nurl = "http://127.0.0.1:9/x"\nallow_private = true\n'
    )
    path.write_text(path.read_text().replace("[agent]", '[agent]\npolicy = "always"'))
    filled(days=1)
    mlma("cycle")
    store = open_store("sqlite:///mlma.db")
    store.post([Event("one", "test", datetime.now(UTC), {})], ["other"])
    store.acquire("somebody:1", timedelta(minutes=1), datetime.now(UTC))
    store.close()
    told = json.loads(mlma("status", "--json").out)
    assert (told["requests"]["open"], told["requests"]["claimed"]) == (3, 0)
    assert datetime.fromisoformat(told["requests"]["oldest"]) > datetime(2024, 1, 1, tzinfo=UTC)
    assert told["outbox"]["desk"]["waiting"] > 0
    assert told["outbox"]["other"] == {"waiting": 1, "given_up": 0}
    assert (told["lease"]["holder"], told["lease"]["held"]) == ("somebody:1", True)
    text = mlma("status").out
    until = datetime.fromisoformat(told["lease"]["expires_at"])
    assert f"judge     somebody:1, until {until:%Y-%m-%d %H:%M}" in text
    assert "+00:00" not in text
    assert "requests  3 open, 0 being carried out" in text
    assert "other: 1 waiting, 0 given up" in text


def test_to_look_changes_nothing_and_runs_nobody_elses_code(mlma):
    settings_file()
    filled(days=1)
    store = open_store("sqlite:///mlma.db")
    lease = store.acquire("somebody:1", timedelta(minutes=1), datetime.now(UTC))
    settings_file('[retraining]\nfunction = "nowhere.at:all"\n')
    assert mlma("status").code == 0
    assert (store.cycles(), store.lease()) == ([], lease)
    store.close()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--store", "mysql://nowhere/mlma"], 1, "Expected sqlite:///"),
        (["--url", "http://127.0.0.1:9"], 1, "The server does not answer as mlma does"),
        (["--url", "nonsense"], 2, "`--url` must be the address of a server"),
        (["--config", "none.toml"], 2, "none.toml cannot be read"),
    ],
)
def test_what_cannot_be_reached_is_one_message_and_an_exit_code(mlma, words, code, told):
    settings_file()
    answer = mlma("status", *words)
    assert (answer.code, answer.out) == (code, "")
    assert told in answer.err


def test_a_running_server_is_asked_with_the_key_of_the_environment(mlma, monkeypatch):
    key, pushing = new_key(), new_key()
    settings_file(
        f'[[keys]]\nname = "desk"\nrole = "read"\nhash = "{key_hash(key)}"\n'
        f'[[keys]]\nname = "shop"\nrole = "ingest"\nhash = "{key_hash(pushing)}"\n'
    )
    filled(days=1)
    with serving(read_settings(None, {})) as (service, client):
        service.scheduler.tick()
        url = str(client.base_url)
        refused = mlma("status", "--url", url)
        assert (refused.code, refused.out) == (2, "")
        assert "MLMA_KEY" in refused.err
        monkeypatch.setenv("MLMA_KEY", pushing)
        assert mlma("status", "--url", url).code == 2
        monkeypatch.setenv("MLMA_KEY", key)
        answer = mlma("status", "--url", url)
        told = json.loads(mlma("status", "--url", url, "--json").out)
    assert answer.code == 0
    assert "streams   3" in answer.out
    assert "cycle     1" in answer.out
    assert "judge     this server" in answer.out
    assert told["ready"]["ready"] is True
    assert told["metrics"]["cycle"] == 1
    assert key not in answer.out + json.dumps(told)
