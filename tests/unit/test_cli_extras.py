"""Without the extra `serve` the command line works, and the service says what to install."""

import subprocess
import sys

import pytest

BLOCKED = (
    "import sys\n"
    "from importlib.machinery import PathFinder\n"
    "absent = {'pydantic_settings', 'structlog', 'sqlalchemy', 'alembic',"
    " 'fastapi', 'uvicorn', 'httpx'}\n"
    "found = PathFinder.find_spec\n"
    "PathFinder.find_spec = lambda name, *where: ("
    "None if name.partition('.')[0] in absent else found(name, *where))\n"
    "from mlma.cli import main\n"
    "for words in WORDS:\n"
    "    sys.argv = ['mlma', *words]\n"
    "    try:\n"
    "        main()\n"
    "    except SystemExit as leaving:\n"
    "        print('left with', leaving.code)\n"
)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a process without the extra says to some commands, one after the other."""
    words = [
        ["--version"],
        ["serve"],
        ["cycle"],
        ["status"],
        ["doctor"],
        ["init"],
    ]
    folder = tmp_path_factory.mktemp("without")
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.replace("WORDS", repr(words))],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not list(folder.iterdir())
    return done.stdout, done.stderr


def test_what_needs_no_extra_works(told):
    assert told[0].startswith("mlma ")


def test_every_command_of_the_service_names_the_extra_and_leaves_with_2(told):
    out, err = told
    assert out.count("left with 2") == 5
    assert err.count('Hint: pip install "mlma[serve]".') == 5
    assert "Traceback" not in err
    for command in ("serve", "cycle", "status", "doctor", "init"):
        assert f"`mlma {command}` needs the extra `serve`" in err
