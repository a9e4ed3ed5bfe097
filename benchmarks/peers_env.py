"""The environment in which peers are measured: a folder ``.venv-peers`` beside ``.venv``.

It is made at the first call, from ``peers-requirements.txt``. Peers have pins of their own, so they
do not live with us. Run: ``python benchmarks/peers_env.py``.
"""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_FOLDER = _ROOT / ".venv-peers"
_WANTED = Path(__file__).with_name("peers-requirements.txt")
_DONE = _FOLDER / "installed.txt"


def peers_python() -> Path | None:
    """Return the interpreter of the peers; None = the environment cannot be made."""
    python = _FOLDER / "bin" / "python"
    if _DONE.exists() and _DONE.read_text() == _WANTED.read_text():
        return python
    print(f"Making {_FOLDER.name} for the peers; about a minute.", file=sys.stderr)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", str(_FOLDER)], [*pip, "-r", str(_WANTED)]):
        if subprocess.run(command, check=False).returncode:
            print("The environment of the peers cannot be made.", file=sys.stderr)
            return None
    _DONE.write_text(_WANTED.read_text())
    return python


if __name__ == "__main__":
    sys.exit(0 if peers_python() else 1)
