"""``mlma.toml``: what is read, what goes before what, what is refused, what is never shown."""

import json
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from mlma.cli.config import TABLES, table_of
from mlma.domain.errors import SettingsError
from mlma.domain.settings import MLMA
from mlma.service.keys import KeyRing, key_hash, new_key
from mlma.service.settings import Settings, read_settings
from mlma.service.template import defaults

ROOT = Path(__file__).resolve().parents[2]
WORD = "topsecretword1234567"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(text, environ=None, options=None):
    Path("mlma.toml").write_text(text)
    return read_settings(None, environ or {}, options)


def refused(text, environ=None, options=None):
    with pytest.raises(SettingsError) as caught:
        read(text, environ, options)
    assert WORD not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


def test_without_a_file_everything_is_default():
    assert read_settings(None, {}) == Settings()


def test_option_goes_before_environment_before_file_before_default():
    text = '[server]\nport = 1\nhost = "10.0.0.1"\nmax_rows = 5\n'
    environ = {"MLMA_SERVER__PORT": "2", "mlma_server__host": "10.0.0.2"}
    made = read(text, environ, {"server": {"port": 3, "host": None}, "store": {"url": None}}).server
    assert (made.port, made.host, made.max_rows, made.log) == (3, "10.0.0.2", 5, "text")


def test_the_file_is_the_given_one_else_that_of_the_environment_else_the_one_here():
    for name, seed in (("given", 1), ("named", 2), ("mlma", 3)):
        Path(f"{name}.toml").write_text(f"[agent]\nseed = {seed}\n")
    named = {"MLMA_CONFIG": "named.toml"}
    assert read_settings(Path("given.toml"), named).agent.seed == 1
    assert read_settings(None, named).agent.seed == 2
    assert read_settings(None, {}).agent.seed == 3


def test_the_environment_gives_numbers_truths_lengths_sizes_and_lists():
    made = read(
        "",
        {
            "MLMA_BATCHES__COMPLETE_SHARE": "0.5",
            "MLMA_BATCHES__TIMEOUT": "never",
            "MLMA_RETRAINING__WAIT": "false",
            "MLMA_SERVER__MAX_BODY": "1MiB",
            "MLMA_STREAMS__MAX": "7",
            "MLMA_AGENT__TIMEZONE": "",
            "MLMA_WEBHOOKS": '[{"name": "a", "url": "https://a.example/x"}]',
            "MLMA_MODEL": "ridge",  # of the command replay
            "UNRELATED__KEY": "1",
        },
    )
    assert made.batches.complete_share == 0.5
    assert made.batches.timeout is None
    assert made.retraining.wait is False
    assert made.server.max_body == 2**20
    assert made.streams.max == 7
    assert [webhook.name for webhook in made.webhooks] == ["a"]


def test_the_live_agent_gets_what_the_file_says():
    text = """
    [agent]
    policy = "mlma(level=0.01)"
    batch = "12h"
    slot = "15m"
    timezone = "Europe/Paris"
    [batches]
    delay = "30m"
    timeout = "never"
    [retention]
    rows = "8d"
    [retraining]
    function = "shop.training:fit"
    [[webhooks]]
    name = "trainer"
    url = "https://models.example/train"
    """
    live = read(text).live()
    assert live.policy == MLMA(level=0.01, pool=1)  # a trainer elsewhere has one
    assert (live.periods.slots, live.periods.zone) == (48, "Europe/Paris")
    assert live.periods.batch == np.timedelta64(12, "h")
    assert (live.delay, live.timeout) == (timedelta(minutes=30), None)
    assert live.retention == timedelta(days=8)
    assert live.wait_for_fits is True
    assert live.targets == ("trainer",)
    assert read('[agent]\nslot = "1h"').live().wait_for_fits is False  # others train


def test_a_live_agent_without_a_slot_says_what_to_set():
    with pytest.raises(SettingsError, match=r"`slot` of \[agent\] must be set .* slot = \"15m\""):
        read("").live()


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", None),
        ("start = ''", None),
        ("start = '2024-01-31'", "2024-01-31T00:00:00+00:00"),
        ("start = 2024-01-31", "2024-01-31T00:00:00+00:00"),
        ("start = '2024-01-31 06:00'\ntimezone = 'Europe/Paris'", "2024-01-31T06:00:00+01:00"),
    ],
)
def test_the_first_day_is_one_on_the_clock_of_the_streams(text, start):
    made = read(f"[agent]\n{text}").start()
    assert (made and made.isoformat()) == start


@pytest.mark.parametrize("day", ["'yesterday'", "2024-01-31T00:00:00Z", "5"])
def test_a_first_day_that_is_none_is_refused(day):
    assert "`start` of [agent] in mlma.toml must be" in refused(f"[agent]\nstart = {day}")


def test_settings_cannot_be_changed():
    made = read("")
    with pytest.raises(ValidationError):
        made.server.port = 1


def test_an_unknown_key_names_the_nearest_known_one():
    told = refused("[batches]\ncomplet_share = 1\n")
    assert told.startswith("Unknown key `complet_share` of [batches] in mlma.toml. Known: ")
    assert told.endswith("Hint: did you mean `complete_share`?")


def test_an_unknown_table_names_the_nearest_known_one():
    told = refused("[batchs]\n")
    assert told.startswith("Unknown table `batchs` in mlma.toml. Known: agent, ")
    assert told.endswith("Hint: did you mean `batches`?")


def test_all_errors_are_told_together_each_where_it_is():
    told = refused(
        "[batches]\ncomplete_share = '0.9'\n[server]\nport = true\n",
        {"MLMA_SERVER__MAX_ROWS": "many", "MLMA_STORE__URLL": "x"},
        {"scheduler": {"every": 5}},
    )
    head, *lines = told.splitlines()
    assert head == "5 settings are wrong:"
    assert lines == [
        "- `complete_share` of [batches] in mlma.toml must be a number. Got '0.9'.",
        "- Unknown key `urll` of [store] in the environment (MLMA_STORE__URLL). Known: url. "
        "Hint: did you mean `url`?",
        "- `port` of [server] in mlma.toml must be a whole number. Got true.",
        "- `max_rows` of [server] in the environment (MLMA_SERVER__MAX_ROWS) must be a whole "
        "number. Got 'many'.",
        "- `every` of [scheduler] in the command line must be a length of time as text, such as "
        '"15m", "6h" or "7d". Got 5.',
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[batches]\ncomplete_share = true", "must be a number. Got true."),
        ("[batches]\ncomplete_share = 0", "must be above 0"),
        ("[batches]\ncomplete_share = nan", "must be"),
        ("[batches]\ntimeout = '1M'", "months and years have no fixed length"),
        ("[batches]\nreopen = 'now'", "must be a length of time"),
        ("[server]\nport = 1.5", "must be a whole number. Got 1.5."),
        ("[server]\nport = 65536", "must be at most 65535"),
        ("[server]\nmax_body = '64 acres'", "must be a size such as \"64MiB\". Got '64 acres'."),
        ("[server]\nmax_body = true", 'must be a size such as "64MiB". Got true.'),
        ("[server]\nlog = 'xml'", "must be one of 'text' or 'json'. Got 'xml'."),
        ("[server]\nhost = ''", "must be text of 1 letters or more"),
        ("[agent]\npolicy = 'mlm'", "did you mean `mlma`?"),
        ("[agent]\npolicy = 'mlma(level=2)'", "`level` of `MLMA` must be between 0 and 1"),
        ("[agent]\nloss = 'absolut'", "did you mean `absolute`?"),
        ("[agent]\ntimezone = 'Mars/Base'", "must be the name of a time zone"),
        ("[agent]\ntimezone = '../../etc/passwd'", "must be the name of a time zone"),
        ("[agent]\nslot = '7h'", "[agent] in mlma.toml must have a `batch` of a whole number of"),
        ("[agent]\nslot = '2d'", "must have a `batch` of a whole number of slots"),
        ("[scheduler]\nevery = '1m'", "must have a `lease` longer than `every`"),
        ("[retention]\nrows = '6d'", "`rows` of [retention] of at least `reopen` of [batches]"),
        ("[batches]\ntimeout = '30d'", "at least `timeout` of [batches]. Hint: they are 14d and 3"),
        ("[retraining]\nfunction = 'fit'", 'must be written as "package.module:function"'),
        ("[retraining]\nwait = 1", "must be true or false. Got 1."),
        ("[keys]\na = 1", "[keys] in mlma.toml must be a list. Got a table. Hint: start each"),
        (
            "server = 1",
            "[server] in mlma.toml must be a table. Got 1. Hint: start it with [server].",
        ),
        ("[[sources]]\nkind = 'sqll'", "did you mean `sql`?"),
        ("[[sources]]\nrows = 'actuals'", "`kind` of [[sources]], entry 1 in mlma.toml is missing"),
        ("[[sources]]\nkind = 'folder'\nrows = 'actuals'", "`path` of [[sources]], entry 1 in"),
        (
            "[[sources]]\nkind = 'sql'\nrows = 'actuals'\nquery = 'x'",
            "[[sources]], entry 1 in mlma.toml must have either a `url` or a `url_env`",
        ),
        (
            "[[sources]]\nkind='folder'\nrows='actuals'\npath='x'\ncolumns={dss='x'}",
            "Unknown key `dss` of [[sources]], entry 1, columns in mlma.toml. Known: ",
        ),
        (
            "[[webhooks]]\nname = 'a'\nurl = 'https://a.example'\nevents = ['request']",
            "Value 1 of `events` of [[webhooks]], entry 1 in mlma.toml must be one of",
        ),
        ("[[webhooks]]\nname = 'a'\nurl = 'ftp://a.example'", "starts with http:// or https://"),
        (
            "[[webhooks]]\nname = 'a b'\nurl = 'https://a.example'",
            "must be 1 to 80 letters, digits, dots, hyphens or underscores. Got 'a b'.",
        ),
        (
            "[[webhooks]]\nname='a'\nurl='https://a.example'\n" * 2,
            "must have a name of its own for each of [[webhooks]]. Hint: twice: a.",
        ),
        (
            "[[webhooks]]\nname = 'a'\nurl = 'https://a.example'\nsecret_env = 'NOT_SET'",
            "The variable `NOT_SET` that [[webhooks]] tells of must be set",
        ),
        (
            "[[keys]]\nname = 'a'\nrole = 'read'\nhash = 'md5$1$2'",
            "must be what `mlma key` printed",
        ),
        ("port = ", "is not TOML"),
    ],
)
def test_a_wrong_value_says_where_what_and_what_was_got(text, told):
    assert told in refused(text)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"MLMA_STOER__URL": WORD}, "did you mean `MLMA_STORE__URL`?"),
        ({"MLMA_WEBHOOKS": WORD}, "must be a table or a list in JSON"),
        ({"MLMA_CONFIG": "none.toml"}, "none.toml cannot be read"),
        ({"MLMA_KEYS_FILE": "none.toml"}, "none.toml cannot be read"),
    ],
)
def test_a_wrong_environment_is_told_without_its_value(environ, told):
    assert told in refused("", environ)


@pytest.mark.parametrize(
    "text",
    [
        f"[store]\nurl = 'postgresql://mlma:{WORD}@db.example/mlma'",
        f"[store]\nurl = 'postgresql://mlma:{WORD}/{WORD}@db.example/mlma'",
        f"[store]\nurl = 'postgresql://db.example/mlma?password={WORD}'",
        f"[[webhooks]]\nname = 'a'\nurl = 'https://u:{WORD}@a.example/hooks/{WORD}'\n"
        f"secret = '{WORD}'",
        f"[[sources]]\nkind = 'sql'\nrows = 'actuals'\nquery = 'x'\nurl = 'postgresql://u:{WORD}@d/x'",
    ],
)
def test_a_secret_is_in_no_text_form_of_the_settings(text):
    made = read(text)
    shown = (repr(made), str(made), made.model_dump_json(), repr(made.model_dump()))
    assert all(WORD not in one for one in shown)


@pytest.mark.parametrize(
    "text",
    [
        f"[[webhooks]]\nname = 'a'\nurl = 'ftp://u:{WORD}@a.example'\nsecret = '{WORD}'",
        f"[[webhooks]]\nname = 'a'\nurl = 'https://a.example'\nsecret = ['{WORD}']",
        f"[[webhooks]]\nname = 'a'\nurl = ['{WORD}']",
        f"[[webhooks]]\nname = 'a'\nurl = 'https://a.example'\nsecret = '{WORD[:15]}'",
        f"[[keys]]\nname = 'a'\nrole = 'read'\nhash = '{WORD}'",
        f"[store]\nurl = ['{WORD}']",
        "[[sources]]\nkind='kafka'\nrows='actuals'\nbrokers='b'\ntopic='t'\n"
        f"settings = {{ 'sasl.password' = ['{WORD}'] }}",
        "[[sources]]\nkind='kafka'\nrows='actuals'\nbrokers='b'\ntopic='t'\n"
        "settings = { 'sasl.password' = 1234567 }",
    ],
)
def test_a_secret_is_in_no_error(text):
    told = refused(text)
    assert WORD[:15] not in told
    assert "1234567" not in told


def test_a_secret_comes_from_the_environment():
    text = """
    [[webhooks]]
    name = "trainer"
    url = "https://models.example/train"
    secret_env = "TRAINER"
    [[sources]]
    kind = "sql"
    rows = "actuals"
    url_env = "SALES"
    query = "SELECT 1"
    """
    made = read(text, {"TRAINER": WORD, "SALES": f"postgresql://u:{WORD}@d/x"})
    assert made.webhooks[0].secret.get_secret_value() == WORD
    assert made.sources[0].url.get_secret_value() == f"postgresql://u:{WORD}@d/x"
    assert WORD not in repr(made)


def test_keys_may_lie_in_a_file_of_their_own():
    first, second = new_key(), new_key()
    entry = '[[keys]]\nname = "{}"\nrole = "{}"\nhash = "{}"\n'
    Path("keys.toml").write_text(entry.format("second", "engineer", key_hash(second)))
    text = entry.format("first", "read", key_hash(first))
    ring = KeyRing(read(text, {"MLMA_KEYS_FILE": "keys.toml"}).keys)
    assert (ring.role_of(first).name, ring.role_of(first).role) == ("first", "read")
    assert (ring.role_of(second).name, ring.role_of(second).role) == ("second", "engineer")
    assert ring.role_of(new_key()) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "agent.example"])
def test_a_server_that_others_reach_needs_keys(host):
    made = read(f"[server]\nhost = '{host}'")
    with pytest.raises(SettingsError, match="must be a loopback address while there are no keys"):
        made.check_exposed()
    entry = f"[[keys]]\nname = 'a'\nrole = 'read'\nhash = '{key_hash(new_key())}'\n"
    read(entry + f"[server]\nhost = '{host}'").check_exposed()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_a_server_for_this_machine_alone_needs_no_keys(host):
    read(f"[server]\nhost = '{host}'").check_exposed()


def test_replay_and_service_read_the_same_file():
    text = '[agent]\nslot = "15m"\n[replay]\nmodel = "ridge"\n[[keys]]\n'
    Path("mlma.toml").write_text(text)
    assert table_of(Path("mlma.toml"), "replay", ["model"], set()) == {"model": "ridge"}
    assert read('[agent]\nslot = "15m"\n[replay]\nmodel = "ridge"\n').agent.slot is not None


def test_replay_still_refuses_a_table_that_nobody_reads():
    Path("mlma.toml").write_text("[repaly]\n")
    with pytest.raises(SettingsError, match="did you mean `replay`"):
        table_of(Path("mlma.toml"), "replay", ["model"], set())


def test_the_tables_that_a_replay_leaves_alone_are_those_of_the_service():
    assert set(TABLES) == set(Settings.model_fields)


def models():
    """Tables and entries by their heading in the documentation."""
    from mlma.service.entries import (
        SOURCE_TABLES,
        AlertTable,
        ColumnsTable,
        KeyTable,
        UserTable,
        WebhookTable,
    )

    found = {
        f"[{name}]": field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    sources = {f'[[sources]], kind = "{kind}"': model for kind, model in SOURCE_TABLES.items()}
    return (
        found
        | {"[[keys]]": KeyTable, "[[users]]": UserTable, "[[webhooks]]": WebhookTable}
        | {"[[alerts]]": AlertTable}
        | sources
        | {"columns of [[sources]]": ColumnsTable}
    )


@pytest.mark.parametrize(("heading", "model"), models().items(), ids=list(models()))
def test_the_page_of_settings_has_every_key_with_default_and_meaning(heading, model):
    text = (ROOT / "docs" / "configuration.md").read_text()
    (section,) = re.findall(rf"^### `{re.escape(heading)}`$(.*?)(?=^##|\Z)", text, re.M | re.S)
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", section, re.M)
    expected = [
        (key, "required" if field.is_required() else shown(defaults(model)[key]), field.description)
        for key, field in model.model_fields.items()
    ]
    assert rows == expected


def shown(default):
    return "none" if default is None else f"`{json.dumps(default)}`"
