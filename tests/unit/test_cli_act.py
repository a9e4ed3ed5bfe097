"""``mlma act`` and ``mlma incidents``: orders on a store, shown before they are given."""

import io
import json
import re
from dataclasses import replace

import pytest

from commands import CommandLine
from engineers import incident
from live_stores import TODAY, filled, settings_file
from mlma.adapters.store import open_store
from mlma.agent.recomputing import read_entry
from mlma.cli.act import acts
from mlma.domain.ledger import Commit
from mlma.domain.orders import ORDERS

ALL = ("--everything", "--yes")


@pytest.fixture
def mlma(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLMA_KEY", raising=False)
    command = CommandLine(monkeypatch, capsys)
    settings_file()
    filled(days=2)
    assert command("cycle").code == 0
    return command


def store():
    return open_store("sqlite:///mlma.db")


def actions():
    opened = store()
    try:
        return [one for one in opened.actions() if one.kind in ORDERS]
    finally:
        opened.close()


def test_each_kind_of_order_has_a_command():
    assert {one.name for one in acts.registered_commands} == {
        kind.replace("_", "-") for kind in ORDERS
    }


def test_a_dry_run_shows_what_would_change_and_writes_nothing(mlma):
    answer = mlma("act", "freeze", "--stream", "shop-1", "--dry-run")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "Freezes 1 stream (shop-1)."
    assert lines[1] == "1 newly frozen"
    assert lines[-1].split() == ["shop-1", "frozen", "frozen"]
    assert actions() == []


def test_an_order_is_written_with_who_and_why(mlma):
    answer = mlma("act", "freeze", "--search", "shop-1", "--why", "fair", "--yes")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[1] == "Action 1. To take it back: mlma act undo 1"
    (action,) = actions()
    assert action.by.startswith("cli:")
    assert (action.kind, action.why) == ("freeze", "fair")
    assert action.payload["unique_ids"] == ["shop-1"]
    assert mlma("act", "undo", 1, "--yes").code == 0
    again = mlma("act", "undo", 1, "--yes")
    assert again.code == 1
    assert "undone already, by action 2 (undo by cli:" in again.err


@pytest.mark.parametrize(("typed", "code", "given"), [("n\n", 130, []), ("y\n", 0, ["pin"])])
def test_without_a_yes_it_shows_and_asks(mlma, monkeypatch, typed, code, given):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    answer = mlma("act", "pin", "--stream", "shop-1")
    assert answer.code == code
    assert "Pins 1 stream (shop-1)." in answer.err
    assert "Carry it out?" in answer.err
    assert [one.kind for one in actions()] == given


def test_where_nobody_can_be_asked_nothing_is_done(mlma, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert mlma("act", "pin", "--stream", "shop-1").code == 130
    assert actions() == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("freeze", "--yes"), "everything = true"),
        (("freeze", "--stream", "shop-9", "--yes"), "shop-9"),
        (("freeze", "--tag", "city=Ghent", "--yes"), "No stream has a tag `city`"),
        (("freeze", "--tag", "city", "--yes"), "name=value"),
        (("freeze", "--until", "tomorrow", *ALL), "time with its zone"),
        (("freeze", "--until", "2001-01-01T00:00:00Z", *ALL), "must lie ahead"),
        (("budget", "many", "--yes"), "0 re-trainings or more, or none"),
        (("policy", "neverr", *ALL), "did you mean `never`"),
        (("label", "odd", "--begins", "2024-01-01", "--ends", "x", *ALL), "`--begins`"),
        (("overrule", "healthy", "--cycle", "99", *ALL), "must be a judged one"),
        (("undo", "77", "--yes"), "There is no order 77"),
        (("resolve", "nothing", "--yes"), "There is no incident 'nothing'"),
        (("roll-back", *ALL), "version"),
        (("cancel-event", "x", "--yes"), "Unknown event `x`"),
    ],
)
def test_what_cannot_be_ordered_is_told_in_one_line(mlma, words, told):
    answer = mlma("act", *words)
    assert answer.code == 2
    assert told in answer.err
    assert actions() == []


def test_all_that_an_engineer_says_ahead_and_afterwards(mlma):
    day = f"{TODAY:%Y}-01-02T00:00:00+00:00"
    later = f"{TODAY.year + 1}-01-02T00:00:00+00:00"
    end = f"{TODAY.year + 1}-01-03T00:00:00+00:00"
    one = ("--stream", "shop-1", "--yes")
    orders = (
        ("retrain", *one),
        ("plan", "--at", later, *one),
        ("freeze", "--until", later, *one),
        ("unfreeze", *one),
        ("budget", "3", "--yes"),
        ("budget", "none", "--yes"),
        ("event", "Fair", "--begins", later, "--ends", end, "--id", "fair", *one),
        ("event", "Fair", "--begins", later, "--ends", end, "--id", "fair", "--no-mute", *one),
        ("cancel-event", "fair", "--yes"),
        ("pin", *one),
        ("unpin", *one),
        ("policy", "never", *one),
        ("policy", "", *one),
        ("label", "broken", "--begins", day, "--ends", later, *one),
        ("overrule", "degraded", "--cycle", "2", *one),
        ("rejudge", "2", "--yes"),
        ("undo", "16", "--yes"),
    )
    for words in orders[:-1]:
        answer = mlma("act", *words)
        assert answer.code == 0, (words, answer.err)
    assert mlma("act", *orders[-1]).code == 2  # a cycle that was opened again
    assert [one.kind for one in actions()] == [
        *("retrain", "plan", "freeze", "unfreeze", "budget", "budget", "event", "event"),
        *("cancel_event", "pin", "unpin", "policy", "policy", "label", "overrule", "rejudge"),
    ]


def test_one_json_document_for_programs(mlma):
    told = json.loads(mlma("act", "freeze", "--stream", "shop-1", "--dry-run", "--json").out)
    assert told["changes"] == [
        {"unique_id": "shop-1", "cycle": None, "what": "frozen", "before": "", "after": "frozen"}
    ]
    made = json.loads(mlma("act", "freeze", "--stream", "shop-1", "--yes", "--json").out)
    assert made["action"] == 1


def test_incidents_are_listed_and_acted_upon(mlma):
    assert mlma("incidents").out == "No incidents.\n"
    opened = store()
    entry = read_entry(opened, 2)
    shown = incident(opened_cycle=2, updated_cycle=2, scope="city=\x1b[31m<b>")
    opened.commit(Commit((_revised(entry),), opened.snapshot(), incidents=(shown,)))
    opened.close()
    text = mlma("incidents").out
    assert re.search(r"i1 +open +group +city=\?\[31m<b>", text)
    assert mlma("act", "acknowledge", "i1", "--seen", 0, "--yes").code == 0
    late = mlma("act", "resolve", "i1", "--seen", 0, "--yes")
    assert late.code == 1
    assert "action 1 (acknowledge by cli:" in late.err
    (row,) = json.loads(mlma("incidents", "--state", "acknowledged", "--json").out)["rows"]
    assert (row["id"], row["changed"]) == ("i1", 1)
    assert mlma("incidents", "--state", "open").out == "No incidents.\n"
    wrong = mlma("incidents", "--state", "opne")
    assert (wrong.code, "did you mean `open`" in wrong.err) == (2, True)


def _revised(entry):
    return replace(entry, info=replace(entry.info, revision=1, closed="revised"))


def test_where_there_is_no_store_nothing_is_made(mlma):
    answer = mlma("act", "pin", "--stream", "a", "--store", "sqlite:///other.db")
    assert answer.code == 2
    assert "There is no store at sqlite:///other.db" in answer.err


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:9", "http://127.0.0.1:9"])
def test_a_server_that_is_none_is_told(mlma, url):
    answer = mlma("act", "pin", "--stream", "a", "--url", url)
    assert answer.code in {1, 2}
    assert "server" in answer.err
