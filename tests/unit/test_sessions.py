from datetime import timedelta

import pytest

from mlma.adapters.store import open_store
from mlma.service.sessions import LONGEST, SECRET, Sessions
from mlma.service.users import UserBook
from people_at_desks import PASSWORDS, user

ANN = user("ann", "engineer")
HOUR = timedelta(hours=1)


class Remembering(dict):
    """The part of a store that keeps the secret."""

    def setting(self, name):
        return self.get(name)

    def remember(self, name, value):
        self[name] = value


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now

    def passes(self, **length):
        self.now += timedelta(**length).total_seconds()


@pytest.fixture
def store():
    made = open_store("memory://")
    yield made
    made.close()


@pytest.fixture
def clock():
    return Clock()


def sessions(store, clock, *users, lifetime=HOUR):
    return Sessions(store, UserBook(users or (ANN,)), lifetime, clock)


@pytest.fixture
def made(store, clock):
    return sessions(store, clock)


def begun(made, name="ann"):
    return made.begin(made._users.user(name))


def test_a_cookie_tells_who_signed_in(made):
    session = begun(made)
    assert made.read(made.cookie(session)) == session


def test_two_servers_on_one_store_read_each_others_cookies(store, clock, made):
    other = sessions(store, clock)
    assert other.read(made.cookie(begun(made))).user.name == "ann"
    assert other.cookie_name(False) == made.cookie_name(False)


def test_a_server_on_another_store_reads_none_and_has_a_cookie_of_its_own(made, clock):
    other = sessions(Remembering(), clock)
    assert other.read(made.cookie(begun(made))) is None
    assert other.cookie_name(False) != made.cookie_name(False)


def test_two_servers_that_made_a_secret_at_once_agree_after_a_look(store, clock, made):
    made.refresh()
    store.remember(SECRET, "the secret of the one that was last")
    late = sessions(store, clock)
    cookie = late.cookie(begun(late))
    assert made.read(cookie) is None
    made.refresh()
    assert made.read(cookie) is not None


def test_the_secret_is_made_once_and_is_long(store, made):
    made.refresh()
    kept = store.setting(SECRET)
    made.refresh()
    assert store.setting(SECRET) == kept
    assert len(kept) >= 40


def test_a_session_is_over_after_so_long_a_silence_and_lives_on_when_it_is_used(made, clock):
    session = begun(made)
    cookie = made.cookie(session)
    clock.passes(minutes=59)
    session = made.read(cookie)
    assert made.wants_renewal(session)
    renewed = made.cookie(made.renewed(session))
    clock.passes(minutes=2)
    assert made.read(cookie) is None
    assert made.read(renewed).id == session.id


def test_a_cookie_is_not_written_anew_with_each_request(made, clock):
    session = begun(made)
    clock.passes(minutes=2)
    assert not made.wants_renewal(session)


def test_however_often_it_is_used_a_session_ends(store, clock):
    made = sessions(store, clock, lifetime=timedelta(days=20))
    session = begun(made)
    clock.passes(days=15)
    session = made.read(made.cookie(made.renewed(session)))
    assert made.seconds(session) == 15 * 86400
    clock.now = session.begun + LONGEST.total_seconds() + 1
    assert made.read(made.cookie(made.renewed(session))) is None


@pytest.mark.parametrize(
    "users",
    [
        (user("bob", "engineer"),),
        (user("ann", "admin", PASSWORDS["engineer"]),),
        (user("ann", "engineer", "another long word"),),
    ],
    ids=["removed", "of another role", "of another password"],
)
def test_who_was_removed_or_changed_is_signed_out(store, clock, made, users):
    cookie = made.cookie(begun(made))
    assert sessions(store, clock, *users).read(cookie) is None
    assert sessions(store, clock, user("bob", "read"), ANN).read(cookie) is not None


@pytest.mark.parametrize("wrong", ["", "a", "a.b.c", "....", "\udcff", "é" * 50, "x" * 10_000])
def test_what_is_no_cookie_is_nobody(made, wrong):
    assert made.read(wrong) is None


def test_a_cookie_that_was_changed_anywhere_is_nobody(made):
    cookie = made.cookie(begun(made))
    for at in range(0, len(cookie) - 1, 5):
        other = "A" if cookie[at] != "A" else "B"
        assert made.read(cookie[:at] + other + cookie[at + 1 :]) is None


def test_a_cookie_holds_nothing_of_the_hash_of_the_password(made):
    from itsdangerous.encoding import base64_decode

    told = base64_decode(made.cookie(begun(made)).partition(".")[0]).decode()
    kept = ANN.password_hash.get_secret_value()
    assert "ann" in told
    assert made._users.user("ann").mark[:12] not in told
    assert not any(part in told for part in kept.split("$") if len(part) > 5)


def test_the_token_of_a_form_is_that_of_its_session_and_person(made):
    token = made.token("user:ann", "s1")
    assert made.fits(token, "user:ann", "s1")
    for whose, number in (("user:ann", "s2"), ("user:bob", "s1"), ("open", "")):
        assert not made.fits(token, whose, number)
    assert made.fitted(token, "user:ann")
    assert not made.fitted(token, "user:bob")


def test_no_two_tokens_are_alike_and_no_part_of_one_fits_another(made):
    first, second = (made.token("user:ann", "s1") for _ in range(2))
    assert not {*first.split(".")} & {*second.split(".")}
    assert made.fits(first, "user:ann", "s1")
    assert made.fits(second, "user:ann", "s1")
    mixed = ".".join([first.split(".")[0], *second.split(".")[1:]])
    assert not made.fits(mixed, "user:ann", "s1")
    assert not made.fitted(mixed, "user:ann")
    assert not made.fits(f"{first.split('.')[0]}x.{first.split('.', 1)[1]}", "user:ann", "s1")


@pytest.mark.parametrize("wrong", ["", ".", "é", "\ud800", "0" * 64, "0" * 64 + "." + "0" * 64])
def test_what_is_no_token_fits_nobody(made, wrong):
    assert not made.fits(wrong, "user:ann", "s1")
    assert not made.fitted(wrong, "user:ann")


def test_a_cookie_for_encrypted_connections_cannot_be_set_by_a_neighbour(made):
    assert made.cookie_name(True).startswith("__Host-mlma-")
