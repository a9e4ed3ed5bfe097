"""`mlma verify`: the ledger is computed once more."""

import json

from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from live_agents import POLICY, fleet, live_agent, played
from mlma.adapters.store import open_store
from mlma.cli.app import app

RUNNER = CliRunner()


def a_store(tmp_path):
    url = f"sqlite:///{tmp_path}/live.db"
    store = open_store(url)
    agent, _, clock = live_agent(store)
    played(fleet(12), 12, agent, store, clock)
    store.close()
    config = tmp_path / "mlma.toml"
    config.write_text(f'[agent]\npolicy = "{POLICY}"\nslot = "4h"\n[store]\nurl = "{url}"\n')
    return url, config


def verify(config, *more):
    return RUNNER.invoke(app, ["verify", "--config", str(config), *more])


def test_a_sound_ledger_is_told_in_one_sentence(tmp_path):
    _, config = a_store(tmp_path)
    told = verify(config)
    assert told.exit_code == 0
    assert told.stdout == (
        "12 cycles, 144 stream-batches: each came out the same, and so did the state.\n"
    )
    from_later = json.loads(verify(config, "--first", "9", "--json").stdout)
    assert from_later == {
        "cycles": 4,
        "stream_batches": 48,
        "differing_cycles": 0,
        "differences": [],
    }


def test_a_ledger_that_was_changed_is_told_with_its_streams(tmp_path):
    url, config = a_store(tmp_path)
    with create_engine(url).begin() as connection:
        data = connection.execute(
            text("SELECT data FROM mlma_evidence WHERE cycle = 9")
        ).scalar_one()
        changed = bytearray(data)
        changed[3] ^= 1  # one bit of the loss of the first stream
        connection.execute(
            text("UPDATE mlma_evidence SET data = :d WHERE cycle = 9"), {"d": bytes(changed)}
        )
    told = verify(config, "--json")
    assert told.exit_code == 1
    document = json.loads(told.stdout)
    assert document["differing_cycles"] >= 1
    assert document["differences"][0]["cycle"] >= 9
    assert verify(config).stdout.count("cycle ") >= 1


def test_an_empty_ledger_says_so(tmp_path):
    url = f"sqlite:///{tmp_path}/empty.db"
    config = tmp_path / "mlma.toml"
    config.write_text(f'[agent]\nslot = "4h"\n[store]\nurl = "{url}"\n')
    assert "The ledger is empty" in verify(config).stdout


def test_without_a_slot_it_says_so_and_makes_no_store(tmp_path):
    config = tmp_path / "mlma.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/none.db"\n')
    assert verify(config).exit_code != 0
    assert not (tmp_path / "none.db").exists()
