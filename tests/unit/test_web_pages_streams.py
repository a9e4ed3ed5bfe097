import io
import re
from html import unescape
from urllib.parse import quote, urlencode

import numpy as np
import polars as pl
import pytest

from desk_pages import CITY, EVIL, NAMES, desk, words, written
from http_client import serving
from mlma.domain.errors import SettingsError
from mlma.domain.ledger import EVIDENCE
from mlma.domain.selectors import Selector
from mlma.domain.verdicts import Verdict
from mlma.web.stream_sheet import sheet_of
from people_at_desks import Browser


@pytest.fixture(scope="session")
def judged(tmp_path_factory):
    return written(tmp_path_factory.mktemp("desk") / "judged.db")


@pytest.fixture(scope="module")
def at(tmp_path_factory, judged):
    with desk(tmp_path_factory.mktemp("streams"), judged) as lent:
        yield lent


def listed(page):
    """Names of the streams of a page, in their order."""
    return [unescape(one) for one in re.findall(r'<a href="/stream\?[^"]*">([^<]*)</a>', page)]


def asked(**parameters):
    return f"/streams?{urlencode(parameters, doseq=True)}"


class View:
    """A cycle of some streams."""

    def __init__(self, rows, **columns):
        self.rows = np.array(rows, dtype=np.int64)
        self.records = np.zeros(len(rows), dtype=EVIDENCE)
        for name, values in columns.items():
            self.records[name] = values


def sheet(**columns):
    view = View(range(4), **{"n": 10, "forecasts": 10, **columns}) if columns else None
    names = pl.Series("unique_id", [f"Shop {at}" for at in range(4)], dtype=pl.String)
    return sheet_of(1, view, names, {"city": {"Shop 1": "Ghent", "Shop 2": "Ghent", "gone": "x"}})


def test_all_streams_are_listed_with_their_names_escaped(at):
    browser, _ = at
    page = browser.text("/streams")
    assert sorted(listed(page)) == sorted(NAMES)
    assert "<b>car</b>" not in page
    assert EVIL not in page


def test_every_column_sorts_both_ways(at):
    browser, _ = at
    heads = re.findall(r'class="sort" href="([^"]*)"', browser.text("/streams"))
    assert len(heads) == 10
    for head in heads:
        path = unescape(head)
        there, back = listed(browser.text(path)), None
        again = unescape(re.search(r'aria-sort="\w+"><a class="sort" href="([^"]*)"',
                                   browser.text(path))[1])  # fmt: skip
        back = listed(browser.text(again))
        assert sorted(there) == sorted(back) == sorted(NAMES)
        assert again != path


def test_names_are_sorted_up_and_numbers_down_unless_asked_otherwise(at):
    browser, _ = at
    assert listed(browser.text(asked(sort="unique_id"))) == sorted(NAMES)
    assert listed(browser.text(asked(sort="unique_id", order="desc"))) == sorted(NAMES)[::-1]
    read = pl.read_csv(io.StringIO(browser.csv(asked(sort="loss", format="csv"))))
    assert read["loss"].is_sorted(descending=True)


def test_tags_search_and_verdict_narrow_the_list_together(at):
    browser, _ = at
    assert set(listed(browser.text(asked(tag="city=Ghent")))) == {NAMES[0], NAMES[3]}
    assert set(listed(browser.text(asked(search="BIKE")))) == {NAMES[0], NAMES[1]}
    assert listed(browser.text(asked(tag="city=Ghent", search="bike"))) == [NAMES[0]]
    fits = listed(browser.text(asked(verdict="degraded")))
    read = pl.read_csv(io.StringIO(browser.csv("/streams?format=csv")))
    assert len(fits) == read.filter(pl.col("verdict") == "degraded").height


def test_where_nothing_fits_a_way_back_is_shown(at):
    browser, _ = at
    assert "show all 6 streams" in words(browser.text(asked(search="nowhere")))


def test_the_filter_is_what_actions_are_about(at):
    browser, _ = at
    page = browser.text(asked(tag="city=Ghent", search="bike"))
    assert "/orders/freeze?tag=city%3DGhent&amp;search=bike&amp;" in page
    named = browser.text(asked(verdict=_some_verdict(browser)))
    assert re.search(r"/orders/pin\?unique_id=", named)


def _some_verdict(browser):
    return re.search(r'class="badge is-(\w+)"', browser.text("/streams"))[1]


def test_who_only_reads_is_offered_no_action(tmp_path, judged):
    with desk(tmp_path, judged, role="read") as (browser, _):
        page = browser.text("/streams")
        assert "/orders/" not in page
        assert "/orders/" not in browser.text(f"/stream?unique_id={quote(NAMES[0])}")
    assert listed(page)


def test_the_sheet_disarms_formulas_in_names_and_holds_the_tags(at):
    browser, _ = at
    read = pl.read_csv(io.StringIO(browser.csv("/streams?format=csv")))
    assert "'=car 2" in read["unique_id"].to_list()
    assert set(read["tag.city"]) == set(CITY.values())


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"sort": "<b>"}, "There is no column"),
        ({"verdict": "<b>"}, "There is no verdict"),
        ({"tag": "city"}, "must be name=value"),
        ({"tag": "land=Belgium"}, "Known: city"),
        ({"order": "up"}, "Parameter `order`"),
        ({"page": "x"}, "Parameter `page`"),
        ({"page": "0"}, "Parameter `page`"),
        ({"search": "x" * 201}, "Parameter `search`"),
    ],
)
def test_bad_parameters_are_told_in_a_page_to_a_person_and_in_a_document_to_a_program(
    at, parameters, told
):
    browser, _ = at
    page = browser.text(asked(**parameters), 422)
    assert told in words(page)
    assert "<b>" not in page
    answer = browser.client.get(asked(**parameters))
    assert answer.status_code == 422
    assert told in answer.json()["error"]["message"]


def test_a_page_after_the_last_is_the_last(at):
    browser, _ = at
    assert sorted(listed(browser.text(asked(page=10**7)))) == sorted(NAMES)


def test_without_streams_the_page_leads_to_the_fleet():
    with serving() as (client, _):
        told = words(Browser(client).get("/streams").text)
    assert "No stream is known yet" in told


def test_many_streams_come_page_by_page():
    names = [f"s{at:03d}" for at in range(120)]
    with serving() as (client, service):
        service.store.register(names)
        browser = Browser(client)
        pages = [listed(browser.get(asked(sort="unique_id", page=at)).text) for at in (1, 2, 3)]
        assert "Page 3 of 3" in words(browser.get(asked(page=3)).text)
    assert [len(one) for one in pages] == [50, 50, 20]
    assert [one for page in pages for one in page] == names


def test_the_sheet_of_a_cycle_tells_effect_stake_and_what_is_missing():
    made = sheet(
        loss=[2.0, 1.0, np.nan, 3.0],
        reference_log=[0.0, 0.0, 0.0, np.nan],
        n=[10, 5, 0, 4],
        verdict=[Verdict.DEGRADED, Verdict.HEALTHY, Verdict.WAITING, Verdict.UNCLEAR],
    )
    assert made.frame["effect"].to_list() == [1.0, 0.0, None, None]
    assert made.frame["stake"].to_list() == [10.0, 0.0, 0.0, 0.0]
    assert made.frame["complete"].to_list() == [1.0, 0.5, 0.0, 0.4]
    assert made.frame["verdict"].to_list() == ["degraded", "healthy", "waiting", "unclear"]


def test_streams_that_were_not_in_the_cycle_have_nothing_and_stand_last():
    view = View([1, 3], loss=[1.0, 2.0], n=4, forecasts=4)
    names = pl.Series("unique_id", ["a", "b", "c", "d"])
    made = sheet_of(1, view, names, {})
    order = made.ordered(np.ones(4, dtype=bool), "loss", descending=True)
    assert order.tolist()[:2] == [3, 1]
    assert made.frame["verdict"].to_list()[0] is None
    up = made.ordered(np.ones(4, dtype=bool), "loss", descending=False)
    assert up.tolist()[:2] == [1, 3]


def test_a_sheet_fits_what_a_selector_fits():
    made = sheet()
    tags = {"city": {"Shop 1": "Ghent", "Shop 2": "Ghent"}}
    names = made.frame["unique_id"].to_list()
    for selector in (
        Selector(),
        Selector(tags=("city=Ghent",)),
        Selector(search="sHOP 1"),
        Selector(unique_ids=("Shop 0", "nobody")),
        Selector(tags=("city=Ghent",), search="2", unique_ids=("Shop 2",)),
        Selector(tags=("city=",)),
    ):
        assert made.fitting(selector).tolist() == selector.mask(names, tags).tolist()


def test_a_tag_that_nobody_has_is_an_error():
    with pytest.raises(SettingsError, match="land"):
        sheet().fitting(Selector(tags=("land=Belgium",)))
