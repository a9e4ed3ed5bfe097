"""``mlma key`` and the ring: a key is shown once, recognised afterwards, kept nowhere."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import CommandLine
from mlma.service.entries import KeyTable
from mlma.service.keys import KeyRing, key_hash, new_key
from mlma.service.settings import read_settings


@pytest.fixture
def mlma(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


def entry(name, role, key):
    return KeyTable(name=name, role=role, hash=key_hash(key))


@pytest.mark.parametrize("role", ["read", "ingest", "engineer"])
def test_the_printed_entry_recognises_the_printed_key(mlma, role):
    answer = mlma("key", "--name", "store-42", "--role", role)
    assert answer.code == 0
    key, _, printed = answer.out.strip().partition("\n")
    assert key.startswith("mlma_")
    assert len(key) == 48
    assert key not in printed
    assert key not in answer.err
    Path("mlma.toml").write_text(printed)
    info = KeyRing(read_settings(None, {}).keys).role_of(key)
    assert (info.name, info.role) == ("store-42", role)


def test_as_json_there_is_one_document_and_nothing_else(mlma):
    answer = mlma("key", "--name", "a", "--role", "read", "--json")
    told = json.loads(answer.out)
    assert KeyRing([KeyTable(name="a", role="read", hash=told["hash"])]).role_of(told["key"])
    assert answer.err == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "a", "--role", "ingestt"], "did you mean `ingest`?"),
        (["--name", 'a"b', "--role", "read"], "must be 1 to 80 letters"),
        (["--name", "a\nb", "--role", "read"], "must be 1 to 80 letters"),
        (["--name", "", "--role", "read"], "must be 1 to 80 letters"),
        (["--role", "read"], "Missing option"),
    ],
)
def test_a_wrong_name_or_role_makes_no_key(mlma, words, told):
    answer = mlma("key", *words)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err


def test_no_two_keys_and_no_two_hashes_are_the_same():
    key = new_key()
    assert new_key() != key
    assert key_hash(key) != key_hash(key)


def test_every_key_of_a_ring_is_recognised_whatever_its_place():
    keys = {f"key-{number}": new_key() for number in range(5)}
    ring = KeyRing([entry(name, "ingest", key) for name, key in keys.items()])
    assert {name: ring.role_of(key).name for name, key in keys.items()} == {k: k for k in keys}
    assert len(ring) == 5


@given(st.text(max_size=400))
def test_nothing_but_the_key_opens(presented):
    assert RING.role_of(presented) is None
    assert RING.role_of(KEY + presented) is (None if presented else RING.role_of(KEY))


def test_what_is_close_to_a_key_opens_nothing():
    for wrong in (KEY[:-1], KEY.upper(), KEY + " ", " " + KEY, KEY[5:], KEY + "x" * 1000, "\ud800"):
        assert RING.role_of(wrong) is None
    assert RING.role_of(KEY) is not None


def test_an_empty_ring_opens_to_nobody():
    assert KeyRing([]).role_of("") is None


def test_a_ring_shows_names_and_no_hashes():
    assert repr(RING) == "KeyRing(a)"


def test_all_keys_are_compared_even_after_one_that_fits(monkeypatch):
    import hmac

    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(1) or real(a, b))
    first = new_key()
    ring = KeyRing([entry("first", "read", first), *(entry("x", "read", new_key()) for _ in "ab")])
    assert ring.role_of(first).name == "first"
    assert len(compared) == 3
    ring.role_of("nobody's")
    assert len(compared) == 6


KEY = new_key()
RING = KeyRing([entry("a", "read", KEY)])
