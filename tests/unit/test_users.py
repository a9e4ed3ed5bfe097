import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from mlma.domain.errors import SettingsError
from mlma.service.entries import UserTable
from mlma.service.settings import Settings, read_settings
from mlma.service.users import (
    Cost,
    UserBook,
    check_password,
    checked_password_hash,
    password_hash,
)
from people_at_desks import CHEAP, PASSWORDS, user

ANN = user("ann", "engineer")
BOOK = UserBook([ANN, user("bob", "read")])
PLAIN = password_hash("a", CHEAP)


def test_who_shows_name_and_password_is_known():
    info = BOOK.signed_in("ann", PASSWORDS["engineer"])
    assert (info.name, info.role) == ("ann", "engineer")
    assert BOOK.user("ann") == info


@pytest.mark.parametrize("name", ["bob", "nobody", "", "ANN", "ann ", "ann\x00", "ä" * 1000])
def test_the_password_of_one_person_opens_nothing_for_another_name(name):
    assert BOOK.signed_in(name, PASSWORDS["engineer"]) is None


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=40))
def test_nothing_but_the_password_opens(told):
    assert BOOK.signed_in("ann", told) is None


@pytest.mark.parametrize("told", ["", PASSWORDS["engineer"] + " ", "\ud800", "x" * 10**6])
def test_what_is_no_password_is_refused_whatever_it_is(told):
    assert BOOK.signed_in("ann", told) is None


def test_a_letter_with_an_accent_is_the_same_however_a_keyboard_writes_it():
    book = UserBook([user("eve", "read", "caf\u00e9 au lait, please")])
    assert book.signed_in("eve", "cafe\u0301 au lait, please") is not None
    assert book.signed_in("eve", "cafe au lait, please") is None


def test_for_a_name_that_nobody_has_a_hash_of_the_same_cost_is_made(monkeypatch):
    from mlma.service import users

    made = []
    real = users.scrypt
    monkeypatch.setattr(
        users, "scrypt", lambda *a, **k: made.append((k["n"], k["p"])) or real(*a, **k)
    )
    compared = []
    digest = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(1) or digest(a, b))
    for name in ("ann", "nobody"):
        assert BOOK.signed_in(name, "wrong") is None
    assert made == [(CHEAP.n, CHEAP.p)] * 2
    assert len(compared) == 2


def test_no_two_hashes_of_a_password_are_the_same():
    assert password_hash("a", CHEAP) != PLAIN


def test_by_default_a_guess_is_dear():
    cost = Cost()
    assert cost.n * cost.r * 128 >= 32 * 2**20
    assert password_hash("a").startswith(f"scrypt${cost.n}${cost.r}${cost.p}$")


def changed(place, value):
    parts = PLAIN.split("$")
    parts[place] = value
    return "$".join(parts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "scrypt",
        "a long word",
        PLAIN.replace("scrypt", "sha256"),
        changed(1, "8192"),
        changed(1, "16385"),
        changed(1, str(2**40)),
        changed(1, "-16384"),
        changed(1, "n"),
        changed(2, "1"),
        changed(2, "1024"),
        changed(3, "0"),
        changed(3, "17"),
        changed(4, "00"),
        changed(4, "zz" * 16),
        changed(5, "00"),
        PLAIN + "$",
    ],
    ids=range(17),
)
def test_what_is_no_hash_or_a_weak_or_a_ruinous_one_is_refused_and_not_quoted(text):
    with pytest.raises(ValueError):  # noqa: PT011
        checked_password_hash(SecretStr(text))
    with pytest.raises(ValidationError, match="what `mlma user` printed") as caught:
        UserTable(name="ann", role="read", password_hash=text)
    assert not text or text not in str(caught.value)


def test_a_user_cannot_be_there_to_push_rows_only():
    with pytest.raises(ValidationError, match="role"):
        UserTable(name="ann", role="ingest", password_hash=PLAIN)


def test_two_users_of_one_name_are_refused():
    with pytest.raises(ValidationError, match=r"a name of its own for each of \[\[users"):
        Settings(users=(ANN, user("ann", "read")))


def test_users_come_from_the_environment_too_and_hashes_are_shown_nowhere():
    kept = f'[{{"name": "ann", "role": "admin", "password_hash": "{PLAIN}"}}]'
    read = read_settings(None, {"MLMA_USERS": kept})
    assert UserBook(read.users).signed_in("ann", "a").role == "admin"
    assert PLAIN not in repr(read) + str(read.users) + repr(UserBook(read.users))
    assert PLAIN not in repr(BOOK.user("ann"))


def test_the_mark_of_a_user_changes_with_role_and_password():
    marks = {
        UserBook([entry]).user("ann").mark
        for entry in (
            ANN,
            user("ann", "admin", PASSWORDS["engineer"]),
            user("ann", "engineer", "b"),
        )
    }
    assert len(marks) == 3


def test_an_agent_that_others_reach_needs_users_or_keys():
    with pytest.raises(SettingsError, match="no keys and no users"):
        Settings(server={"host": "0.0.0.0"}).check_exposed()
    Settings(server={"host": "0.0.0.0"}, users=(ANN,)).check_exposed()


@pytest.mark.parametrize("password", ["", "short", "x" * 257, "abababababababab"])
def test_a_password_that_can_be_guessed_is_refused_and_not_quoted(password):
    with pytest.raises(SettingsError, match="A password must") as caught:
        check_password(password)
    assert not password or password not in str(caught.value)


def test_a_long_password_is_taken():
    check_password("four words of chance")
