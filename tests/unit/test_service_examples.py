"""The examples of running the service: their files parse, and what they name is there."""

import ast
import configparser
import json
import re
from pathlib import Path

import pytest
import typer

from live_server import serving
from mlma.cli.app import app
from mlma.service.settings import Settings, read_settings

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "service"
FILES = sorted(path for path in FOLDER.iterdir() if path.is_file())
PAGES = [
    *FILES,
    *(FOLDER.parents[1] / "docs" / name for name in ("service.md", "configuration.md")),
]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OF_SERVICE = ("init", "serve", "cycle", "status", "doctor", "key", "db")
ITS_OWN = {"MLMA_CONFIG", "MLMA_KEYS_FILE", "MLMA_KEY", "MLMA_DB_PASSWORD"}


def unit():
    parsed = configparser.RawConfigParser(strict=True)
    parsed.optionxform = str
    parsed.read(FOLDER / "mlma.service")
    return parsed


def instructions():
    """The instructions of the Containerfile, continued lines joined."""
    text = (FOLDER / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [line.partition(" ")[::2] for line in lines]


def test_the_settings_are_right_and_enough_for_a_live_agent():
    settings = read_settings(FOLDER / "mlma.toml", {})
    assert settings.live().periods.slots == 96
    settings.check_exposed()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_and_option_exists(path):
    text = path.read_text().replace("\\\n", " ")
    for command, rest in re.findall(rf"\bmlma ({'|'.join(OF_SERVICE)})\b([^`\n#]*)", text):
        known = {option for param in COMMANDS[command].params for option in param.opts}
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest)) <= known


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_variable_of_the_environment_sets_something(path):
    for name in re.findall(r"\bMLMA_\w*[A-Z]\b", path.read_text()):
        table, between, key = name.removeprefix("MLMA_").lower().partition("__")
        if not between:
            assert name in ITS_OWN or table in Settings.model_fields, name
        else:
            assert key in Settings.model_fields[table].annotation.model_fields, name


def test_the_unit_starts_the_server_as_nobody_and_gives_it_time_to_end():
    service = unit()["Service"]
    assert service["ExecStart"] == "/opt/mlma/bin/mlma serve"
    assert service["Restart"] == "on-failure"
    assert (service["DynamicUser"], service["ProtectSystem"]) == ("yes", "strict")
    store = read_settings(FOLDER / "mlma.toml", {}).store.url.get_secret_value()
    assert store.startswith(f"sqlite:////var/lib/{service['StateDirectory']}/")
    assert int(service["TimeoutStopSec"]) > seconds_to_end()


def test_the_container_runs_as_a_user_of_its_own_with_images_of_no_fixed_registry():
    made = instructions()
    for base in (rest for name, rest in made if name == "FROM"):
        assert "/" not in base
    users = [rest for name, rest in made if name == "USER"]
    assert users == ["mlma"]
    ports = {rest for name, rest in made if name == "EXPOSE"}
    assert ports == {str(Settings().server.port)}
    entry = [json.loads(rest) for name, rest in made if name in {"ENTRYPOINT", "CMD"}]
    assert entry == [["mlma"], ["serve"]]


def test_the_health_check_of_the_container_tells_a_server_that_is_ready_from_one_that_is_not():
    (check,) = (rest for name, rest in instructions() if name == "HEALTHCHECK")
    code = json.loads(check[check.index("[") :])[-1]
    with serving(Settings(agent={"slot": "1h"}, store={"url": "memory://"})) as (service, client):
        service.scheduler.tick()
        here = code.replace("8321", str(client.base_url.port))
        exec(here, {})
    with pytest.raises(OSError):  # noqa: PT011
        exec(here, {})


def test_the_services_of_the_composition_fit_together():
    yaml = pytest.importorskip("yaml")
    made = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    agent, database = made["services"]["agent"], made["services"]["database"]
    assert agent["build"]["dockerfile"] == "examples/service/Containerfile"
    assert (FOLDER / agent["build"]["context"] / agent["build"]["dockerfile"]).exists()
    assert agent["command"][0] in COMMANDS
    assert "/" not in database["image"]
    url = agent["environment"]["MLMA_STORE__URL"]
    user, name = database["environment"]["POSTGRES_USER"], database["environment"]["POSTGRES_DB"]
    assert url.startswith(f"postgresql://{user}:")
    assert url.endswith(f"@database/{name}")
    keys = dict(rest.split("=", 1) for rest in dict(instructions())["ENV"].split())
    assert keys["MLMA_KEYS_FILE"] == f"/run/secrets/{agent['secrets'][0]['target']}"
    assert int(agent["stop_grace_period"].removesuffix("s")) > seconds_to_end()


def test_the_task_of_airflow_is_python():
    tree = ast.parse((FOLDER / "airflow_dag.py").read_text())
    assert "mlma cycle --json" in ast.unparse(tree)


def test_each_line_of_the_crontab_has_five_times_a_user_and_a_command():
    lines = (FOLDER / "crontab").read_text().splitlines()
    (job,) = (line for line in lines if line[0] not in "#M")
    *times, user, command = job.split(" ", 6)
    assert len(times) == 5
    assert (user, command.split()[:2]) == ("mlma", ["/opt/mlma/bin/mlma", "cycle"])


def seconds_to_end():
    """The longest time that an end in order takes."""
    from mlma.cli.listening import ANSWER_SECONDS
    from mlma.service.bootstrap import STOP_SECONDS

    return ANSWER_SECONDS + STOP_SECONDS
