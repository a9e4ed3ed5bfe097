"""Alerts: who is told what and when, from the outbox to a real receiver, and whether it arrives."""

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from http_client import key
from http_client import serving as app_serving
from http_client import settings as app_settings
from mlma.adapters.store import open_store
from mlma.agent.telling import desk_events
from mlma.domain.errors import SettingsError
from mlma.domain.ledger import Action
from mlma.service.alerts import alert_targets, asked_targets, trial_event
from mlma.service.entries import AlertTable
from mlma.service.outbox import OutboxWorker, Retries
from mlma.service.settings import read_settings
from requests_for_retraining import serving
from stores import commit
from stores import entry as cycle_entry
from threads import Standing, until
from told_incidents import AT, NAMES, PERIODS, TAGS, entry, incident, registered, resolved

NIGHT = datetime(2024, 1, 2, 23, tzinfo=UTC)
QUICK = Retries(first=0.02, longest=0.1, attempts=50, refusals=2)


@pytest.fixture
def store():
    made = open_store("memory://")
    made.register(NAMES)
    made.act([Action("tags", {"tags": TAGS}, AT)])
    yield made
    made.close()


def settings(*alerts, **server):
    told = app_settings(server=server)
    return told.model_copy(update={"alerts": tuple(AlertTable(**one) for one in alerts)})


def table(port=9, **keys):
    return {"name": "desk", "url": f"json://word-of-user:secret-token@127.0.0.1:{port}/", **keys}


def alert(store, port=9, **keys):
    return alert_targets(settings(table(port, **keys)), store)["alert:desk"]


def events(changed, known=(), cycle=1, **summary):
    return list(desk_events(entry(cycle, **summary), changed, known, registered(), PERIODS))


def first(changed, known=(), cycle=1):
    return events(changed, known, cycle)[0]


def written(store, *incidents):
    """Put incidents into the store, as a commit does."""
    store.commit(commit(cycle_entry(1), incidents=incidents))


@contextmanager
def running(store, targets, clock=None):
    worker = OutboxWorker(store, targets, clock or Standing(), retries=QUICK, every=0.02)
    worker.start()
    try:
        yield worker
    finally:
        assert worker.stop(10.0)


def of(store, event):
    (found,) = [one for one in store.deliveries() if one.event.id == event.id]
    return found


def titles(receiver):
    return [json.loads(body)["title"] for body in receiver.bodies]


# Who is told what.


@pytest.mark.parametrize(
    ("when", "wanted"),
    [("incident", (True, False)), ("digest", (False, True)), ("both", (True, True))],
)
def test_when_tells_incidents_digests_or_both_and_tests_always(store, when, wanted):
    made = alert(store, when=when)
    assert tuple(map(made.wants, ("incident", "digest"))) == wanted
    assert made.wants("test")
    assert not made.wants("decisions")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, True),
        ({"tags": ["city=Ghent"]}, True),
        ({"tags": ["city=Antwerp"]}, False),
        ({"tags": ["city=Nowhere"]}, False),
        ({"tags": ["country=be"]}, False),
        ({"kinds": ["group", "data"]}, True),
        ({"kinds": ["data"]}, False),
        ({"least_stake": 12.5}, True),
        ({"least_stake": 12.6}, False),
    ],
)
def test_only_incidents_that_fit_are_told(store, keys, told):
    one = incident(scope="4 streams")  # shops 0 to 3 are in Ghent
    written(store, one)
    assert (alert(store, **keys).leaves_out(first([one])) == "") is told


def test_an_incident_fits_by_any_of_its_members_even_one_that_no_message_names(store):
    many = incident(scope="30 streams", members=tuple(range(10, 40)), streams=30)
    last = replace(many, members=(*range(10, 39), 5))
    assert alert(store, tags=["city=Ghent"]).leaves_out(first([many]))
    written(store, last)
    assert not alert(store, tags=["city=Ghent"]).leaves_out(first([last]))


def test_the_scope_of_a_group_fits_its_own_tag(store):
    assert alert(store, tags=["city=Ghent"]).leaves_out(first([incident(members=())])) == ""


def test_the_end_of_a_costly_incident_is_told_although_nothing_is_at_stake_any_more(store):
    was = incident(stake=80.0)
    ended = first([resolved(was)], [was], 2)
    assert ended.document["stake"] == 0.0
    assert alert(store, least_stake=50).leaves_out(ended) == ""
    assert alert(store, least_stake=90).leaves_out(ended)


def test_a_new_tag_counts_at_once(store):
    one = incident(scope="4 streams")
    written(store, one)
    made = alert(store, tags=["city=Bruges"])
    assert made.leaves_out(first([one]))
    store.act([Action("tags", {"tags": {"city": {"shop 2": "Bruges"}}}, AT)])
    assert not made.leaves_out(first([one]))


def test_a_digest_holds_the_incidents_of_the_alert_only(store):
    ghent, antwerp = incident("g"), incident("a", scope="city=Antwerp", members=(10, 11))
    written(store, ghent, antwerp)
    digest = events([ghent, antwerp])[-1]
    with serving() as receiver:
        made = alert(store, receiver.port, tags=["city=Antwerp"])
        assert made.leaves_out(digest) == ""
        assert made.deliver(digest, 0) is None
    (body,) = map(json.loads, receiver.bodies)
    assert body["title"] == "Cycle 1: 1 opened, 1 open"
    assert "city=Antwerp" in body["message"]
    assert "city=Ghent" not in body["message"]


def test_a_digest_with_nothing_to_tell_is_sent_only_to_who_always_wants_it(store):
    (quiet,) = events([])
    (acknowledged,) = events([], [incident(state="acknowledged")])
    for digest in (quiet, acknowledged):
        assert alert(store).leaves_out(digest) == "there is nothing to tell"
        assert alert(store, always=True).leaves_out(digest) == ""
    assert alert(store).leaves_out(events([], [incident()])[-1]) == ""
    assert alert(store, tags=["city=Antwerp"]).leaves_out(events([incident()])[-1])


# When.


def test_messages_wait_until_the_quiet_hours_are_over(store):
    made = alert(store, quiet="22:00-07:00", timezone="Europe/Brussels")
    seven = datetime(2024, 1, 3, 6, tzinfo=UTC)
    for event in events([incident()]):
        assert made.not_before(event, NIGHT) == seven
        assert made.not_before(event, seven) is None


def test_without_a_zone_of_its_own_an_alert_is_quiet_by_the_clock_of_the_agent(store):
    told = settings(table(quiet="22:00-07:00"))
    told = told.model_copy(
        update={"agent": told.agent.model_copy(update={"timezone": "Asia/Tokyo"})}
    )
    made = alert_targets(told, store)["alert:desk"]
    noon = datetime(2024, 1, 2, 14, tzinfo=UTC)  # 23:00 in Tokyo
    assert made.not_before(first([incident()]), noon) == datetime(2024, 1, 2, 22, tzinfo=UTC)


def test_urgent_lets_incidents_of_the_fleet_through_the_night_and_nothing_else(store):
    made = alert(store, quiet="22:00-07:00", urgent=True)
    fleet, group = first([incident(kind="fleet", scope="fleet")]), first([incident()])
    assert made.not_before(fleet, NIGHT) is None
    assert made.not_before(group, NIGHT) is not None
    assert made.not_before(events([incident(kind="fleet")])[-1], NIGHT) is not None
    assert made.not_before(trial_event("user:ann", NIGHT), NIGHT) is None


# On their way.


def test_what_an_alert_is_told_goes_through_the_outbox(store):
    one = incident()
    written(store, one)
    with serving() as receiver:
        targets = alert_targets(settings(table(receiver.port)), store)
        told = events([one])
        store.post(told, list(targets))
        with running(store, targets):
            until(lambda: not store.deliveries(status=("waiting",)))
    assert titles(receiver) == ["Incident opened: city=Ghent", "Cycle 1: 1 opened, 1 open"]
    assert {one.error for one in store.deliveries()} == {""}


def test_what_is_left_out_is_written_down_with_the_reason_and_sends_nothing(store):
    with serving() as receiver:
        targets = alert_targets(settings(table(receiver.port, kinds=["data"])), store)
        told = [*events([incident()]), replace(trial_event("x", AT), id="d", kind="decisions")]
        store.post(told, list(targets))
        with running(store, targets):
            until(lambda: not store.deliveries(status=("waiting",)))
    assert receiver.bodies == []
    assert [of(store, one).error for one in told] == [
        "left out: `kinds` of the alert has no `group`",
        "left out: there is nothing to tell",
        "left out: `when` of the alert has no `decisions`",
    ]


def test_a_message_of_the_night_arrives_when_it_is_over_and_no_attempt_was_made_before(store):
    clock = Standing(NIGHT)
    with serving() as receiver:
        targets = alert_targets(settings(table(receiver.port, quiet="22:00-07:00")), store)
        event = first([incident()])
        store.post([event], list(targets))
        with running(store, targets, clock):
            waiting = until(lambda: of(store, event).error and of(store, event))
            assert waiting.status == "waiting"
            assert waiting.attempts == 0
            assert waiting.next_at == datetime(2024, 1, 3, 7, tzinfo=UTC)
            assert waiting.error == "waits until the quiet hours are over"
            assert receiver.bodies == []
            clock.time = waiting.next_at
            until(lambda: of(store, event).status == "delivered")
    assert titles(receiver) == ["Incident opened: city=Ghent"]


def test_a_failed_message_is_tried_again_until_it_arrives(store):
    clock = Standing()
    with serving(500, 503) as receiver:
        targets = alert_targets(settings(table(receiver.port)), store)
        event = first([incident()])
        store.post([event], list(targets))
        with running(store, targets, clock):

            def arrived():
                clock.time += timedelta(seconds=1)
                return of(store, event).status == "delivered"

            until(arrived)
    assert of(store, event).attempts == 3
    assert len(set(receiver.bodies)) == 1


def test_one_alert_that_is_down_holds_up_no_other(store):
    with serving() as up, serving(*[500] * 1_000) as down:
        told = settings(table(up.port), table(down.port, name="other"))
        targets = alert_targets(told, store)
        store.post([first([incident()])], list(targets))
        with running(store, targets):
            until(lambda: up.bodies and down.bodies)
    assert {one.target: one.status for one in store.deliveries()} == {
        "alert:desk": "delivered",
        "alert:other": "waiting",
    }


def test_an_event_that_cannot_be_read_is_given_up_and_those_behind_it_arrive(store):
    with serving() as receiver:
        targets = alert_targets(settings(table(receiver.port)), store)
        broken = replace(first([incident()]), id="broken", document={"kind": "group"})
        event = first([incident()])
        store.post([broken, event], list(targets))
        with running(store, targets):
            until(lambda: not store.deliveries(status=("waiting",)))
    assert of(store, broken).status == "given_up"
    assert of(store, broken).error == "it cannot be read: KeyError"
    assert of(store, event).status == "delivered"


def test_no_secret_of_an_address_is_in_deliveries(store):
    with serving(403, 500) as receiver:
        targets = alert_targets(settings(table(receiver.port)), store)
        store.post(events([incident()]), list(targets))
        with running(store, targets):
            until(lambda: len(receiver.bodies) >= 2)
            until(lambda: [one for one in store.deliveries() if one.error])
    errors = [one.error for one in store.deliveries()]
    assert any("403" in error or "500" in error for error in errors)
    for secret in ("word-of-user", "secret-token"):
        assert secret not in repr(store.deliveries()) + repr(targets)


# Settings.


def test_the_address_may_lie_in_the_environment_and_stands_in_no_text(tmp_path):
    path = tmp_path / "mlma.toml"
    path.write_text('[agent]\nslot = "1h"\n[[alerts]]\nname = "desk"\nurl_env = "DESK_URL"\n')
    made = read_settings(path, {"DESK_URL": "slack://token-a/token-b/token-c"})
    assert made.alerts[0].url.get_secret_value() == "slack://token-a/token-b/token-c"
    assert "token" not in repr(made) + str(made.alerts)
    assert made.live().targets == ("alert:desk",)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("", "either a `url` or a `url_env`"),
        ('url = "json://a"\nurl_env = "A"', "either a `url` or a `url_env`"),
        ('url = "json://word"\ntags = ["Ghent"]', "a tag written as name=value"),
        ('url = "json://word"\nquiet = "22-7"', 'a span of two different times, such as "22:00'),
        ('url = "json://word"\nkinds = ["grup"]', "one of"),
        ('url = "json://word"\nleast_stake = -1', "least_stake"),
        ('url = "json://word"\nwhen = "never"', "when"),
        ('url = "json://word"\ntimezone = "Ghent"', "the name of a time zone"),
        ('url_env = "NOT_SET"', "The variable `NOT_SET` that [[alerts]] tells of must be set"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, keys, told):
    path = tmp_path / "mlma.toml"
    path.write_text(f'[[alerts]]\nname = "desk"\n{keys}\n')
    with pytest.raises(SettingsError) as caught:
        read_settings(path, {})
    assert told in str(caught.value)
    assert "word" not in str(caught.value)


def test_two_alerts_of_one_name_are_refused(tmp_path):
    path = tmp_path / "mlma.toml"
    path.write_text('[[alerts]]\nname = "a"\nurl = "json://x"\n' * 2)
    with pytest.raises(SettingsError, match=r"a name of its own for each of \[\[alerts\]\]"):
        read_settings(path, {})


def test_an_address_that_apprise_does_not_know_is_told_when_the_targets_are_made(store):
    with pytest.raises(SettingsError, match="`url` of the alert `desk`"):
        alert_targets(settings({"name": "desk", "url": "nonsense://word"}), store)


def test_a_name_that_is_no_alert_is_told_with_those_that_are():
    told = settings(table(), table(name="on-call"))
    assert asked_targets(told, []) == ["alert:desk", "alert:on-call"]
    assert asked_targets(told, ["on-call"]) == ["alert:on-call"]
    with pytest.raises(SettingsError, match=r"Unknown alert `oncall`.*did you mean `on-call`"):
        asked_targets(told, ["oncall"])


# The test button, from REST and the page.


def asked(*alerts, keys=True):
    told = app_settings(keys=keys)
    return told.model_copy(update={"alerts": tuple(AlertTable(**one) for one in alerts)})


def test_an_admin_sends_a_test_message_to_one_alert_or_to_all():
    with app_serving(asked(table(), table(name="on-call"))) as (client, service):
        one = client.post("/api/v1/alerts/test", json={"names": ["on-call"]}, headers=key("admin"))
        assert (one.status_code, one.json()["targets"]) == (202, ["alert:on-call"])
        all_ = client.post("/api/v1/alerts/test", json={}, headers=key("admin"))
        assert all_.json()["targets"] == ["alert:desk", "alert:on-call"]
        (found,) = [
            sent for sent in service.store.deliveries() if sent.event.id == one.json()["event"]
        ]
        assert found.event.kind == "test"
        assert found.event.document == {"by": "key:key-admin"}
        log = client.get("/api/v1/deliveries", headers=key("read")).text
        assert "alert:on-call" in log
        assert "secret-token" not in log


@pytest.mark.parametrize(
    ("role", "body", "status", "told"),
    [
        ("engineer", {}, 403, "needs the right `admin`"),
        ("admin", {"names": ["nobody"]}, 404, "Unknown alert `nobody`"),
        ("admin", {"name": "desk"}, 422, "name"),
    ],
)
def test_a_test_message_that_cannot_be_sent_is_refused(role, body, status, told):
    with app_serving(asked(table())) as (client, service):
        answer = client.post("/api/v1/alerts/test", json=body, headers=key(role))
        assert answer.status_code == status
        assert told in answer.text
        assert not service.store.deliveries()


def test_without_alerts_there_is_nothing_to_test():
    with app_serving(asked()) as (client, _):
        answer = client.post("/api/v1/alerts/test", json={}, headers=key("admin"))
    assert answer.status_code == 409
    assert "There are no alerts." in answer.text


def test_the_page_shows_alerts_and_their_messages_but_no_address():
    event = first([incident()])
    left_out = replace(first([incident("i2")]), id="left")
    odd = replace(event, id="odd", at=AT)
    with app_serving(asked(table(quiet="00:00-23:59", tags=["city=Ghent"]), keys=False)) as (
        client,
        service,
    ):
        store = service.store
        store.post([event, left_out, odd], ["alert:desk"])
        for one in store.deliveries():
            if one.event.id == "left":
                store.told(replace(one, status="delivered", error="left out: a reason"))
            if one.event.id == "odd":
                store.told(replace(one, status="given_up", error="<b>refused</b>"))
        html = {"accept": "text/html"}
        shown = client.get("/alerts", headers=html)
        assert shown.status_code == 200
        assert "each incident, a digest per cycle; city=Ghent" in shown.text
        assert "&lt;b&gt;refused&lt;/b&gt;" in shown.text
        assert "a reason" not in shown.text
        assert "quiet now" in shown.text or "23:59" in shown.text
        assert "a reason" in client.get("/alerts?log=all", headers=html).text
        csv = client.get("/alerts?format=csv")
        assert csv.headers["content-type"].startswith("text/csv")
        assert len(csv.text.strip().splitlines()) == 3
        for text in (shown.text, csv.text):
            assert "secret-token" not in text


def test_the_button_sends_a_test_and_the_page_tells_what_became_of_it():
    with app_serving(asked(table(), keys=False)) as (client, service):
        html = {"accept": "text/html"}
        form = client.get("/alerts", headers=html).text
        token = form.partition('name="csrf" value="')[2].partition('"')[0]
        without = client.post("/alerts", data={"name": "desk"}, headers=html)
        assert without.status_code == 403
        answer = client.post("/alerts", data={"name": "desk", "csrf": token}, headers=html)
        assert answer.status_code == 303
        (one,) = service.store.deliveries()
        assert answer.headers["location"] == f"/alerts?sent={one.event.id}"
        assert "is on its way" in client.get(answer.headers["location"], headers=html).text
        service.store.told(replace(one, status="delivered"))
        assert "has been sent" in client.get(answer.headers["location"], headers=html).text


def test_the_page_is_for_admins():
    with app_serving(asked(table())) as (client, _):
        assert client.get("/alerts", headers=key("engineer")).status_code == 403
        assert client.get("/alerts", headers=key("admin")).status_code == 200
