import csv
import io

import pytest

from desk_pages import (
    DAYS,
    DEAD,
    EVIL,
    NAMES,
    NOW,
    OVER,
    SHOCK,
    STUCK,
    day,
    desk,
    judged_store,
    words,
)
from http_client import lived
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.ledger import Action
from mlma.domain.orders import (
    Acknowledge,
    Declare,
    Freeze,
    LabelBatches,
    Plan,
    Resolve,
    RollBack,
    SetBudget,
    Undo,
)
from mlma.domain.selectors import Selector

GHENT = Selector(tags=("city=Ghent",))
TRACE = f'Traceback (most recent call last):\n  File "fit.py", line 7\nValueError: {EVIL}'


@pytest.fixture(scope="session")
def judged(tmp_path_factory):
    return judged_store(tmp_path_factory)


@pytest.fixture
def at(tmp_path, judged):
    with desk(tmp_path, judged) as lent:
        yield lent


@pytest.fixture(scope="module")
def busy(tmp_path_factory, judged):
    """A desk at which a lot was done; nobody changes it."""
    with desk(tmp_path_factory.mktemp("busy"), judged) as (browser, service):
        give = service.engineering.carry_out
        give(Freeze(selector=GHENT), "user:ann", f"works {EVIL}")
        event = CalendarEvent("easter", f"Easter {EVIL}", "holiday", day(11), day(13), GHENT)
        give(Declare(event=event), "user:bob", "=cmd()")
        give(Plan(selector=Selector(search="scooter"), at=day(12, 6)), "user:ann")
        budget = give(SetBudget(per_cycle=5), "key:ops", "save")
        give(Undo(action=budget), "user:ann", "too few")
        broken = {"begins": day(3), "ends": day(4), "label": "broken"}
        give(LabelBatches(selector=Selector(unique_ids=("bike 2",)), **broken), "user:bob")
        _trained(service)
        yield browser, service


def _trained(service):
    """A re-training that failed, one that went live, and one that runs."""
    from mlma.domain.requests import RetrainingRequest

    asked = [
        RetrainingRequest(f"r{at}", name, "loss above the reference", 1, 8, day(8), {"cycle": 4})
        for at, name in enumerate(NAMES[:4])
    ]
    store, told = service.store, Action("tags", {"tags": {}}, NOW)
    store.act([told], requested=asked)
    store.claim(1)
    service.live.failed([NAMES[1]], TRACE, requests=["r1"], by="trainer")
    service.live.deployed([NAMES[2]], requests=["r2"], by="trainer")


def rows(browser, path):
    return list(csv.DictReader(io.StringIO(browser.csv(path))))


def order_of(page, *texts):
    """The places of texts on a page, which must be ascending."""
    places = [words(page).find(text) for text in texts]
    assert -1 not in places, (texts, words(page)[:3000])
    return places


# Incidents.


def test_a_quiet_desk_says_that_nothing_needs_anybody_and_when_it_looked_last(at):
    browser, service = at
    for one in (SHOCK, STUCK):
        service.engineering.carry_out(Resolve(incident=one), "user:ann")
    told = words(browser.text("/incidents"))
    assert "Nothing needs you. Cycle 9 was judged" in told
    assert "(2024-01-10 01:00 UTC): 6 streams, no open incident" in told


def test_the_desk_shows_what_has_most_at_stake_first_and_not_what_is_put_aside(busy):
    browser, _ = busy
    page = browser.text("/incidents")
    places = order_of(page, "rose together", "did not help")
    assert places == sorted(places)
    assert "No actuals came" not in page
    assert "All losses rose" not in page
    assert "On the desk (2)" in words(page)
    assert "Snoozed (1)" in words(page)
    assert "No actuals came" in browser.text("/incidents?view=snoozed")
    assert "by itself" in browser.text("/incidents?view=resolved")


def test_what_somebody_has_taken_on_comes_after_what_nobody_has(at):
    browser, service = at
    service.engineering.carry_out(Acknowledge(incident=SHOCK), "user:ann")
    places = order_of(browser.text("/incidents"), "did not help", "rose together")
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", {SHOCK, STUCK}),
        ("kind=group", {SHOCK}),
        ("scope=GHENT", {SHOCK}),
        ("kind=fleet", set()),
        ("view=all", {SHOCK, STUCK, DEAD, OVER}),
        ("view=resolved&kind=fleet", {OVER}),
        ("scope=%3Cscript", set()),
    ],
)
def test_incidents_are_filtered_and_the_csv_holds_what_the_page_does(busy, asked, found):
    browser, _ = busy
    assert {row["id"] for row in rows(browser, f"/incidents?{asked}&format=csv")} == found
    page = browser.text(f"/incidents?{asked}")
    assert {one for one in (SHOCK, STUCK, DEAD, OVER) if f'id="i-{one}"' in page} == found


def test_each_incident_has_its_picture_and_buttons_that_tell_what_was_seen(busy):
    browser, service = busy
    page = browser.text("/incidents")
    assert page.count('<svg class="spark"') == 2
    for kind in ("acknowledge", "snooze", "resolve", "confirm", "deny"):
        assert f'formaction="/orders/{kind}"' in page
    (seen,) = {one.changed for one in service.store.incidents(ids=[SHOCK, STUCK])}
    assert page.count(f'name="seen" value="{seen}"') == 2


def test_an_incident_shows_evidence_members_and_its_story(at):
    browser, service = at
    service.engineering.carry_out(Acknowledge(incident=SHOCK), "user:ann", "on it")
    service.engineering.carry_out(Freeze(selector=GHENT), "user:bob", "wait")
    service.engineering.carry_out(Freeze(selector=Selector(search="car")), "user:bob", "elsewhere")
    service.live.deployed([NAMES[0]], by="trainer")
    page = browser.text(f"/incidents/{SHOCK}")
    told = words(page)
    story = order_of(page, "Opened", "Acknowledged", "Frozen: city=Ghent", "as of the newest")
    assert story == sorted(story)
    assert "New versions of 1 stream went live" in told
    assert "elsewhere" not in told
    assert page.count('<svg class="plot') == 2
    assert f'href="/orders/event?incident={SHOCK}' in page
    assert [row["unique_id"] for row in rows(browser, f"/incidents/{SHOCK}?format=csv")]
    assert browser.get("/incidents/none").status_code == 404


def test_members_are_those_of_the_newest_batch_with_the_largest_rise_first(busy):
    browser, _ = busy
    found = rows(browser, f"/incidents/{OVER}?format=csv")
    assert {row["unique_id"] for row in found} == {"'=car 2" if n[0] == "=" else n for n in NAMES}
    above = [
        float(row["loss"]) - float(row["reference_loss"]) for row in found if row["reference_loss"]
    ]
    assert above == sorted(above, reverse=True)


# Audit.


def test_the_audit_lists_who_did_what_when_to_whom_and_why_the_newest_first(busy):
    browser, _ = busy
    found = rows(browser, "/audit?format=csv")
    numbers = [int(row["number"]) for row in found]
    assert numbers == sorted(numbers, reverse=True)
    assert [row["kind"] for row in found] == ["label", "undo", "budget", "plan", "event", "freeze"]
    freeze, budget = found[-1], found[2]
    assert (freeze["by"], freeze["whom"], freeze["streams"]) == ("user:ann", "city=Ghent", "2")
    assert freeze["why"] == f"works {EVIL}"
    assert budget["undone_by"] == found[1]["number"]
    assert found[4]["why"] == "'=cmd()"  # a spreadsheet does not run it


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ("by=bob", {"label", "event"}),
        ("by=ops", {"budget"}),
        ("kind=plan", {"plan"}),
        ("stream=scooter+1", {"plan"}),
        ("stream=bike+2", {"label"}),
        ("by=nobody", set()),
        ("of=all&kind=deployed", {"deployed"}),
    ],
)
def test_the_audit_is_filtered(busy, asked, kinds):
    browser, _ = busy
    assert {row["kind"] for row in rows(browser, f"/audit?{asked}&format=csv")} == kinds
    page = words(browser.text(f"/audit?{asked}"))
    assert ("No action" in page) == (not kinds)


def test_the_audit_is_paged_and_each_page_goes_on_where_the_last_one_ended(at):
    browser, service = at
    for number in range(52):
        service.engineering.carry_out(SetBudget(per_cycle=number), "user:ann")
    first = browser.text("/audit")
    last = browser.text(_href(first, "Older"))
    assert "At most 51 " in words(first)
    assert "At most 1 " not in words(first)
    assert ("At most 1 " in words(last), "At most 0 " in words(last)) == (True, True)
    assert "Older" not in last


def _href(page, text):
    from html import unescape

    before = page[: page.index(f">{text}</a>")]
    return unescape(before.rpartition('href="')[2].partition('"')[0])


def test_an_action_that_was_undone_says_by_which_and_has_no_button(busy):
    browser, _ = busy
    page = browser.text("/audit?kind=budget")
    assert "undone by" in words(page)
    assert "/orders/undo" not in page


def test_one_action_is_shown_with_its_streams(busy):
    browser, service = busy
    number = service.engineering.actions()[0].number
    told = words(browser.text(f"/audit?action={number}"))
    assert "bike 1 , scooter 2" in told


# Models.


def test_models_show_what_waits_runs_ended_and_why_it_failed(busy):
    browser, _ = busy
    asked = {view: rows(browser, f"/models?view={view}&format=csv") for view in
             ("queue", "running", "history", "failures")}  # fmt: skip
    mine = {
        view: {row["unique_id"] for row in found if row["reason"] == "loss above the reference"}
        for view, found in asked.items()
    }
    assert NAMES[3] in mine["queue"]
    assert len(mine["running"]) == 1
    assert {NAMES[1], NAMES[2]} <= mine["history"]
    assert mine["failures"] == {NAMES[1]}
    page = browser.text("/models?view=failures")
    assert f"ValueError: {EVIL}" in words(page)
    assert "Traceback (most recent call last)" in words(page)
    assert EVIL not in page


def test_roll_backs_of_people_are_listed(at):
    browser, service = at
    for one in service.store.incidents(states=("open", "snoozed")):
        service.engineering.carry_out(Resolve(incident=one.id), "user:ann")
    service.live.deployed([NAMES[0]], by="trainer")
    lived(browser.client, 2, NAMES, first=DAYS)
    back = RollBack(selector=Selector(unique_ids=(NAMES[0],)))
    service.engineering.carry_out(back, "user:ann", "worse")
    told = words(browser.text("/models?view=rollbacks"))
    assert "Rolled back to the version before" in told
    assert "worse" in told


# Calendar.


def test_the_calendar_shows_events_plans_and_labels_on_their_days(busy):
    browser, _ = busy
    page = browser.text("/calendar?month=2024-01")
    cells = page.partition("<tbody>")[2].partition("</tbody>")[0].split("<td")
    on = {name: [at for at, cell in enumerate(cells) if name in cell] for name in
          ("is-event", "is-plan", "is-label")}  # fmt: skip
    assert on == {"is-event": [12, 13], "is-plan": [13], "is-label": [4]}  # 1 January is a Monday
    found = rows(browser, "/calendar?month=2024-01&format=csv")
    assert [row["kind"] for row in found] == ["label", "event", "plan"]
    assert rows(browser, "/calendar?month=2024-05&format=csv") == []


@pytest.mark.parametrize("month", ["soon", "2024-13", "0001-01", "99999-1"])
def test_a_month_that_is_none_is_this_month(busy, month):
    browser, _ = busy
    assert "January 2024" in words(browser.text(f"/calendar?month={month}"))


# All of them.

PATHS = (
    *("/incidents", "/incidents?view=all", f"/incidents/{SHOCK}", f"/incidents/{OVER}", "/models"),
    *("/models?view=history", "/models?view=failures", "/models?view=rollbacks", "/audit"),
    *(
        "/audit?of=all",
        "/calendar?month=2024-01",
        "/orders/event?id=easter",
        "/orders/cancel_event",
    ),
    *("/orders/retrain?search=car", f"/orders/label?incident={SHOCK}"),
)


@pytest.mark.parametrize("path", PATHS)
def test_text_of_people_is_never_taken_for_html_and_pages_hold_no_script_or_style(busy, path):
    browser, _ = busy
    page = browser.text(path)
    assert "<script" not in page
    assert "<b>car" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert page.count("<h1") == 1


@pytest.mark.parametrize("path", PATHS)
def test_each_field_has_a_label_and_each_id_comes_once(busy, path):
    import re

    browser, _ = busy
    page = browser.text(path)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    labels = set(re.findall(r'for="([^"]+)"', page))
    for tag in re.findall(r"<(?:input|select|textarea) [^>]*>", page):
        if 'type="hidden"' in tag or 'type="checkbox"' in tag:
            continue
        assert re.search(r' id="([^"]+)"', tag)[1] in labels, tag


@pytest.mark.parametrize(
    "path",
    [
        *("/incidents?page=0", "/incidents?kind=x", "/audit?before=x", "/audit?action=0"),
        *("/models?view=x", "/models?before=-1", "/calendar?format=pdf"),
    ],
)
def test_an_address_that_cannot_be_is_refused_in_a_page(busy, path):
    browser, _ = busy
    assert browser.get(path).status_code == 422
