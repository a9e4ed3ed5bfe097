import io
from dataclasses import replace

import numpy as np
import pytest
from report_fixtures import MLMA_LABEL, lifelike, make_replayed, make_run, small
from rich.console import Console

from mlma.domain.streams import Grid
from mlma.report.notebook import notebook_html
from mlma.report.page import render_page
from mlma.report.terminal import print_summary
from mlma.report.words import batch_span, batches_in_words, every_batch, verdict_sentence


def printed(record, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_summary(record, console)
    return console.file.getvalue()


def replay_with_loss(mine, never, matched=None):
    ones = np.ones((2, 10))
    runs = [
        make_run("never", never * ones, role="baseline"),
        make_run("always", ones, role="baseline", fits=[10, 10]),
        make_run("mine", mine * ones),
    ]
    if matched is not None:
        runs.append(make_run("random", matched * ones, role="matched"))
    return make_replayed(runs)


def test_the_verdict_tells_loss_cost_and_what_never_would_have_cost():
    assert verdict_sentence(replay_with_loss(1.014, 1.48)) == (
        "With mine, 2 streams kept within 1.4 % of re-training every day at 10 % of its training "
        "runs; never re-training would have cost 48 % more."
    )


def test_the_verdict_tells_when_never_or_the_matched_policy_was_better():
    text = verdict_sentence(replay_with_loss(1.3, 1.2, matched=1.1))
    assert "lost 30 % more than re-training every day" in text
    assert "never re-training would have cost 20 % more and was the better choice here" in text
    assert text.endswith("the losses, 10 % more and was the better choice here.")


def test_the_verdict_tells_when_the_policy_beats_always():
    assert "2 streams lost 2.0 % less than re-training" in verdict_sentence(
        replay_with_loss(0.98, 1.2)
    )


def test_terminal_page_and_notebook_tell_the_same_verdict():
    record = lifelike()
    sentence = verdict_sentence(record)
    assert sentence in " ".join(printed(record).split())
    assert sentence in notebook_html(record)
    assert sentence in render_page(record).replace("\N{NO-BREAK SPACE}", " ")


def test_the_table_fits_into_eighty_columns_with_its_numbers_whole():
    lines = printed(lifelike()).splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith("always"))
    assert row.split() == ["always", "0.0", "%", "0.0", "%", "372", "100", "%", "-", "74.1"]


def test_a_long_policy_is_folded_and_not_cut():
    label = 'mlma(level=0.01, reference="anchored", follow_ups=(7, 14, 28), max_age=None)'
    record = lifelike()
    runs = tuple(replace(r, label=label) if r.label == MLMA_LABEL else r for r in record.runs)
    text = printed(replace(record, runs=runs))
    for part in ("level=0.01", "anchored", "max_age=None"):
        assert part in text


def test_names_in_brackets_are_printed_as_they_are():
    text = printed(replace(lifelike(3), failures={"[bold]x[/bold]": "[red]failed"}))
    assert "1 failure, the first: [bold]x[/bold]: [red]failed" in text


def test_what_was_left_out_is_printed():
    assert "left out: 2 streams: fewer batches" in printed(lifelike())


def test_the_notebook_fragment_has_no_script_and_escapes_names():
    record = small()
    nasty = replace(record.run("mlma"), label="<script>")
    text = notebook_html(replace(record, runs=(*record.runs[:2], nasty)))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert text.count("<tr") == 4


@pytest.mark.parametrize(
    ("step_minutes", "slots", "span", "every"),
    [
        (15, 96, "1 day", "every day"),
        (60, 168, "1 week", "every week"),
        (60, 12, "12 hours", "every 12 hours"),
        (10, 1, "10 minutes", "every 10 minutes"),
    ],
)
def test_the_length_of_a_batch_is_told_in_its_largest_whole_unit(step_minutes, slots, span, every):
    step = np.timedelta64(step_minutes * 60_000_000, "us")
    grid = Grid(np.datetime64("2024-01-01", "us"), step, slots, 10)
    assert (batch_span(grid), every_batch(grid)) == (span, every)


def test_an_age_is_told_in_days_or_hours():
    hour = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(3_600_000_000, "us"), 1, 10)
    assert batches_in_words(36, hour) == "1.50 days"
    assert batches_in_words(3, hour) == "3 hours"
    assert batches_in_words(np.nan, hour) == "-"
