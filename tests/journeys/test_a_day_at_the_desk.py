"""A person's days at the desk: a quiet morning, a shock of the fleet, a broken gateway.

In a real browser, with scripts switched off, by keyboard, against a real server and its agent.
"""

import json
import math
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))
from desk_people import Person, barriers, chromium
from desk_worlds import QUIET, ROLES, Trouble, World, at_work
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.orders import Declare
from mlma.domain.selectors import Selector
from mlma.service.entries import AlertTable
from requests_for_retraining import serving as receiving
from threads import until

pytestmark = pytest.mark.browser

FLEET = tuple(range(World().streams))
GHENT = World().rows("Ghent")


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def come_to_work(browser, tmp_path, tmp_path_factory):
    """Let days pass at a desk with some troubles, and people come in; they leave at the end."""
    closing, people = [], []

    def come(*names, troubles=(), **more):
        lent = at_work(tmp_path, tmp_path_factory, troubles, **more)
        desk = lent.__enter__()
        closing.append(lent)
        people.extend(Person(browser, desk.base) for _ in names)
        for person, name in zip(people, names, strict=True):
            person.signs_in(name, ROLES[name])
        return desk, *people

    yield come
    seen = {kind: page for person in people for kind, page in person.seen.items()}
    try:
        for person in people:
            person.leaves()
        assert [said for person in people for said in person.heard] == []
        assert barriers(browser, seen.values()) == []
    finally:
        for lent in closing:
            lent.__exit__(None, None, None)


def test_a_morning_look_at_a_quiet_fleet(come_to_work):
    desk, ann = come_to_work("ann")
    desk.passes(2)
    ann.goes("/fleet")
    assert "Nothing waits for you." in ann.words
    assert "last batch of 7 Feb 2024" in ann.words
    assert "Begins 2024-02-08" in ann.words
    assert ann.figure("Open incidents") == "0"
    assert ann.figure("Degraded") == "0 %"
    assert ann.figure("Completeness") == "100 %"
    ann.follows("Incidents")
    assert "Nothing needs you." in ann.words
    ann.follows("Streams")
    lines = ann.downloads(ann.link("CSV of all that fit"))
    assert len(lines) == 1 + len(FLEET)
    ann.field("Tag").fill("city=Ghent")
    ann.presses(ann.button("Show"))
    assert len(ann.downloads(ann.link("CSV of all that fit"))) == 1 + len(GHENT)
    ann.follows("bakery Ghent 01")
    assert ann.heading == "bakery Ghent 01"
    assert "healthy" in ann.words
    assert "All batches of this range were kept" in ann.words
    ann.presses(ann.button("Sign out"))
    assert "signed out" in ann.words
    assert ann.goes("/fleet").heading == "Sign in"


def test_a_shock_of_the_fleet_is_one_incident_and_one_click(come_to_work):
    shock = Trouble(FLEET, QUIET + 1, factor=2.0)
    with receiving() as phone:
        alert = AlertTable(name="desk", url=f"json://127.0.0.1:{phone.port}/", when="digest")
        desk, ann = come_to_work("ann", troubles=[shock], alerts=(alert,))
        desk.passes(2)
        ann.goes("/fleet")
        assert ann.figure("Open incidents") == "1"
        ann.presses(ann.page.get_by_label("Main").get_by_role("link", name="Incidents"))
        assert ann.page.locator("li.incident").count() == 1
        assert "Losses of 80 streams rose together" in ann.words
        ann.presses(ann.button("Acknowledge"))
        assert "acknowledged" in ann.words
        assert ann.button("Acknowledge").count() == 0
        desk.passes(4)
        ann.follows("Models")
        assert int(ann.figure("Went live")) > len(FLEET) / 2
        desk.passes(14)
        ann.follows("Incidents")
        assert "Nothing needs you." in ann.words
        ann.follows("Resolved")
        assert ann.page.locator("li.incident").count() == 1
        assert "by itself: the cause went away" in ann.words
        ann.follows("fleet", exact=True)
        assert "Acknowledged by ann" in ann.words
        assert "asked for 80 re-trainings; 80 of them have a new version" in ann.words
        until(lambda: not desk.service.store.deliveries(status=("waiting",)), 20.0)
        told = [json.loads(body) for body in phone.bodies]
    assert [re.sub(r"Cycle \d+: ", "", one["title"]) for one in told] == [
        *("1 opened, 1 open", "1 resolved, 0 open")
    ]
    assert "Losses of 80 streams rose together" in told[0]["message"]


def test_a_broken_gateway_is_labelled_judged_anew_and_taken_back(come_to_work):
    """It sends rubbish for three days, and then nothing; nobody may train on that."""
    rubbish = Trouble(GHENT, QUIET + 1, QUIET + 4, factor=4.0, heals=False)
    silence = Trouble(GHENT, QUIET + 4, factor=math.nan)
    desk, ann = come_to_work("ann", troubles=[rubbish, silence])
    stream = "/stream?unique_id=bakery+Ghent+01"
    desk.passes(5, trains=False)
    assert ann.goes("/models").figure("Waiting") == "20"
    (version,) = ann.goes(stream).table("Versions of the model")
    ann.goes("/incidents?kind=data")
    ann.follows("city=Ghent")
    assert "Actuals of 20 of 20 streams of city=Ghent are missing" in ann.words
    assert "still without data 20" in ann.words
    ann.opens("Everything else for its streams")
    ann.follows("Label batches")
    assert ann.field("Tags").input_value() == "city=Ghent"
    ann.field("Begins").fill("2024-02-07T00:00")
    ann.field("They were").select_option("broken data")
    ann.field("Why").fill("The gateway of Ghent is broken since Wednesday.")
    ann.presses(ann.button("See what it would change"))
    assert ann.figure("Re-trainings no longer asked for") == "20"
    row = next(row for row in ann.table("Changes") if row[0] == "bakery Ghent 01")
    assert row[1:3] == ["38", "verdict"]
    assert row[3].startswith("degraded")
    assert row[4].startswith("unclear: batch excluded")
    assert desk.service.store.actions(kind=["label"]) == []
    ann.presses(ann.button("Label (20 streams)"))
    assert "labelled broken data: city=Ghent by ann" in ann.words
    desk.looks()
    ann.goes(stream)
    assert "label: broken data, 2024-02-07" in ann.words
    assert "degraded" not in ann.words
    (relieved,) = ann.table("Versions of the model")
    assert (relieved[:3], relieved[3] != version[3]) == (version[:3], True)
    assert ann.goes("/models").figure("Waiting") == "0"
    ann.follows("Audit")
    ann.follows("Undo action")
    assert ann.figure("Re-trainings asked for") == "20"
    ann.presses(ann.button("Undo (20 streams)"))
    desk.looks()
    ann.goes(stream)
    assert [row[1:3] for row in ann.table("Batches with a decision")] == [
        *(["degraded", "re-train"], ["degraded", "keep"], ["degraded", "keep"])
    ]
    assert ann.goes("/models").figure("Waiting") == "20"


def test_a_model_that_will_not_heal_is_pinned_and_the_better_policy_put_in_force(come_to_work):
    stuck = Trouble((6,), QUIET + 1, factor=2.5, heals=False)
    desk, ann, ada = come_to_work("ann", "ada", troubles=[stuck])
    desk.passes(46)
    ann.follows("Incidents")
    assert "Re-training does not help bookshop Ghent 01" in ann.words
    ann.follows("bookshop Ghent 01")
    ann.follows("Pin the version")
    ann.field("Why").fill("Enough of it: the shop is being rebuilt.")
    ann.presses(ann.button("Pin (1 stream)"))
    assert "Version pinned: bookshop Ghent 01 by ann" in ann.words
    ann.follows("Lab")
    ann.field("Follow-ups").fill("none")
    ann.presses(ann.button("Start the trial"))
    assert ann.page.get_by_role("progressbar").count() == 1
    # The page looks again by itself, without a script.
    ann.page.get_by_role("heading", name="What it would have done").wait_for(timeout=60_000)
    ann.reads()
    told = {row[0]: row[1:4] for row in ann.table("What really happened and what would have")}
    assert int(told["Re-trainings"][1]) < int(told["Re-trainings"][0])
    assert "For every stream, and for the budget, it takes an admin." in ann.words
    ada.follows("Lab")
    ada.follows("mlma(")
    ada.follows("Use this policy")
    ada.field("Why").fill("Half of the re-trainings, the same loss.")
    ada.page.get_by_label("Yes, I mean every stream").focus()
    ada.page.keyboard.press("Space")
    ada.presses(ada.button("Switch policy (80 streams)"))
    assert "Done." in ada.words
    ada.follows("Audit")
    row = ada.table("Actions")[0]
    assert row[2] == "ada"
    assert "follow_ups=()" in row[3]
    assert row[5] == "Half of the re-trainings, the same loss."
    desk.passes(1)
    assert "follow_ups=()" in ada.goes("/lab").words


def test_a_holiday_is_declared_ahead_and_shortened_with_the_keyboard_alone(come_to_work):
    carnival = Trouble(FLEET, QUIET + 3, QUIET + 5, factor=2.5, heals=False)
    desk, ann = come_to_work("ann", troubles=[carnival])
    desk.passes(1)
    declare(desk, "Sale", "city=Ghent", datetime(2024, 2, 10, tzinfo=UTC))
    ann.tabs_and_presses(ann.link("Calendar"))
    ann.tabs_and_presses(ann.link("Declare an event on 9 February"))
    ann.tabs_to(ann.field("Name"))
    ann.page.keyboard.type("Carnival")
    ann.types_moment("Ends", datetime(2024, 2, 8))
    ann.tabs_to(ann.field("Why"))
    ann.page.keyboard.type("Shops are closed.")
    ann.tabs_and_presses(ann.button("See what it would change"))
    assert "must end after it begins" in ann.words
    assert ann.field("Name").input_value() == "Carnival"
    assert ann.field("Why").input_value() == "Shops are closed."
    ann.types_moment("Ends", datetime(2024, 2, 12))
    ann.tabs_and_presses(ann.button("See what it would change"))
    assert "It overlaps 'Sale'" in ann.words
    ann.tabs_to(ann.field("Yes, it may overlap."))
    ann.page.keyboard.press("Space")
    ann.tabs_and_presses(ann.button("Declare (80 streams)"))
    assert "Done." in ann.words
    desk.passes(6)
    assert desk.incidents() == []
    assert desk.world.trained == {}
    ann.goes("/stream?unique_id=bakery+Bruges+01")
    days = [row[:2] for row in ann.table("Batches with a decision")]
    assert days == [[f"{day} Feb 2024", "unclear"] for day in (11, 10, 9)]
    ann.tabs_and_presses(ann.link("Calendar"))
    ann.tabs_and_presses(ann.link("Edit Carnival"))
    assert ann.field("Ends").input_value() == "2024-02-12T00:00"
    ann.types_moment("Ends", datetime(2024, 2, 11))
    ann.tabs_and_presses(ann.button("See what it would change"))
    assert ann.figure("Cycles judged anew") == "4"
    row = next(row for row in ann.table("Changes") if row[0] == "bakery Bruges 01")
    assert row[1:3] == ["42", "verdict"]
    assert row[4].startswith("healthy")
    ann.tabs_to(ann.field("Yes, it may overlap."))
    ann.page.keyboard.press("Space")
    ann.tabs_and_presses(ann.button("Change (80 streams)"))
    desk.looks()
    assert desk.service.store.cycles(first=42, last=42)[0].revision == 1
    assert desk.incidents() == []


def declare(desk, name, tag, day):
    """Let a colleague declare an event of a day."""
    event = CalendarEvent("e1", name, "promotion", day, day + timedelta(days=1), Selector((tag,)))
    desk.service.engineering.carry_out(Declare(event=event), "user:bob")


def test_two_engineers_at_one_incident_and_one_who_is_signed_out_in_a_form(come_to_work):
    shock = Trouble(FLEET, QUIET + 1, factor=2.0)
    desk, ann, bob, rob = come_to_work("ann", "bob", "rob", troubles=[shock])
    desk.passes(2)
    for person in (ann, bob):
        person.goes("/incidents")
        person.follows("fleet", exact=True)
    ann.opens("Everything else for its streams")
    ann.follows("Snooze until")
    bob.presses(bob.button("Acknowledge"))
    ann.field("Until").fill("2024-02-12T09:00")
    ann.field("Why").fill("I ask the shops on Monday.")
    ann.presses(ann.button("Snooze"))
    assert "Somebody was first." in ann.words
    assert "bob, 2024-02-08 07:00 UTC: Acknowledged" in ann.words
    assert ann.field("Why").input_value() == "I ask the shops on Monday."
    assert ann.field("Until").input_value() == "2024-02-12T09:00"
    ann.presses(ann.button("Snooze"))
    assert "Snoozed until 2024-02-12 09:00 by ann" in ann.words

    ann.follows("Label batches")
    ann.field("Why").fill("Half of the town was without power, say the shops.")
    desk.waits(minutes=13 * 60)
    ann.presses(ann.button("See what it would change"))
    assert ann.heading == "Sign in"
    ann.gives_password("ann")
    assert ann.heading == "Send it again?"
    assert "Half of the town was without power" in ann.words
    ann.presses(ann.button("Send it again"))
    assert "Labels 1 batch of 80 streams" in ann.words
    assert ann.field("Why").input_value().startswith("Half of the town")
    assert desk.service.store.actions(kind=["label"]) == []

    rob.signs_in("rob", "read", to="/incidents")
    assert rob.main.get_by_role("button", name=re.compile("Ack|Snooze|Resolve")).count() == 0
    rob.goes("/stream?unique_id=bakery+Ghent+01")
    assert rob.link("Freeze").count() == 0
    rob.goes("/orders/freeze?search=bakery")
    assert rob.heading == "Not allowed"
