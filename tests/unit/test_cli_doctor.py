"""``mlma doctor``: each thing that the settings ask for is looked at, and what to do is told."""

import json
import socket
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brokers import cluster
from commands import CommandLine
from live_stores import filled, rows, settings_file
from mlma.service import checks
from mlma.service.keys import key_hash, new_key
from mlma.service.settings import Settings
from mlma.service.store_checks import room, speed

KEY = f'[[keys]]\nname = "desk"\nrole = "read"\nhash = "{key_hash(new_key())}"\n'


@pytest.fixture
def mlma(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


def looked(mlma):
    """What was found, by what was looked at: the worst grade and all texts."""
    answer = mlma("doctor", "--json")
    told = json.loads(answer.out)
    assert answer.code == (0 if told["ok"] else 1)
    assert told["ok"] == all(one["grade"] != "fail" for one in told["checks"])
    found = {}
    for one in told["checks"]:
        grade, text = found.get(one["check"], ("ok", ""))
        worst = max(grade, one["grade"], key=["ok", "warn", "fail"].index)
        found[one["check"]] = (worst, f"{text}\n{one['told']} {one['hint']}".strip())
    return found


def test_where_all_is_well_every_line_is_ok_and_the_exit_code_0(mlma):
    settings_file()
    answer = mlma("doctor")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()[1:]
    assert {line.split()[0] for line in lines} == {"ok"}
    named = {line.split()[1] for line in lines}
    assert named >= {"python", "libraries", "clock", "agent", "room", "store", "disk", "keys"}
    assert not Path("mlma.db").exists()


def test_the_facts_of_a_store_that_is_there(mlma):
    settings_file()
    filled(days=1)
    grade, told = looked(mlma)["store"]
    assert grade == "ok"
    assert "schema" in told
    assert looked(mlma)["judge"] == ("ok", "no instance runs")


def test_settings_that_cannot_be_read_are_told_in_full(mlma):
    Path("mlma.toml").write_text("[agent]\nslt = '1h'\n[server]\nport = 'x'\n")
    grade, told = looked(mlma)["settings"]
    assert grade == "fail"
    assert "did you mean `slot`?" in told
    assert "`port` of [server]" in told
    text = mlma("doctor")
    assert text.code == 1
    assert "Traceback" not in text.out


@pytest.mark.parametrize(
    ("more", "check", "grade", "told"),
    [
        ('[store]\nurl = "sqlite:///nowhere/x.db"', "store", "fail", "mkdir -p nowhere"),
        ('[store]\nurl = "memory://"', "store", "warn", "gone at the end"),
        ('[store]\nurl = "mysql://u:hunter2@x/y"', "store", "fail", "Expected sqlite:///"),
        ('[store]\nurl = "postgresql://u:hunter2@127.0.0.1:9/x"', "store", "fail", "127.0.0.1"),
        ('[batches]\ntimeout = "never"', "agent", "warn", "holds up all batches"),
        ('[clock]\nkind = "simulated"', "clock", "warn", "stands until it is set"),
        ('[streams]\ntags = "none.csv"', "tags", "fail", "`none.csv` does not exist"),
        ('[retraining]\nfunction = "nowhere.at:all"', "retraining", "fail", "nowhere"),
        ('[retraining]\nfunction = "json:dumps"', "retraining", "ok", "json:dumps is there"),
        ('[server]\nhost = "0.0.0.0"', "keys", "fail", "mlma key --name"),
        ('[server]\nport = 0\nhost = "0.0.0.0"\n' + KEY, "address", "warn", "without TLS"),
        (KEY, "keys", "warn", "nobody may push rows"),
        (
            '[[sources]]\nkind = "folder"\nrows = "actuals"\npath = "gone"',
            "source 1",
            "fail",
            "gone",
        ),
        (
            '[[sources]]\nkind = "sql"\nrows = "actuals"\nurl = "sqlite:///gone/x.db"\n'
            'query = "SELECT 1 WHERE :start < :end"',
            "source 1",
            "fail",
            "",
        ),
        (
            '[[sources]]\nkind = "folder"\nrows = "forecasts"\npath = "."',
            "sources",
            "warn",
            "`start` of [agent]",
        ),
        (
            '[[webhooks]]\nname = "desk"\nurl = "http://127.0.0.1/x?hunter2"',
            "webhook desk",
            "fail",
            "not a public address",
        ),
        (
            '[[webhooks]]\nname = "desk"\nurl = "http://127.0.0.1/x?hunter2"\nallow_private = true',
            "webhook desk",
            "warn",
            "not signed",
        ),
        (
            '[[webhooks]]\nname = "desk"\nurl = "http://127.0.0.1/x"\nallow_private = true\n'
            'secret = "at least 16 letters"',
            "webhook desk",
            "ok",
            "http://127.0.0.1:80, signed",
        ),
    ],
)
def test_what_is_amiss_is_found_with_a_hint(mlma, more, check, grade, told):
    path = settings_file()
    path.write_text(f'[agent]\nslot = "1h"\n{more}\n')
    found = looked(mlma)
    assert found[check][0] == grade, found
    assert told in found[check][1]
    assert "hunter2" not in json.dumps(found)


def test_a_webhook_whose_host_is_not_known_fails(mlma, monkeypatch):
    def unknown(host, port):
        raise OSError(f"{host} is not known")

    monkeypatch.setattr("mlma.adapters.notify.addresses.resolved", unknown)
    settings_file('[[webhooks]]\nname = "desk"\nurl = "https://desk.example/x"\n')
    grade, told = looked(mlma)["webhook desk"]
    assert (grade, told) == ("fail", "its host cannot be looked up: desk.example is not known")


def test_one_period_of_a_source_is_read(mlma):
    Path("actuals").mkdir()
    rows("y", days=2).write_parquet("actuals/all.parquet")
    settings_file('[[sources]]\nkind = "folder"\nrows = "actuals"\npath = "actuals"\n')
    grade, told = looked(mlma)["source 1"]
    assert (grade, told.partition(" in ")[0]) == ("ok", "72 rows of actuals")
    rows("y", days=2).head(1).write_parquet("actuals/all.parquet")
    assert looked(mlma)["source 1"][0] == "warn"


def test_a_store_of_another_schema_says_what_to_do(mlma):
    settings_file()
    filled(days=1)
    with sqlite3.connect("mlma.db") as database:
        (table,) = database.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE '%version%' AND type = 'table'"
        ).fetchone()
        database.execute(f"UPDATE {table} SET version_num = '0000'")
    database.close()
    grade, told = looked(mlma)["store"]
    assert grade == "fail"
    assert "`mlma db migrate`" in told


def test_a_cycle_that_is_still_to_come_shows_that_a_clock_is_wrong(mlma):
    settings_file()
    filled(days=1)
    mlma("cycle")
    later = (datetime.now(UTC) + timedelta(days=3)).timestamp() * 1e6
    with sqlite3.connect("mlma.db") as database:
        tables = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if "judged_at" in [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
        ]
        kinds = {
            type(database.execute(f"SELECT judged_at FROM {name}").fetchone()[0]) for name in tables
        }
        assert kinds == {int}, kinds
        for name in tables:
            database.execute(f"UPDATE {name} SET judged_at = ?", [int(later)])
    database.close()
    grade, told = looked(mlma)["clock"]
    assert grade == "warn"
    assert "still to come" in told


def test_a_port_that_is_taken_is_no_fail_as_a_server_may_run(mlma):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings_file()
        text = Path("mlma.toml").read_text()
        Path("mlma.toml").write_text(text.replace("port = 0", f"port = {taken.getsockname()[1]}"))
        grade, told = looked(mlma)["address"]
    assert grade == "warn"
    assert "Address already in use" in told


@pytest.mark.parametrize(
    ("bytes_left", "grade"), [(2**40, "ok"), (2**29, "warn"), (2**20, "fail"), (0, "fail")]
)
def test_little_room_is_a_warning_and_none_is_a_fail(bytes_left, grade):
    assert room(bytes_left).grade == grade


@pytest.mark.parametrize(
    ("seconds", "grade"), [([0.001, 0.002, 5.0], "ok"), ([0.1, 0.2, 0.3], "warn"), ([2.0], "fail")]
)
def test_slow_writes_are_a_warning_and_very_slow_ones_a_fail(seconds, grade):
    assert speed("disk", seconds).grade == grade


def test_a_check_that_breaks_is_a_finding_too():
    def broken(settings):
        raise ZeroDivisionError("by zero")
        yield

    (found,) = checks.findings(Settings(), (broken,))
    assert (found.check, found.grade) == ("broken", "fail")
    assert "ZeroDivisionError while looking: by zero" in found.told


def topic(brokers, name="forecasts"):
    return (
        f'[[sources]]\nkind = "kafka"\nrows = "forecasts"\nbrokers = "{brokers}"\n'
        f'topic = "{name}"\nsettings = {{ "client.id" = "hunter2" }}\n'
    )


def test_a_topic_is_looked_at_and_nothing_is_consumed(mlma):
    with cluster() as there:
        there.say("forecasts", {})
        settings_file(topic(there.brokers))
        assert looked(mlma)["source 1"] == ("ok", "topic forecasts has 4 partitions")
        assert there.committed("mlma", "forecasts") == {}


def test_a_broker_that_does_not_answer_fails(mlma, monkeypatch):
    monkeypatch.setattr("mlma.service.source_checks._KAFKA_SECONDS", 0.3)
    settings_file(topic("127.0.0.1:9"))
    grade, told = looked(mlma)["source 1"]
    assert grade == "fail"
    assert told.startswith("127.0.0.1:9 do not answer")


def test_a_hint_stands_once_in_a_line(mlma):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings_file().write_text(
            f'[server]\nport = {taken.getsockname()[1]}\n[agent]\nslot="1h"\n'
        )
        (line,) = (one for one in mlma("doctor").out.splitlines() if "address" in one)
    assert line.count("Hint") == 1
    assert ".." not in line
    Path("mlma.toml").write_text("[agent]\nslit = 1\n")
    assert "`slot`? And: what depends on them was not looked at." in mlma("doctor").out
