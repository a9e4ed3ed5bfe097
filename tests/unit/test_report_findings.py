"""Findings on the page: one row from the batch in which each opened to the last one."""

from dataclasses import replace

from report_fixtures import MLMA_LABEL, lifelike

from mlma.domain.fleet import Finding
from mlma.report.findings import MOST, finding_rows
from mlma.report.page import render_page


def found(scope, state, effect=0.2, *, alarm=False):
    return Finding(
        scope=scope,
        state=state,
        since=0,
        streams=9,
        alarmed=0,
        score=3.0,
        p_value=1e-4,
        evidence=5.0,
        effect=effect,
        alarm=alarm,
    )


def with_findings(*findings):
    record = lifelike(4, 200)
    runs = [
        replace(run, findings=findings) if run.label == MLMA_LABEL else run for run in record.runs
    ]
    record = replace(record, runs=tuple(runs))
    return record, record.run(MLMA_LABEL)


def test_a_finding_is_one_row_from_its_first_to_its_last_open_batch():
    city = "city=<Ghent>"
    record, run = with_findings(
        (100, found("fleet", "opened")),
        (101, found("fleet", "open", 0.5, alarm=True)),
        (101, found(city, "opened", 0.1)),
        (102, found("fleet", "closed", 0.9)),
        (103, found("fleet", "opened", float("nan"))),
    )
    rows = finding_rows(record, run)
    days = record.grid.batch_starts().astype("datetime64[D]").astype(str)
    told = [(row.scope, row.first, row.last, row.effect, row.alarm) for row in rows]
    assert told == [
        ("fleet", days[100], days[101], 0.5, True),
        (city, days[101], days[101], 0.1, False),
        ("fleet", days[103], days[103], 0.0, False),
    ]
    page = render_page(record)
    assert "3 findings" in page
    assert "city=&lt;Ghent&gt;" in page
    assert city not in page


def test_of_many_findings_the_largest_are_listed_by_time():
    many = [(100 + at, found(f"city=c{at}", "opened", at / 100)) for at in range(MOST + 5)]
    record, run = with_findings(*many)
    rows = finding_rows(record, run)
    assert [row.scope for row in rows] == [f"city=c{at}" for at in range(5, MOST + 5)]
    assert f"the {MOST} largest of them" in render_page(record)


def test_without_a_finding_the_page_says_so():
    assert "No losses rose together." in render_page(with_findings()[0])
