"""Environments of other tools, made on demand, and scripts that run in a process of their own.

Takes ``requirements-NAME.txt``, gives the interpreter of ``.venv-peers-NAME`` in the repository's
root; made anew when the requirements change. What cannot be made or run raises `UnavailableError`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LONGEST_SECONDS = 1800

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "DO_NOT_TRACK": "1",
}


class UnavailableError(Exception):
    """A configuration or a tool cannot be measured here; says why."""


def interpreter_of(tool: str) -> str:
    """Return the interpreter for a tool: this one where it has no requirements of its own."""
    wanted = HERE / f"requirements-{tool}.txt"
    if not wanted.exists():
        return sys.executable
    home = ROOT / f".venv-peers-{tool}"
    stamp, python = home / "made-from.txt", home / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        _answer([sys.executable, "-m", "venv", "--clear", str(home)], {})
        (home / ".gitignore").write_text("*\n")
        _answer([str(python), "-m", "pip", "install", "--quiet", "-r", str(wanted)], {})
        stamp.write_text(wanted.read_text())
    return str(python)


def told_by(python: str, script: str, *given: str, env: Mapping[str, str]) -> Any:
    """Return the JSON that a script beside this one prints in its last line."""
    printed = _answer([python, str(HERE / script), *given], env)
    return json.loads(printed.strip().splitlines()[-1])


def has_numba() -> bool:
    """Return whether the interpreter at hand can import numba."""
    try:
        _answer([sys.executable, "-c", "import numba"], {})
    except UnavailableError:
        return False
    return True


def _answer(command: list[str], env: Mapping[str, str]) -> str:
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            env={**os.environ, **env},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise UnavailableError(type(fault).__name__) from fault
    if ended.returncode:
        raise UnavailableError(_last_line(ended.stderr) or f"exit code {ended.returncode}")
    return ended.stdout


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    faults = [line for line in lines if "Error" in line or "ERROR" in line]
    return (faults or lines or [""])[-1][:200].replace(str(ROOT), "")
