"""Events reach their targets at least once, from every store, whatever happens in between."""

import json
import logging
import multiprocessing
import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

import pytest

from mlma.adapters.notify.events import EventTarget
from mlma.adapters.notify.signature import verify_signature
from mlma.adapters.store import open_store
from mlma.domain.errors import SettingsError, StoreError
from mlma.domain.ledger import Event
from mlma.service.outbox import OutboxWorker, Retries
from requests_for_retraining import serving
from stores import KINDS, place_of
from threads import until

AT = datetime(2024, 1, 2, tzinfo=UTC)
QUICK = Retries(first=0.02, longest=0.1, attempts=50, refusals=3)


class World:
    """The time of the world."""

    def now(self):
        return datetime.now(UTC)


def event(name, kind="decisions", **document):
    return Event(name, kind, AT, document or {"decisions": [{"unique_id": "a", "loss": None}]})


def target(name, url, **settings):
    return EventTarget(name, url, **{"allow_private": True, "timeout": 5.0, **settings})


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    with place_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def memory(tmp_path):
    with place_of("memory", tmp_path) as made:
        yield made.open()


@contextmanager
def running(store, targets, **settings):
    worker = OutboxWorker(store, targets, World(), **{"retries": QUICK, "every": 0.05, **settings})
    worker.start()
    try:
        yield worker
    finally:
        assert worker.stop(10.0)


def bodies(receiver):
    return [json.loads(body) for body in receiver.bodies]


def ids(receiver):
    return [one["id"] for one in bodies(receiver)]


def status_of(store, name, at="desk"):
    (found,) = [one for one in store.deliveries() if (one.event.id, one.target) == (name, at)]
    return found


def delivered(store, name, at="desk"):
    return until(lambda: status_of(store, name, at).status == "delivered")


def test_every_target_gets_every_event_once_and_in_order(place):
    store = place.open()
    names = [f"e{k}" for k in range(40)]
    with serving() as desk, serving() as pager:
        store.post([event(name, number=k) for k, name in enumerate(names)], ["desk", "pager"])
        targets = {"desk": target("desk", desk.url), "pager": target("pager", pager.url)}
        with running(store, targets) as worker:
            until(lambda: not store.deliveries(status=["waiting"]))
            assert worker.facts["desk"].delivered == worker.facts["pager"].delivered == 40
    assert ids(desk) == ids(pager) == names
    for one in store.deliveries():
        assert (one.status, one.attempts, one.next_at, one.error) == ("delivered", 1, None, "")


def test_a_message_holds_the_event_and_is_signed(memory):
    memory.post([event("e1", "requests", requests=[{"id": "r"}])], ["desk"])
    with (
        serving() as desk,
        running(
            memory, {"desk": target("desk", desk.url + "/hook?token=abc", secret="sign with this")}
        ),
    ):
        delivered(memory, "e1")
    (headers,), (body,) = desk.headers, desk.bodies
    assert json.loads(body) == {
        "id": "e1",
        "kind": "requests",
        "at": "2024-01-02T00:00:00.000000Z",
        "document": {"requests": [{"id": "r"}]},
    }
    assert desk.paths == ["/hook?token=abc"]
    assert headers["idempotency-key"] == "e1"
    assert headers["content-type"] == "application/json"
    assert verify_signature(body, headers["mlma-signature"], "sign with this")
    assert not verify_signature(body, headers["mlma-signature"], "another")


def test_trouble_that_passes_is_tried_again_with_the_same_bytes(place):
    store = place.open()
    store.post([event("e1")], ["desk"])
    with (
        serving(500, 503, 408, 425, "no http") as desk,
        running(store, {"desk": target("desk", desk.url)}) as worker,
    ):
        delivered(store, "e1")
        assert (worker.facts["desk"].failed, worker.facts["desk"].failures) == (5, 0)
    assert len(desk.bodies) == 6
    assert len(set(desk.bodies)) == 1
    assert status_of(store, "e1").attempts == 6


def test_pauses_grow_while_a_target_is_down_and_one_event_is_tried_at_a_time(memory):
    memory.post([event(f"e{k}") for k in range(20)], ["desk"])
    retries = Retries(first=0.05, longest=0.4)
    with (
        serving(*[500] * 4) as desk,
        running(memory, {"desk": target("desk", desk.url)}, retries=retries),
    ):
        begun = monotonic()
        until(lambda: len(desk.bodies) >= 5)
        seconds = monotonic() - begun
        until(lambda: not memory.deliveries(status=["waiting"]))
    assert seconds >= 0.5 * (0.05 + 0.1 + 0.2 + 0.4)
    assert ids(desk)[:5] == ["e0"] * 5


def test_a_receiver_that_asks_for_patience_gets_it(memory):
    memory.post([event("e1"), event("e2")], ["desk"])
    with (
        serving((429, {"retry-after": "1"}, b"")) as desk,
        running(memory, {"desk": target("desk", desk.url)}),
    ):
        begun = monotonic()
        waiting = until(lambda: status_of(memory, "e1").next_at)
        assert 0.5 < (waiting - datetime.now(UTC)).total_seconds() <= 1.0
        delivered(memory, "e2")
        assert monotonic() - begun >= 0.9
    assert ids(desk).count("e1") == 2


def test_a_refusal_is_given_up_after_some_attempts_and_others_pass(place):
    store = place.open()
    with serving(400, 200, 400, 400) as desk:
        store.post([event("bad"), event("good")], ["desk"])
        with running(store, {"desk": target("desk", desk.url)}) as worker:
            until(lambda: status_of(store, "bad").status == "given_up")
            assert worker.facts["desk"].given_up == 1
    given_up = status_of(store, "bad")
    assert (given_up.attempts, given_up.error) == (3, "it answered 400")
    assert status_of(store, "good").status == "delivered"
    assert ids(desk) == ["bad", "good", "bad", "bad"]
    assert [one.event.id for one in store.deliveries(status=["given_up"])] == ["bad"]


def test_what_stays_down_is_given_up_in_the_end(memory):
    memory.post([event("e1")], ["desk"])
    retries = Retries(first=0.01, longest=0.02, attempts=4)
    with (
        serving(*[500] * 9) as desk,
        running(memory, {"desk": target("desk", desk.url)}, retries=retries),
    ):
        until(lambda: status_of(memory, "e1").status == "given_up")
    assert len(desk.bodies) == 4


def test_one_silent_target_holds_up_nobody_else(place):
    store = place.open()
    many = [event(f"e{k}") for k in range(300)]
    with serving(*["silence"] * 9) as silent, serving() as desk:
        store.post(many, ["silent"])  # older than all that the desk gets
        store.post([event("late")], ["desk"])
        targets = {
            "silent": target("silent", silent.url, timeout=3.0),
            "desk": target("desk", desk.url),
        }
        with running(store, targets):
            until(lambda: silent.bodies)
            begun = monotonic()
            delivered(store, "late")
            assert monotonic() - begun < 1.5
            silent.closing.set()


def test_a_target_that_does_not_answer_in_time_is_tried_again(memory):
    memory.post([event("e1")], ["desk"])
    with (
        serving("silence", "drip") as desk,
        running(memory, {"desk": target("desk", desk.url, timeout=0.2)}) as worker,
    ):
        delivered(memory, "e1")
        assert "no answer within 0.2 s" in worker.facts["desk"].last_error
    assert len(desk.bodies) == 3


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest/meta-data", "http://127.0.0.1:1/", "/elsewhere"]
)
def test_a_redirect_is_not_followed_wherever_it_leads(memory, location):
    memory.post([event("e1")], ["desk"])
    with (
        serving(*[(307, {"location": location}, b"")] * 9) as desk,
        running(memory, {"desk": target("desk", desk.url)}),
    ):
        until(lambda: status_of(memory, "e1").status == "given_up")
    assert set(desk.paths) == {"/"}
    assert len(desk.bodies) == 3
    assert "a redirect to" in status_of(memory, "e1").error
    assert "meta-data" not in status_of(memory, "e1").error


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "10.1.2.3"])
def test_an_address_inside_is_refused_at_once(host):
    with pytest.raises(SettingsError, match="not a public address"):
        EventTarget("desk", f"http://{host}/hook")


def test_a_name_that_leads_inside_is_refused_when_it_is_used(memory):
    memory.post([event("e1")], ["desk"])
    with serving() as desk:
        sly = target(
            "desk",
            f"http://hooks.example:{desk.port}",
            allow_private=False,
            resolve=lambda host, port: ["127.0.0.1"],
        )
        with running(memory, {"desk": sly}):
            until(lambda: status_of(memory, "e1").status == "given_up")
    assert desk.bodies == []
    assert "not a public address" in status_of(memory, "e1").error


def test_a_target_is_told_what_it_asked_for_and_tests(memory):
    events = [event("e1", "findings"), event("e2", "decisions"), event("e3", "test")]
    memory.post(events, ["desk"])
    with (
        serving() as desk,
        running(memory, {"desk": target("desk", desk.url, events=["decisions"])}),
    ):
        until(lambda: not memory.deliveries(status=["waiting"]))
    assert ids(desk) == ["e2", "e3"]
    skipped = status_of(memory, "e1")
    assert (skipped.status, skipped.attempts) == ("delivered", 0)
    assert "has no `findings`" in skipped.error


def test_events_for_a_target_that_is_not_in_the_settings_wait(memory):
    memory.post([event("e1")], ["gone", "desk"])
    with serving() as desk, running(memory, {"desk": target("desk", desk.url)}):
        delivered(memory, "e1")
        waiting = until(lambda: status_of(memory, "e1", "gone").next_at)
        assert waiting - datetime.now(UTC) > timedelta(minutes=50)
    assert status_of(memory, "e1", "gone").status == "waiting"


def test_only_the_instance_that_leads_delivers(memory):
    memory.post([event("e1")], ["desk"])
    leads = []
    with (
        serving() as desk,
        running(
            memory, {"desk": target("desk", desk.url)}, active=lambda: leads[-1] if leads else None
        ) as worker,
    ):
        worker.poke()
        until(lambda: worker._loop.facts.steps >= 3)
        assert desk.bodies == []
        leads.append(1)
        worker.poke()
        delivered(memory, "e1")


class Forgetful:
    """A store that fails when it is told what became of a delivery, some times."""

    def __init__(self, store, times):
        self.store, self.times = store, times

    def __getattr__(self, name):
        return getattr(self.store, name)

    def told(self, delivery):
        if self.times:
            self.times -= 1
            raise StoreError("The disk is full.")
        self.store.told(delivery)


def test_what_could_not_be_written_down_is_sent_again_with_the_same_id(place, caplog):
    store = place.open()
    store.post([event("e1")], ["desk"])
    with (
        caplog.at_level(logging.WARNING),
        serving() as desk,
        running(Forgetful(store, 1), {"desk": target("desk", desk.url)}),
    ):
        delivered(store, "e1")
    assert ids(desk) == ["e1", "e1"]
    assert desk.headers[0]["idempotency-key"] == desk.headers[1]["idempotency-key"] == "e1"
    assert "The disk is full." in caplog.text


def die_before_writing(url, address):
    """Deliver, and be killed before it is written down."""
    store = open_store(url)

    class Killed(Forgetful):
        def told(self, delivery):
            os._exit(9)

    worker = OutboxWorker(Killed(store, 0), {"desk": target("desk", address)}, World())
    worker.start()
    sleep(30.0)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_kill_between_arrival_and_writing_down_delivers_twice(kind, tmp_path):
    with place_of(kind, tmp_path) as place, serving() as desk:
        store = place.open()
        store.post([event("e1")], ["desk"])
        child = multiprocessing.get_context("spawn").Process(
            target=die_before_writing, args=(place.url, desk.url)
        )
        child.start()
        child.join(30.0)
        assert child.exitcode == 9
        assert ids(desk) == ["e1"]
        assert status_of(store, "e1").status == "waiting"
        with running(store, {"desk": target("desk", desk.url)}):
            delivered(store, "e1")
    assert ids(desk) == ["e1", "e1"]
    assert desk.bodies[0] == desk.bodies[1]


def test_nothing_secret_is_in_a_delivery_or_a_log(memory, caplog):
    memory.post([event("e1")], ["desk"])
    with caplog.at_level(logging.DEBUG), serving(*[401] * 9) as desk:
        url = desk.url.replace("//", "//user:pass-word@") + "/secret-path?token=abc"
        with running(memory, {"desk": target("desk", url, secret="sign-with-this")}):
            until(lambda: status_of(memory, "e1").status == "given_up")
    shown = caplog.text + status_of(memory, "e1").error
    for word in ("pass-word", "secret-path", "token=abc", "sign-with-this"):
        assert word not in shown


def test_an_event_that_cannot_be_sent_does_not_hold_up_those_behind_it(memory):
    class Picky(EventTarget):
        def deliver(self, event, attempt):
            if event.id == "bad":
                raise RuntimeError("oh")
            return super().deliver(event, attempt)

    memory.post([event("bad"), event("good")], ["desk"])
    with (
        serving() as desk,
        running(memory, {"desk": Picky("desk", desk.url, allow_private=True)}),
    ):
        delivered(memory, "good")
        until(lambda: status_of(memory, "bad").status == "given_up")
    assert status_of(memory, "bad").error == "it cannot be sent: RuntimeError oh"


def test_what_waited_long_for_a_dead_target_is_given_up_and_what_is_new_waits(memory):
    new = Event("new", "decisions", datetime.now(UTC), {})
    memory.post([*(event(f"old{k}") for k in range(5)), new], ["desk"])
    retries = Retries(first=0.001, longest=0.01, attempts=4)
    with (
        serving(*[500] * 9) as desk,
        running(memory, {"desk": target("desk", desk.url)}, retries=retries) as worker,
    ):
        until(lambda: worker.facts["desk"].given_up >= 5)
        delivered(memory, "new")
    assert sum(one.attempts for one in memory.deliveries(status=["given_up"])) <= 4 + 5
