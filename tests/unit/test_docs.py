"""The documentation keeps its word: examples run, links lead somewhere, options exist."""

import doctest
import json
import re
from dataclasses import fields
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from mlma.cli.app import app
from mlma.domain.settings import MLMA, POLICIES, Always, Periodic, Random

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]

FENCE = re.compile(r"^```.*$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def named(path):
    return str(path.relative_to(ROOT))


def page(paths):
    return pytest.mark.parametrize("path", paths, ids=named)


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", BLOCK.sub("", text))


def anchors(path):
    heads = re.findall(r"^#+ (.+)$", BLOCK.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def options(command):
    return {option for param in COMMANDS[command].params for option in param.opts} | {"--help"}


def examples(path):
    # A fence is no part of the output that stands above it; blank lines keep the line numbers.
    text = FENCE.sub("", path.read_text())
    return doctest.DocTestParser().get_doctest(text, {}, named(path), str(path), 0)


@page([path for path in PAGES if examples(path).examples])
def test_the_examples_of_a_page_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = []
    runner = doctest.DocTestRunner(
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, verbose=False
    )
    runner.run(examples(path), out=told.append)
    assert runner.tries > 0
    assert not runner.failures, "".join(told)


@page(DOCS)
def test_every_python_block_of_the_documentation_is_an_example_that_runs(path):
    for language, code in BLOCK.findall(path.read_text()):
        assert language != "python" or code.startswith(">>>")


@page(PAGES)
def test_every_relative_link_leads_to_a_file_and_a_heading(path):
    for target in LINK.findall(without_code(path.read_text())):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@page(PAGES)
def test_every_option_of_mlma_that_is_named_exists(path):
    text = path.read_text().replace("\\\n", " ")
    for command, rest in re.findall(r"\bmlma (replay|demo)\b([^`\n]*)", text):
        assert set(OPTION.findall(rest)) <= options(command)


def test_every_page_is_reached_from_the_index():
    reached, waiting = set(), [ROOT / "docs" / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md" or not path.exists():
            continue
        reached.add(path)
        links = LINK.findall(without_code(path.read_text()))
        targets = (link.partition("#")[0] for link in links if ":" not in link)
        waiting += [(path.parent / target).resolve() for target in targets if target]
    assert set(DOCS) <= reached


def test_the_guide_names_the_options_and_variables_that_exist():
    text = (ROOT / "docs" / "guide.md").read_text()
    known = options("replay") | options("demo")
    assert set(re.findall(r"`(--[a-z-]+)`", text)) <= known
    variables = {str(param.envvar) for param in COMMANDS["replay"].params if param.envvar}
    assert set(re.findall(r"`(MLMA_\w+)`", text)) == variables


def test_the_configuration_in_the_guide_is_played(tmp_path, monkeypatch):
    blocks = BLOCK.findall((ROOT / "docs" / "guide.md").read_text())
    (text,) = (code for language, code in blocks if language == "toml")
    days = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 5, 9), "1d", eager=True)
    sold = [day.day % 7 + day.month + 1.0 for day in days]
    history = pl.DataFrame({"shop": "a", "hour": days, "sold": sold})
    monkeypatch.chdir(tmp_path)
    history.write_parquet("history.parquet")
    Path("mlma.toml").write_text(text)
    asked = ["replay", "history.parquet", "--config", "mlma.toml", "--jobs", "1", "--json"]
    answer = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert answer.exit_code == 0
    played = [row["policy"] for row in json.loads(answer.stdout)["policies"]]
    assert {"mlma(level=0.001)", "periodic(every=28)"} <= set(played)
    assert Path("report.html").stat().st_size > 0


@pytest.mark.parametrize("policy", [MLMA, Always, Periodic, Random], ids=lambda kind: kind.name)
def test_the_page_of_policies_names_every_setting_with_its_default(policy):
    text = (ROOT / "docs" / "policies.md").read_text()
    schedules, _, of_mlma = text.partition("\n## MLMA\n")
    rows = defaults(text) | defaults(of_mlma if policy is MLMA else schedules)
    written = {spec.name: rows[spec.name].replace('"', "'") for spec in fields(policy)}
    assert written == {spec.name: repr(spec.default) for spec in fields(policy)}


def test_the_page_of_policies_names_no_setting_that_is_not_there():
    text = (ROOT / "docs" / "policies.md").read_text()
    kinds = (MLMA, Always, Periodic, Random)
    named = set(defaults(text)) - set(POLICIES)
    assert named == {spec.name for kind in kinds for spec in fields(kind)}


def defaults(text):
    """Settings and defaults in the tables of a page."""
    return dict(re.findall(r"\| `(\w+)` (?=\| `([^`]+)` \|)", text))
