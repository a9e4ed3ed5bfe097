"""``mlma cycle``: one pass, for cron; what is there is done, the rest is left."""

import json
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import polars as pl
import pytest

from brokers import cluster
from commands import CommandLine
from live_stores import TODAY, filled, rows, settings_file
from mlma.adapters.store import open_store
from mlma.service.bootstrap import build
from mlma.service.passes import OnePass, Patience
from mlma.service.settings import read_settings

ALWAYS = '[agent]\nslot = "1h"\npolicy = "always"\n'


@pytest.fixture
def mlma(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def store():
    opened = open_store("sqlite:///mlma.db")
    yield opened
    opened.close()


def always(more=""):
    """Settings under which every batch asks for a re-training."""
    path = settings_file(more)
    path.write_text(path.read_text().replace('[agent]\nslot = "1h"\n', ALWAYS))


def test_all_complete_batches_are_judged_once(mlma):
    settings_file()
    filled(days=3)
    first = mlma("cycle")
    assert (first.code, first.err) == (0, "")
    head, *table, following = first.out.splitlines()
    columns = "cycle revision batch closed streams verdicts decisions seconds"
    assert " ".join(head.split()) == columns
    assert [line.split()[:6] for line in table] == [
        [str(number), "0", *str(day)[:16].split(), "complete", "3"]
        for number, day in enumerate((TODAY - timedelta(days=back) for back in (3, 2, 1)), start=1)
    ]
    assert following.startswith(f"Next: {TODAY:%Y-%m-%d} 00:00, waits for its end at ")
    second = mlma("cycle")
    assert (second.code, second.out.splitlines()[0]) == (0, "Nothing to judge.")


def test_an_empty_store_is_made_and_nothing_to_do_is_no_error(mlma):
    settings_file()
    answer = mlma("cycle")
    assert (answer.code, answer.out) == (0, "Nothing to judge.\nNext: nothing came yet.\n")
    assert Path("mlma.db").exists()


def test_as_json_there_is_one_document_and_nothing_else_on_stdout(mlma):
    settings_file()
    text = Path("mlma.toml").read_text()
    Path("mlma.toml").write_text(text.replace('level = "warning"', 'level = "debug"\nlog = "json"'))
    filled(days=2)
    answer = mlma("cycle", "--json")
    told = json.loads(answer.out)
    assert [one["cycle"] for one in told["cycles"]] == [1, 2]
    assert told["cycles"][0]["verdicts"]["unclear"] == 3
    assert (told["leads"], told["open_requests"]) == (True, 0)
    assert told["next_period"] == TODAY.replace(tzinfo=UTC).isoformat()
    assert all(json.loads(line)["event"] for line in answer.err.splitlines())


def test_where_another_instance_judges_nothing_is_done_and_that_is_no_error(mlma, store):
    settings_file()
    filled(days=2)
    lease = store.acquire("somebody:1", timedelta(minutes=1), datetime.now(UTC))
    answer = mlma("cycle")
    assert answer.code == 0
    assert answer.out == "Nothing was done: somebody:1 judges this store.\n"
    assert json.loads(mlma("cycle", "--json").out)["leader"] == "somebody:1"
    assert store.cycles() == []
    assert store.lease() == lease


def test_the_lease_is_given_back_at_the_end(mlma, store):
    settings_file()
    filled(days=1)
    mlma("cycle")
    lease = store.lease()
    assert lease is None or lease.expires_at <= datetime.now(UTC)


def test_the_store_of_the_option_goes_before_that_of_the_file(mlma):
    settings_file()
    assert mlma("cycle", "--store", "sqlite:///other.db").code == 0
    assert Path("other.db").exists()
    assert not Path("mlma.db").exists()


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("[agent]\nslot = '1h'\n[store]\nurl = 'sqlite:///nowhere/mlma.db'", 1, "nowhere"),
        ("[agent]\nslot = '1h'\n[store]\nurl = 'mysql://x/y'", 1, "Expected sqlite:///"),
        ("[batches]\ndelay = '0s'", 2, "`slot` of [agent] must be set"),
        ("[agent]\nslt = '1h'", 2, "did you mean `slot`?"),
        ("[agent]\nslot = '1h'\n[retraining]\nfunction = 'nowhere.at:all'", 2, "nowhere"),
    ],
)
def test_what_is_wrong_is_one_message_and_an_exit_code(mlma, text, code, told):
    Path("mlma.toml").write_text(text)
    answer = mlma("cycle")
    assert (answer.code, answer.out) == (code, "")
    assert told in answer.err


def test_a_source_that_cannot_be_read_is_an_error_and_changes_nothing(mlma, store):
    source = '[[sources]]\nkind = "folder"\nrows = "actuals"\npath = "gone"\n'
    settings_file(source)
    filled(days=1)
    answer = mlma("cycle")
    assert answer.code == 1
    assert "gone" in answer.err
    assert store.cycles() == []


def test_sources_are_read_where_they_lie(mlma):
    Path("actuals").mkdir()
    rows("y", days=2).write_parquet("actuals/all.parquet")
    settings_file('[[sources]]\nkind = "folder"\nrows = "actuals"\npath = "actuals"\n')
    filled(days=2, only="forecasts")
    told = json.loads(mlma("cycle", "--json").out)
    assert [one["closed"] for one in told["cycles"]] == ["complete", "complete"]


class Receiver(BaseHTTPRequestHandler):
    """Takes messages; the list of the server has them."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((json.loads(body), self.headers.get("mlma-signature")))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *words):
        """Say nothing."""


@pytest.fixture
def receiver():
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.status = [], 204
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def webhook(server):
    return (
        f'[[webhooks]]\nname = "desk"\nurl = "http://127.0.0.1:{server.server_port}/x"\n'
        'secret = "at least 16 letters"\nallow_private = true\n'
    )


def test_messages_are_sent_within_the_pass(mlma, receiver):
    always(webhook(receiver))
    filled(days=2)
    told = json.loads(mlma("cycle", "--json").out)
    assert told["delivered"] == len(receiver.got) > 0
    assert told["waiting_messages"] == 0
    assert all(signature for _, signature in receiver.got)
    assert told["open_requests"] == 3
    mlma("cycle")
    assert len(receiver.got) == told["delivered"]


def test_messages_to_a_target_that_is_down_are_left_to_the_next_pass(mlma, receiver):
    always(webhook(receiver))
    filled(days=2)
    receiver.status = 503
    answer = mlma("cycle")
    assert answer.code == 0
    assert "Messages: 0 delivered, " in answer.out
    assert "Requests for re-training that are open: 3." in answer.out


TRAINER = """
import pathlib

def fit(request):
    with pathlib.Path("fits.txt").open("a") as file:
        file.write(request.unique_id + "\\n")
    if request.unique_id == "shop-2":
        raise RuntimeError("no data")
"""


def test_fits_that_are_asked_for_run_within_the_pass(mlma, monkeypatch, tmp_path, store):
    (tmp_path / "trainers_of_this_test.py").write_text(TRAINER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    always('[retraining]\nfunction = "trainers_of_this_test:fit"\nexecutor = "threads"\n')
    filled(days=2)
    monkeypatch.setenv("MLMA_SERVER__LEVEL", "error")  # a fit that raises is a warning
    answer = mlma("cycle", "--json")
    told = json.loads(answer.out)
    assert answer.code == 0
    assert told["open_requests"] == 0
    assert [one["cycle"] for one in told["cycles"]] == [1, 2]
    done = [one.status for _, one in store.requests()]
    assert done.count("done") == 4  # two streams in two cycles
    assert done.count("failed") == 2
    assert (
        sorted(Path("fits.txt").read_text().split())
        == ["shop-0"] * 2 + ["shop-1"] * 2 + ["shop-2"] * 2
    )
    sys.modules.pop("trainers_of_this_test")


def test_old_rows_are_forgotten_without_a_server_too(mlma, store):
    settings_file('[retention]\nrows = "1d"\n[batches]\nreopen = "1d"\n')
    filled(days=1)
    settings_file('[retention]\nrows = "20d"\n')
    filled(days=5)
    assert len(store.periods()) == 5
    settings_file('[retention]\nrows = "1d"\n[batches]\nreopen = "1d"\n')
    mlma("cycle")
    assert len(store.periods()) <= 2


def test_a_pass_gives_up_on_fits_that_make_no_progress(mlma, monkeypatch, tmp_path):
    (tmp_path / "slow_trainers_of_this_test.py").write_text(
        "import time\ndef fit(request):\n    time.sleep(1.5)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    always(
        '[retraining]\nfunction = "slow_trainers_of_this_test:fit"\nexecutor = "threads"\n'
        'time_limit = "1s"\nwait = false\n'
    )
    filled(days=1, streams=1)
    service = build(read_settings(None, {}))
    try:
        made = OnePass(service, Patience(idle=-0.9)).made()
    finally:
        service.stop()
    assert made.open_requests == 1
    assert len(made.cycles) == 1


def test_what_waits_in_a_topic_comes_in_and_is_judged_within_the_pass(mlma):
    with cluster() as there:
        for kind, value in (("forecasts", "y_hat"), ("actuals", "y")):
            said = rows(value, days=1).with_columns(pl.col("ds").dt.to_string("iso")).to_dicts()
            there.say(kind, said)
        settings_file(
            "".join(
                f'[[sources]]\nkind = "kafka"\nrows = "{kind}"\nbrokers = "{there.brokers}"\n'
                # Two topics of one group may stall on the broker of the tests.
                f'topic = "{kind}"\ngroup = "of {kind}"\n'
                for kind in ("forecasts", "actuals")
            )
        )
        told = json.loads(mlma("cycle", "--json").out)
    assert [one["closed"] for one in told["cycles"]] == ["complete"]
    assert told["cycles"][0]["streams"] == 3


def test_where_sources_have_no_first_day_what_to_do_is_told(mlma):
    settings_file('[[sources]]\nkind = "folder"\nrows = "forecasts"\npath = "here"\n')
    Path("here").mkdir()
    rows("y_hat").write_parquet("here/a.parquet")
    told = mlma("cycle").out
    assert "Nothing to judge." in told
    assert "`start` of [agent] is the first day to judge" in told
    settings_file()
    assert "`start`" not in mlma("cycle").out
