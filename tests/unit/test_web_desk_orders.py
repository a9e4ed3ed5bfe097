from dataclasses import replace
from datetime import timedelta

import pytest

from desk_pages import CITY, EVIL, NAMES, SHOCK, STUCK, day, desk, judged_store, typed, words
from mlma.domain.ledger import Action
from mlma.domain.orders import ORDERS
from mlma.web.pages.order_fields import FORMS
from people_at_desks import PASSWORDS, form, user

GHENT = "city=Ghent"


@pytest.fixture(scope="session")
def judged(tmp_path_factory):
    return judged_store(tmp_path_factory)


@pytest.fixture
def at(tmp_path, judged):
    with desk(tmp_path, judged) as lent:
        yield lent


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, judged):
    """A desk for tests that change nothing."""
    with desk(tmp_path_factory.mktemp("untouched"), judged) as lent:
        yield lent


def orders(service):
    return [one for one in service.store.actions() if one.kind in ORDERS]


def test_every_order_has_a_form():
    assert set(FORMS) == set(ORDERS)


def test_each_field_of_each_form_has_a_label(untouched):
    browser, _ = untouched
    for kind in FORMS:
        page = browser.text(
            f"/orders/{kind}?incident={SHOCK}" if FORMS[kind].on_incident else f"/orders/{kind}"
        )
        for name in typed(page):
            shown = f'name="{name}"' in page and f'type="hidden" name="{name}"' not in page
            inside = f'<label><input type="checkbox" name="{name}"' in page
            assert not shown or inside or f'<label for="f-{name}"' in page, (kind, name)


def test_a_preview_tells_what_would_change_and_writes_nothing(untouched):
    browser, service = untouched
    answer = browser.order("freeze", tag=GHENT, why="road works")
    told = words(answer.text)
    assert answer.status_code == 200
    assert "Freezes 2 streams (city=Ghent)." in told
    assert "bike 1" in told
    assert typed(answer.text)["tag"] == GHENT
    assert typed(answer.text)["why"] == "road works"
    assert orders(service) == []


def test_an_order_that_is_carried_out_leads_back_and_tells_its_number(at):
    browser, service = at
    answer = browser.order("freeze", "apply", tag=GHENT, why="road works", next="/streams?tag=a=b")
    (action,) = orders(service)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/streams?tag=a%3Db&done={action.number}#main"
    assert action.payload["unique_ids"] == ["bike 1", "scooter 2"]
    assert (action.by, action.why) == ("address:127.0.0.1", "road works")


@pytest.mark.parametrize("away", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_an_order_leads_to_no_other_site(at, away):
    browser, _ = at
    answer = browser.order("freeze", "apply", search="bike", next=away)
    assert answer.headers["location"].startswith("/audit?done=")


def test_an_address_that_says_everything_shows_the_preview_at_once(untouched):
    browser, service = untouched
    told = words(browser.text("/orders/pin?unique_id=bike+1"))
    assert "Pins 1 stream (bike 1)." in told
    assert orders(service) == []


def test_an_order_about_every_stream_is_asked_for_once_more(at):
    browser, service = at
    seen = browser.text("/orders/freeze?tag=&search=")
    assert "everything" not in typed(seen)
    preview = browser.order("freeze", why="all of it")
    assert "Yes, I mean every stream: 6 streams, the whole fleet." in words(preview.text)
    assert "everything" not in typed(preview.text)
    refused = browser.order("freeze", "apply", why="all of it")
    assert refused.status_code == 422
    assert typed(refused.text)["why"] == "all of it"
    assert orders(service) == []
    assert browser.order("freeze", "apply", everything=1).status_code == 303


def test_an_address_does_not_confirm_that_every_stream_is_meant(untouched):
    browser, service = untouched
    page = browser.text("/orders/policy?policy=mlma(level%3D0.001,pool%3D1)&everything=1")
    assert "Decides by mlma(level=0.001,pool=1) for the fleet" in words(page)
    assert 'name="everything"' in page
    assert "everything" not in typed(page)
    assert orders(service) == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tag", "city=Genth", "did you mean `Ghent`?"),
        ("tag", "Ghent", "must be name=value"),
        ("unique_id", "bike 9", "did you mean `bike 2`?"),
        ("unique_id", EVIL, "are not known"),
        ("search", "nobody", "No stream fits"),
    ],
)
def test_a_selector_that_matches_nobody_is_told_at_its_field_and_stays(
    untouched, field, value, message
):
    browser, service = untouched
    for step in ("preview", "apply"):
        answer = browser.order("freeze", step, **{field: value, "why": EVIL})
        assert answer.status_code == 422
        assert message in words(answer.text)
        assert typed(answer.text)[field] == value
        assert typed(answer.text)["why"] == EVIL
        assert EVIL not in answer.text
    assert 'aria-invalid="true"' in answer.text or field == "search"
    assert orders(service) == []


def test_an_event_that_ends_before_it_starts_is_told_at_its_end(untouched):
    browser, service = untouched
    event = {"name": f"Fair {EVIL}", "type": "promotion", "counts": "usual", "mute": "1"}
    answer = browser.order(
        "event", "apply", begins="2024-03-02T00:00", ends="2024-03-01T00:00", **event
    )
    assert answer.status_code == 422
    assert "must end after it begins" in words(answer.text)
    assert 'id="e-ends"' in answer.text
    kept = typed(answer.text)
    assert {name: kept[name] for name in event} == event
    assert EVIL not in answer.text
    assert orders(service) == []


def test_overlapping_events_have_to_be_confirmed(at):
    browser, service = at
    event = {"type": "holiday", "counts": "excluded", "begins": "2024-03-01T00:00"}
    assert (
        browser.order("event", "apply", name="Fair", ends="2024-03-03T00:00", **event).status_code
        == 303
    )
    again = event | {"name": "Strike", "ends": "2024-03-02T00:00"}
    refused = browser.order("event", "apply", **again)
    assert refused.status_code == 422
    assert "overlaps" in words(refused.text)
    assert "Yes, it may overlap." in words(refused.text)
    assert browser.order("event", "apply", overlap=1, **again).status_code == 303
    assert len(service.engineering.standing().events) == 2


def test_an_event_is_edited_in_its_form_and_an_unticked_mute_stays_off(at):
    browser, service = at
    span = {"begins": "2024-03-01T00:00", "ends": "2024-03-03T00:00"}
    browser.order(
        "event", "apply", name="Fair", type="promotion", counts="matched", tag=GHENT, **span
    )
    (event,) = service.engineering.standing().events.values()
    shown = typed(browser.text(f"/orders/event?id={event.id}"))
    told = {"name": "Fair", "type": "promotion", "counts": "matched", "tag": GHENT, "id": event.id}
    assert {name: shown[name] for name in (*told, *span)} == told | span
    assert "mute" not in shown
    browser.order("event", "apply", **shown | {"ends": "2024-03-04T00:00"})
    (edited,) = service.engineering.standing().events.values()
    assert (edited.id, edited.ends - event.ends) == (event.id, timedelta(days=1))
    assert (edited.matched, edited.exclude, edited.mute) == (True, False, False)


def test_an_undo_on_which_later_actions_rest_says_which(at):
    browser, service = at
    browser.order("freeze", "apply", tag=GHENT)
    browser.order("unfreeze", "apply", unique_id="bike 1")
    first, second = (one.number for one in orders(service))
    answer = browser.order("undo", "apply", action=first)
    assert answer.status_code == 409
    assert f"action {second} (unfreeze" in words(answer.text)
    assert typed(answer.text)["action"] == str(first)
    assert browser.order("undo", "apply", action=second).status_code == 303
    assert browser.order("undo", "apply", action=first).status_code == 303


def test_a_label_on_a_batch_that_was_revised_meanwhile_is_refused_and_can_be_looked_at_again(at):
    browser, service = at
    span = {"begins": "2024-01-08T00:00", "ends": "2024-01-09T00:00", "label": "broken"}
    told = {"unique_id": "bike 1", "why": "sensor", **span}
    seen = browser.order("label", **told)
    assert typed(seen.text)["revision"] == "8:0"
    stale = browser.order("label", "apply", revision="8:7", **told)
    assert stale.status_code == 409
    assert typed(stale.text)["revision"] == "8:0"
    kept = {name: typed(stale.text)[name] for name in told}
    assert kept == told
    assert orders(service) == []
    assert browser.order("label", "apply", revision="8:0", **told).status_code == 303


def test_of_two_engineers_at_one_incident_the_second_is_told_who_did_what(at):
    browser, service = at
    seen = typed(browser.text(f"/orders/resolve?incident={SHOCK}"))["seen"]
    service.engineering.carry_out(
        ORDERS["acknowledge"](incident=SHOCK), "user:ann", f"calling the fair {EVIL}"
    )
    answer = browser.order("resolve", "apply", incident=SHOCK, seen=seen, why="it is over")
    assert answer.status_code == 409
    told = words(answer.text)
    assert "Somebody was first." in told
    assert "ann" in told
    assert f"Acknowledged (calling the fair {EVIL})" in told
    assert EVIL not in answer.text
    again = typed(answer.text)
    assert again["why"] == "it is over"
    assert [one.kind for one in orders(service)] == ["acknowledge"]
    assert browser.order("resolve", "apply", **again | {"next": "/incidents"}).status_code == 303
    assert [one.kind for one in orders(service)] == ["acknowledge", "resolve"]


def test_what_an_order_touches_and_somebody_changed_since_the_preview_is_told(at):
    browser, service = at
    seen = typed(browser.order("freeze", tag=GHENT, why="works").text)
    service.engineering.carry_out(ORDERS["freeze"](selector=_bikes()), "user:bob", "mine")
    answer = browser.order("freeze", "apply", **seen)
    assert answer.status_code == 409
    assert "bob" in words(answer.text)
    assert "(mine)" in words(answer.text)
    assert typed(answer.text)["why"] == "works"
    assert len(orders(service)) == 1


def _bikes():
    from mlma.domain.selectors import Selector

    return Selector(search="bike")


def test_an_order_about_an_incident_is_filled_in_with_its_streams_and_its_span(untouched):
    browser, _ = untouched
    shown = typed(browser.text(f"/orders/label?incident={SHOCK}"))
    assert shown["tag"] == GHENT
    assert (shown["begins"], shown["ends"]) == ("2024-01-08T00:00", "2024-01-10T00:00")
    assert EVIL in shown["why"]


def test_an_incident_that_names_fewer_streams_than_it_has_says_so(at):
    browser, service = at
    (known,) = service.store.incidents(ids=[STUCK])
    large = replace(known, scope="40 streams", streams=40)
    service.store.act([Action("tags", {"tags": {}}, day(9))], incidents=[large])
    page = browser.text(f"/orders/freeze?incident={STUCK}")
    assert typed(page)["unique_id"] == "bike 2"
    assert "These are the 1 largest of the 40 streams of the incident" in words(page)
    assert "largest of the" not in words(browser.text(f"/orders/freeze?incident={SHOCK}"))


def test_an_order_tells_the_request_and_the_command_that_do_the_same(untouched):
    browser, _ = untouched
    page = words(browser.text("/orders/freeze?tag=city%3DGhent&until=2024-02-01T00:00"))
    assert 'POST /api/v1/actions {"kind": "freeze", "selector": {"tags": ["city=Ghent"]}' in page
    assert "mlma act freeze --until 2024-02-01T00:00:00+00:00 --tag city=Ghent" in page


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        ("plan", {"tag": GHENT, "at": "soon"}, "at"),
        ("plan", {"tag": GHENT, "at": ""}, "at"),
        ("plan", {"tag": GHENT, "at": "2023-01-01T00:00"}, "at"),
        ("plan", {"tag": GHENT, "at": "9999-12-31T23:59"}, "at"),
        ("budget", {"per_cycle": "-1"}, "per_cycle"),
        ("budget", {"per_cycle": "٣"}, "per_cycle"),
        ("budget", {"per_cycle": "9" * 30}, "per_cycle"),
        ("budget", {"per_cycle": ""}, "per_cycle"),
        ("budget", {"per_cycle": "3", "unlimited": "1"}, "per_cycle"),
        ("policy", {"tag": GHENT, "policy": "mlma(levle=1)"}, "policy"),
        ("policy", {"tag": GHENT, "policy": "import os"}, "policy"),
        ("overrule", {"tag": GHENT, "cycle": "99", "verdict": "healthy"}, "cycle"),
        ("rejudge", {"cycle": "99"}, "cycle"),
        ("undo", {"action": "x"}, "action"),
        ("freeze", {"tag": GHENT, "why": "x" * 2001}, "why"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_is_told_and_all_that_was_typed_stays(
    untouched, kind, fields, field
):
    browser, service = untouched
    answer = browser.order(kind, "apply", **fields)
    assert answer.status_code == 422
    assert f'id="e-{field}"' in answer.text
    kept = typed(answer.text)
    assert {name: kept.get(name, "") for name in fields} == fields
    assert orders(service) == []


def test_what_no_form_asks_is_refused_without_a_trace(untouched):
    browser, service = untouched
    assert browser.get("/orders/nothing").status_code == 404
    assert browser.post("/orders/freeze", {"step": "apply", "tag": GHENT}).status_code == 403
    assert browser.order("acknowledge", "apply", incident="none").status_code == 422
    assert browser.order("label", "apply", unique_id="bike 1", label="x").status_code == 422
    assert browser.order("undo", "apply", action="1").status_code == 422  # it told tags
    assert orders(service) == []


def test_an_order_whose_author_was_signed_out_meanwhile_is_kept_and_can_be_sent_again(
    tmp_path, judged
):
    with desk(tmp_path, judged, users=[user("ann")]) as (browser, service):
        browser.sign_in("ann", to="/orders/freeze")
        seen = typed(browser.text("/orders/freeze?tag=city%3DGhent"))
        filled = seen | {"why": f"half a day of thoughts {EVIL}", "step": "apply"}
        browser.cookies.clear()
        kept = browser.post("/orders/freeze", filled)
        assert kept.status_code == 401
        again = dict(form(kept.text, "/login").fields) | {"name": "ann"}
        shown = browser.post("/login", again | {"password": PASSWORDS["engineer"]})
        assert orders(service) == []
        resent = form(shown.text, "/orders/freeze")
        assert browser.post(resent.action, resent.fields).status_code == 303
        (action,) = orders(service)
        assert (action.by, action.why) == ("user:ann", f"half a day of thoughts {EVIL}")


def test_who_may_only_read_gets_no_form_and_no_button(tmp_path, judged):
    with desk(tmp_path, judged, role="read") as (browser, service):
        assert browser.get("/orders/freeze").status_code == 403
        assert browser.post("/orders/freeze", {"step": "apply", "tag": GHENT}).status_code == 403
        for path in ("/incidents", f"/incidents/{SHOCK}", "/calendar", "/models", "/audit", "/lab"):
            main = browser.text(path).partition("<main")[2].partition("</main")[0]
            assert 'method="post"' not in main, path
            assert "/orders/" not in main, path
        assert orders(service) == []


def test_an_engineer_may_not_change_what_the_whole_fleet_is_decided_by(tmp_path, judged):
    with desk(tmp_path, judged, role="engineer") as (browser, service):
        for kind, fields in (
            ("budget", {"per_cycle": "3"}),
            ("policy", {"policy": "never", "everything": "1"}),
        ):
            answer = browser.order(kind, "apply", **fields)
            assert answer.status_code in {403, 422}, answer.text[:500]
            assert "admin" in words(answer.text)
        assert browser.order("freeze", "apply", tag=GHENT).status_code == 303
        assert [one.by for one in orders(service)] == ["key:a-engineer"]


def test_names_and_days_of_the_tests_are_what_they_seem():
    assert CITY[NAMES[0]] == "Ghent"
    assert day(7).isoformat() == "2024-01-08T00:00:00+00:00"
