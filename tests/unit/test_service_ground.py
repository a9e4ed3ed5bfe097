"""A store keeps the grid and the loss that it was begun with: others are refused, not mixed in."""

import pytest

from commands import CommandLine
from live_stores import filled, settings_file
from mlma.domain.errors import SettingsError
from mlma.service.bootstrap import build
from mlma.service.settings import read_settings

OTHERS = {"batch": ("7d", "1d"), "slot": ("30m", "1h"), "timezone": ("Europe/Paris", "")}
OTHERS |= {"loss": ("squared", "absolute")}


@pytest.fixture
def mlma(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


def changed(key, value):
    path = settings_file()
    keep = "" if key == "slot" else 'slot = "1h"\n'
    path.write_text(path.read_text().replace('slot = "1h"\n', f'{keep}{key} = "{value}"\n'))


@pytest.mark.parametrize("key", OTHERS)
def test_what_the_ledger_rests_on_cannot_change_under_it(mlma, key):
    settings_file()
    filled(days=2)
    assert mlma("cycle").code == 0
    got, had = OTHERS[key]
    changed(key, got)
    told = f'`{key}` of [agent] must be "{had}", with which this store was begun. Got "{got}".'
    for words in (("cycle",), ("status",), ("verify",), ("serve",)):
        answer = mlma(*words)
        assert (answer.code, answer.out) == (2, "")
        assert told in answer.err
    looked = mlma("doctor")
    assert looked.code == 1
    assert told in looked.out
    settings_file()
    assert mlma("verify").code == 0


def test_as_long_as_nothing_came_settings_may_change(mlma):
    settings_file()
    assert mlma("cycle").code == 0
    changed("batch", "7d")
    assert mlma("cycle").code == 0


def test_rows_that_wait_are_ground_too(mlma):
    settings_file()
    with build(read_settings(None, {})):
        pass
    filled(days=2)
    changed("batch", "7d")
    with pytest.raises(SettingsError, match='must be "1d", with which this store was begun'):
        build(read_settings(None, {}))
