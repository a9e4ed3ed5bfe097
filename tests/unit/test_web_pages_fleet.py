import io

import numpy as np
import polars as pl
import pytest

from desk_pages import NAMES, SHOCK, desk, words, written
from http_client import lived, serving, settings
from mlma.domain.ledger import CycleInfo
from mlma.domain.periods import Periods
from mlma.web.pages.course import Course, last_known
from people_at_desks import Browser

DAY = np.timedelta64(86_400_000_000, "us")
PERIODS = Periods(DAY, DAY // 24)


@pytest.fixture(scope="session")
def judged(tmp_path_factory):
    return written(tmp_path_factory.mktemp("desk") / "judged.db")


@pytest.fixture(scope="module")
def at(tmp_path_factory, judged):
    with desk(tmp_path_factory.mktemp("fleet"), judged) as lent:
        yield lent


@pytest.fixture(scope="module")
def empty():
    with serving() as (client, service):
        yield Browser(client), service


def head(cycle, period=None, **summary):
    at = period if period is not None else 20_000 + cycle
    return CycleInfo(cycle, 0, at, None, 0, "complete", 1000, summary=summary)


def test_the_address_of_the_server_leads_to_the_fleet(at):
    browser, _ = at
    answer = browser.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/fleet")


def test_a_new_agent_tells_what_to_do_first(empty):
    browser, _ = empty
    told = words(browser.get("/fleet").text)
    assert "No stream is known yet." in told
    assert "Send forecasts." in told


def test_before_the_first_batch_it_is_told_what_that_waits_for():
    with serving() as (client, _):
        body = [{"unique_id": "shop-1", "ds": "2024-01-01T00:00:00Z", "y_hat": 41.5}]
        assert client.post("/api/v1/forecasts", json=body).status_code == 201
        client.post("/api/v1/cycle")
        told = words(Browser(client).get("/fleet").text)
    assert "1 stream, no batch judged yet." in told
    assert "The first batch begins 2024-01-01 00:00 UTC." in told
    assert "its end at 2024-01-02 00:00 UTC" in told


def test_a_fleet_of_one_stream_has_a_page():
    with serving(settings(policy="mlma()")) as (client, _):
        lived(client, 2, ["only one"])
        page = Browser(client).get("/fleet")
    assert page.status_code == 200
    assert "1 stream; last batch of 2 Jan 2024" in words(page.text)


def test_each_key_figure_says_what_it_means(at):
    browser, _ = at
    page = browser.text("/fleet")
    figures = page.partition('<dl class="figures')[2].partition("</dl>")[0]
    assert figures.count("<dt>") == figures.count('class="note"') == 10
    for name in ("Loss against reference", "Degraded", "Open incidents", "Labour", "Completeness"):
        assert f"<dt>{name}</dt>" in figures


def test_what_has_the_most_at_stake_stands_first_on_the_desk(at):
    browser, _ = at
    page = browser.text("/fleet")
    part = page.partition('<ol class="list desk">')[2].partition("</ol>")[0]
    links = [one.partition('"')[0] for one in part.split('href="/incidents/')[1:]]
    assert len(links) == 2
    assert links[0] == SHOCK
    assert "<script>" not in page


def test_each_chart_has_its_numbers_as_a_table(at):
    browser, _ = at
    page = browser.text("/fleet")
    assert page.count('<svg class="plot') == 9
    assert page.count("<summary>Show as a table</summary>") == 9


def test_the_sheet_has_a_row_for_each_batch(at):
    browser, _ = at
    sheet = pl.read_csv(io.StringIO(browser.csv("/fleet?format=csv&weeks=all")))
    assert sheet["cycle"].to_list() == list(range(1, 10))
    assert sheet["streams"].to_list() == [len(NAMES)] * 9
    shares = sheet.select("healthy", "improved", "unclear", "waiting", "degraded")
    assert shares.sum_horizontal().to_list() == pytest.approx([1.0] * 9)


@pytest.mark.parametrize("asked", ["weeks=5", "weeks=", "format=pdf"])
def test_an_unknown_range_is_refused_with_a_page(at, asked):
    browser, _ = at
    page = browser.text(f"/fleet?{asked}", 422)
    assert page.startswith("<!doctype html>")
    assert f"Parameter `{asked.partition('=')[0]}`" in page


def test_no_page_holds_a_script_or_a_style_of_its_own(at):
    browser, _ = at
    for path in ("/fleet", "/streams", "/stream?unique_id=bike+1"):
        page = browser.text(path)
        assert "<script" not in page
        assert "<style" not in page
        assert " style=" not in page
        assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_style_is_kept_by_browsers_until_it_changes(at):
    browser, _ = at
    first = browser.get("/static/mlma.css")
    assert first.headers["content-type"].startswith("text/css")
    again = browser.get("/static/mlma.css", **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.css", "..%2fapp.py", "__init__.py", "mlma.css%00"])
def test_nothing_else_is_handed_out(at, name):
    browser, _ = at
    assert browser.get(f"/static/{name}").status_code == 404


def test_pages_come_compressed_and_answers_to_programs_do_not(at):
    browser, _ = at
    asked = {"Accept-Encoding": "gzip"}
    assert browser.get("/fleet", **asked).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in browser.get("/api/v1/evidence", **asked).headers


def test_loss_above_reference_and_benchmark_are_shares():
    fleet = {"loss": 1.1, "reference_loss": 1.0, "benchmarked_loss": 1.0, "benchmark": 2.0}
    course = Course([head(1), head(2, fleet=fleet), head(3, fleet={"streams": 0})], PERIODS)
    assert course.above_reference == pytest.approx([np.nan, 0.1, np.nan], nan_ok=True)
    assert last_known(course.above_benchmark) == pytest.approx(-0.5)


def test_counts_of_the_audit_are_told_batch_by_batch():
    counts = [{"mirror_alarms": one} for one in (5.0, 5.0, 8.0, 2.0)]
    course = Course([head(at, audit=one) for at, one in enumerate(counts, 1)], PERIODS)
    assert course.audited("mirror_alarms").tolist() == [0, 0, 3, 0]


def test_weeks_without_a_batch_count_as_weeks():
    course = Course([head(1, 20_000), head(2, 20_013)], PERIODS)
    assert course.weeks == pytest.approx(2.0)
    assert course.per_1000_week(4.0) == pytest.approx(2.0)


def test_nothing_is_known_of_no_batch():
    course = Course([], PERIODS)
    assert course.weeks == 0
    assert np.isnan(course.per_1000_week(1.0))
    assert course.frame().height == 0
