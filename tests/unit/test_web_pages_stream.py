import io
from datetime import timedelta
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest

from desk_pages import CITY, EVIL, NAMES, NOW, day, desk, words, written
from http_client import serving
from mlma.adapters.store import open_store
from mlma.domain.inbox import Parcel, Rows
from mlma.domain.periods import Periods
from mlma.web.pages.kept_rows import kept_rows
from people_at_desks import Browser

HOUR = np.timedelta64(3_600_000_000, "us")


@pytest.fixture(scope="session")
def judged(tmp_path_factory):
    return written(tmp_path_factory.mktemp("desk") / "judged.db")


@pytest.fixture
def at(tmp_path, judged):
    with desk(tmp_path, judged) as lent:
        yield lent


def path(name, **more):
    beside = "".join(f"&{key}={quote(value)}" for key, value in more.items())
    return f"/stream?unique_id={quote(name)}{beside}"


def test_a_stream_shows_rows_losses_evidence_decisions_and_versions(at):
    browser, _ = at
    page = browser.text(path(NAMES[0]))
    for heading in ("Loss", "Evidence", "Forecasts and actuals"):
        assert f"<h2>{heading}</h2>" in page
    for heading in ("Decisions", "Model versions", "What people said"):
        assert f">{heading}</h2>" in page
    assert "One model is live" in page
    assert page.count('<svg class="plot') == 3


@pytest.mark.parametrize("name", NAMES)
def test_names_and_tags_are_text_whatever_they_hold(at, name):
    browser, _ = at
    page = browser.text(path(name))
    assert "<b>car</b>" not in page
    assert EVIL not in page
    assert "<i>" not in page
    told = words(page)
    assert name in told
    assert CITY[name] in told


def test_an_unknown_stream_is_a_page_that_says_so(at):
    browser, _ = at
    page = browser.text(path(EVIL), 404)
    assert page.startswith("<!doctype html>")
    assert "There is no stream" in page
    assert EVIL not in page
    answer = browser.client.get(path("nobody"))
    assert answer.json()["error"]["message"] == "There is no stream `nobody`."


@pytest.mark.parametrize("address", ["/stream", "/stream?unique_id=", path("bike 1", weeks="0")])
def test_bad_parameters_are_told_in_a_page(at, address):
    browser, _ = at
    assert "Parameter `" in browser.text(address, 422)


def test_the_sheet_has_a_row_for_each_batch(at):
    browser, _ = at
    read = pl.read_csv(io.StringIO(browser.csv(path(NAMES[5], format="csv"))))
    assert read["cycle"].to_list() == list(range(1, 10))
    assert {"verdict", "decision", "reason", "loss", "reference_loss"} <= set(read.columns)


def test_a_stream_without_a_batch_has_a_page():
    with serving() as (client, service):
        service.store.register(["new one"])
        page = Browser(client).get(path("new one")).text
    told = words(page)
    assert "In no batch of this range." in told
    assert "None are kept here." in told


def test_what_people_ordered_and_said_stands_there_with_its_action(at):
    browser, service = at
    browser.order("freeze", "apply", unique_id=NAMES[1], why="road works")
    browser.order(
        "label",
        "apply",
        unique_id=NAMES[1],
        begins=f"{day(4):%Y-%m-%dT%H:%M}",
        ends=f"{day(5):%Y-%m-%dT%H:%M}",
        label="one_off",
    )
    page = browser.text(path(NAMES[1]))
    said = page.partition('id="said"')[2]
    assert "label: one-off" in said
    assert "frozen" in said
    numbers = [one.number for one in service.store.actions() if one.kind in {"freeze", "label"}]
    assert len(numbers) == 2
    for number in numbers:
        assert f"/audit?action={number}" in said
    assert "Unfreeze" in page
    assert 'class="span"' in page
    assert "frozen" not in browser.text(path(NAMES[0])).partition('id="said"')[2]


def test_an_event_of_its_tag_is_drawn_over_the_batches(at):
    browser, _ = at
    browser.order(
        "event",
        "apply",
        name="fair",
        type="promotion",
        tag="city=Ghent",
        begins=f"{NOW - timedelta(days=3):%Y-%m-%dT%H:%M}",
        ends=f"{NOW - timedelta(days=2):%Y-%m-%dT%H:%M}",
    )
    assert "promotion: fair" in browser.text(path(NAMES[0]))
    assert "promotion: fair" not in browser.text(path(NAMES[1]))


def test_its_audit_holds_what_was_ordered_about_it(at):
    browser, _ = at
    browser.order("pin", "apply", unique_id=NAMES[1], why="good as it is")
    page = browser.text(path(NAMES[1]))
    link = page.partition('href="/audit?stream=')[2].partition('"')[0]
    assert "good as it is" in words(browser.text(f"/audit?stream={link}"))


def test_each_action_of_the_page_has_a_form(at):
    browser, _ = at
    page = browser.text(path(NAMES[0]))
    links = [one.partition('"')[0] for one in page.split('href="/orders/')[1:]]
    assert len(links) == 9
    for link in links:
        address = f"/orders/{link}".replace("&amp;", "&")
        assert NAMES[0] in words(browser.text(address)) or "/orders/event" in address


# The rows that are kept.


def grid(zone=None):
    return Periods(24 * HOUR, 6 * HOUR, zone)


def store_of(*parcels):
    store = open_store("memory://")
    store.register(["a", "b"])
    store.accept(parcels)
    return store


def rows(stream, place, value, cutoff=None):
    made = None if cutoff is None else np.array(cutoff, dtype=np.int64)
    return Rows(
        np.array(stream, dtype=np.int32), np.array(place, dtype=np.int32), np.array(value), made
    )


def test_only_the_rows_of_the_stream_are_read_and_the_latest_counts():
    store = store_of(
        Parcel("forecasts", 9, rows([0, 1, 0], [0, 0, 2], [1.0, 7.0, 3.0], [5, 5, 5])),
        Parcel("forecasts", 9, rows([0, 0], [0, 2], [1.5, 9.0], [6, 4])),
        Parcel("actuals", 9, rows([0, 1], [0, 0], [2.0, 8.0])),
    )
    made = kept_rows(store, grid(), 0)
    assert made.y_hat == pytest.approx([1.5, np.nan, 3.0, np.nan], nan_ok=True)
    assert made.y == pytest.approx([2.0, np.nan, np.nan, np.nan], nan_ok=True)
    assert made.times[0] == grid().start(9)


def test_a_stream_without_rows_has_none():
    assert len(kept_rows(store_of(Parcel("actuals", 9, rows([1], [0], [1.0]))), grid(), 0)) == 0
    assert len(kept_rows(store_of(), grid(), 0)) == 0


def test_impatience_shows_the_newest_periods_and_says_that_there_are_more():
    parcels = [Parcel("actuals", at, rows([0], [0], [float(at)])) for at in range(10)]
    made = kept_rows(store_of(*parcels), grid(), 0, patience=0.0)
    assert made.periods == 3
    assert made.more
    assert made.y[::4].tolist() == [7.0, 8.0, 9.0]


def test_the_day_on_which_clocks_change_has_its_own_number_of_slots():
    periods = Periods(24 * HOUR, HOUR, "Europe/Brussels")
    short = periods.at(np.datetime64("2024-03-31T12:00", "us"))
    made = kept_rows(store_of(Parcel("actuals", short, rows([0], [22], [1.0]))), periods, 0)
    assert len(made) == 23
    assert made.times[0] == np.datetime64("2024-03-31T00:00", "us")
