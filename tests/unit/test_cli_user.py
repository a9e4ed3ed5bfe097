"""``mlma user``: a password is asked for, and what recognises it is printed; it is kept nowhere."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from commands import CommandLine
from mlma.service.settings import read_settings
from mlma.service.users import UserBook

PASSWORD = "vier Wörter, die nichts"


@pytest.fixture
def mlma(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def typed(monkeypatch):
    def types(data):
        kept = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", kept)

    return types


@pytest.mark.parametrize("role", ["read", "engineer", "admin"])
def test_the_printed_entry_recognises_the_password_of_standard_input(mlma, typed, role):
    typed(f"{PASSWORD}\r\n".encode())
    answer = mlma("user", "ann", "--role", role, "--stdin")
    assert answer.code == 0
    assert PASSWORD not in answer.out + answer.err
    Path("mlma.toml").write_text(answer.out)
    info = UserBook(read_settings(None, {}).users).signed_in("ann", PASSWORD)
    assert (info.name, info.role) == ("ann", role)


def test_as_json_there_is_one_document_and_nothing_else(mlma, typed):
    typed(PASSWORD.encode())
    answer = mlma("user", "ann", "--role", "read", "--stdin", "--json")
    assert set(json.loads(answer.out)) == {"name", "password_hash", "role"}
    assert answer.err == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ann", "--role", "enginer"], "did you mean `engineer`?"),
        (["ann", "--role", "ingest"], "ingest"),
        (['a"b', "--role", "read"], "must be 1 to 80 letters"),
        (["a\nb", "--role", "read"], "must be 1 to 80 letters"),
        (["", "--role", "read"], "must be 1 to 80 letters"),
        (["ann"], "Missing option"),
        (["--role", "read"], "Missing argument"),
    ],
)
def test_a_wrong_name_or_role_makes_no_entry_and_asks_for_no_password(mlma, words, told):
    answer = mlma("user", *words)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "12 to 256 letters"),
        (b"\n", "12 to 256 letters"),
        (b"eleven lett\n", "12 to 256 letters"),
        (b"x" * 300, "12 to 256 letters"),
        (b"\xff\xfe password of bytes", "UTF-8"),
    ],
)
def test_a_bad_password_makes_no_entry_and_is_not_shown(mlma, typed, data, told):
    typed(data)
    answer = mlma("user", "ann", "--role", "read", "--stdin")
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert "eleven" not in answer.err


def test_without_a_terminal_it_says_how_a_password_is_given(mlma, typed):
    typed(b"")
    answer = mlma("user", "ann", "--role", "read")
    assert (answer.code, answer.out) == (2, "")
    assert "--stdin" in answer.err


@pytest.mark.parametrize("second", [PASSWORD, "another long password"])
def test_at_a_terminal_it_asks_twice_and_shows_nothing_of_what_is_typed(tmp_path, second):
    told, code = at_a_terminal(tmp_path, [PASSWORD, second])
    assert PASSWORD not in told
    if second == PASSWORD:
        assert code == 0
        entry = told[told.index("[[users]]") :].replace("\r\n", "\n")
        (tmp_path / "mlma.toml").write_text(entry)
        read = read_settings(tmp_path / "mlma.toml", {})
        assert UserBook(read.users).signed_in("ann", PASSWORD).role == "admin"
    else:
        assert code != 0
        assert "[[users]]" not in told


def at_a_terminal(folder, lines):
    """What a terminal shows while somebody answers, and the exit code."""
    terminal, end = pty.openpty()
    words = [sys.executable, "-m", "mlma", "user", "ann", "--role", "admin"]
    with subprocess.Popen(
        words, cwd=folder, stdin=end, stdout=end, stderr=end, start_new_session=True
    ) as process:
        os.close(end)
        told = b""
        for line in lines:
            asked = told.count(b": ")
            while told.count(b": ") == asked:
                told += os.read(terminal, 4096)
            os.write(terminal, f"{line}\n".encode())
        while b"do not match" not in told:
            try:
                told += os.read(terminal, 4096)
            except OSError:  # it ended
                break
        else:
            process.terminate()
    os.close(terminal)
    return told.decode(), process.returncode
