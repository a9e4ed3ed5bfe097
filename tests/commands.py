"""The command line as a person uses it: words in, exit code and texts out."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlma.cli import main


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


class CommandLine:
    """Runs ``mlma`` within this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._caught = monkeypatch, capsys

    def __call__(self, *words: object) -> Answer:
        self._patch.setattr(sys, "argv", ["mlma", *map(str, words)])
        self._caught.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code or 0
        told = self._caught.readouterr()
        assert "Traceback" not in told.err
        return Answer(int(str(code)), told.out, told.err)


def started(*words: object, cwd: Path, **environ: str) -> "subprocess.Popen[str]":
    """Start ``mlma`` as a process of its own; its lines can be read from stdout and stderr."""
    return subprocess.Popen(
        [sys.executable, "-m", "mlma", *map(str, words)],
        cwd=cwd,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
