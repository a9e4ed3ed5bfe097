"""Pages and people: who is let in where, what cookies are like, which forms count."""

import json
import re
import time
from urllib.parse import quote

import pytest

from http_client import JSON, SECRETS, START, Client, key, serving, settings
from mlma.web.forms import checked_form
from mlma.web.pages import ROUTERS
from mlma.web.refused import INTERRUPTED, LOGIN, LOGOUT
from mlma.web.routes import login
from people_at_desks import PASSWORDS, Browser, Trials, form, forms, user

USERS = (user("ann"), user("rob", "read"), user("eve", "admin"))
HOST = "http://mlma.example"
HOURS = 3600


class Desk:
    """An app with people, and what they sent to its page of trials."""

    def __init__(self, client, service):
        self.client, self.service, self.trials = client, service, Trials()
        client.app.include_router(self.trials.router)
        self.sessions = client.app.state.people.sessions
        self.begin()

    def begin(self):
        """Forget what was sent and tried; time is what it is, and stands still for guessers."""
        self.trials.sent.clear()
        self.sessions.clock = time.time
        self.client.app.state.attempts = login.Attempts(lambda: 0.0)

    def browser(self, name="", base=HOST, address="198.51.100.7"):
        client = Client(self.client.app, self.client._portal, base=base, address=address)
        made = Browser(client)
        if name:
            role = {one.name: one.role for one in USERS}[name]
            assert made.sign_in(name, PASSWORDS[role]).status_code == 303
        return made

    def passes(self, hours):
        now = time.time() + hours * HOURS
        self.sessions.clock = lambda: now


def desk_of(**asked):
    return serving(settings(**asked), base=HOST, address="198.51.100.7")


@pytest.fixture(scope="module")
def served():
    with desk_of(users=USERS, keys=True) as (client, service):
        yield Desk(client, service)


@pytest.fixture
def desk(served):
    served.begin()
    return served


def header(answer, name="set-cookie"):
    return answer.headers.get(name, "")


# Who is let in where.


@pytest.mark.parametrize(
    "path", ["/", "/fleet", "/trials?a=1&b=2", "/nothing", "/stream?unique_id=ä"]
)
def test_a_browser_that_is_not_signed_in_is_led_to_where_one_signs_in(desk, path):
    answer = desk.browser().get(path)
    assert answer.status_code == 303
    told = "/stream?unique_id=%C3%A4" if "ä" in path else path
    assert header(answer, "location") == f"/login?next={quote(told, safe='')}"


def test_a_program_without_a_key_is_told_so_in_a_document(desk):
    for path in ("/fleet", "/api/v1/streams", "/metrics"):
        answer = desk.client.get(path, headers={"Accept": "*/*"})
        assert answer.status_code == 401
        assert answer.json()["error"]["message"] == "This needs a key."
    assert desk.browser().get("/api/v1/streams").status_code == 401


def test_where_one_signs_in_and_how_it_looks_is_open(desk):
    assert desk.browser().get("/login").status_code == 200
    assert desk.browser().get("/static/mlma.css").status_code == 200
    assert desk.browser().get("/static/../app.py").status_code in {303, 404}


def test_the_address_of_the_server_leads_to_the_fleet(desk):
    answer = desk.browser("rob").get("/")
    assert (answer.status_code, header(answer, "location")) == (303, "/fleet")


def test_who_signed_in_is_led_to_where_they_wanted_to_go_and_is_known_there(desk):
    ann = desk.browser()
    asked = form(ann.get("/login?next=/trials%3Fa%3D1").text, "/login")
    fields = dict(asked.fields) | {"name": "ann", "password": PASSWORDS["engineer"]}
    answer = ann.post("/login", fields)
    assert (answer.status_code, header(answer, "location")) == (303, "/trials?a=1")
    assert "user:ann engineer" in ann.get("/trials").text
    assert header(ann.get("/login?next=/trials"), "location") == "/trials"


def test_a_session_opens_what_is_read_and_nothing_else_of_the_interface(desk):
    ann = desk.browser("ann")
    assert ann.get("/api/v1/streams?format=csv").status_code == 200
    assert ann.get("/metrics").status_code == 200
    answer = ann.post("/api/v1/cycle")
    assert answer.status_code == 403
    assert "X-CSRF-Token" in answer.json()["error"]["hint"]


def test_with_the_token_of_a_page_a_script_may_send(desk):
    ann, rob = desk.browser("ann"), desk.browser("rob")
    token = dict(form(ann.get("/trials").text, "/trials").fields)["csrf"]
    assert ann.post("/api/v1/cycle", X_CSRF_Token=token).status_code == 200
    for wrong in (
        "",
        "x",
        token[:-1],
        dict(form(rob.get("/trials").text, "/trials").fields)["csrf"],
    ):
        assert ann.post("/api/v1/cycle", X_CSRF_Token=wrong).status_code == 403


def test_a_key_needs_no_token_and_a_wrong_key_does_not_fall_back_on_a_session(desk):
    ann = desk.browser("ann")
    assert ann.post("/api/v1/cycle", **key("engineer")).status_code == 200
    assert ann.get("/api/v1/streams", X_API_Key="mlma_guess").status_code == 401
    assert ann.post("/api/v1/cycle", **key("read")).status_code == 403


def test_keys_open_pages_too_with_the_rights_of_their_role(desk):
    assert "key:key-admin admin" in desk.client.get("/trials", headers=key("admin")).text
    assert desk.client.get("/trials", headers=key("ingest")).status_code == 403
    sent = {"headers": key("engineer"), "data": {"note": "a"}}
    assert desk.client.post("/trials", **sent).status_code == 303
    assert desk.trials.sent == [("key:key-engineer", [("note", "a")])]


@pytest.mark.parametrize(("name", "status"), [("rob", 403), ("ann", 303), ("eve", 303)])
def test_who_only_looks_cannot_order(desk, name, status):
    person = desk.browser(name)
    fields = [*form(person.get("/trials").text, "/trials").fields]
    assert person.post("/trials", fields).status_code == status
    assert len(desk.trials.sent) == (status == 303)


def test_who_may_not_is_told_in_a_page_and_in_words(desk):
    answer = desk.browser("rob").post("/trials")
    assert answer.headers["content-type"].startswith("text/html")
    assert "it needs the right `engineer`" in answer.text


@pytest.mark.parametrize(("name", "status"), [("ann", 403), ("eve", 200)])
def test_the_clock_and_test_messages_take_an_admin(desk, name, status):
    person = desk.browser(name)
    token = dict(form(person.get("/trials").text, "/trials").fields)["csrf"]
    sent = {"headers": JSON | {"X-CSRF-Token": token}, "content": json.dumps({"now": str(START)})}
    sent["headers"] |= {"Cookie": "; ".join(f"{k}={v}" for k, v in person.cookies.items())}
    assert person.client.post("/api/v1/clock", **sent).status_code == status


def test_without_keys_and_users_this_machine_is_the_admin():
    with serving() as (client, service):
        desk = Desk(client, service)
        here = Browser(client)
        page = here.get("/trials")
        assert "address:127.0.0.1 admin" in page.text
        assert here.post("/trials", form(page.text, "/trials").fields).status_code == 303
        assert here.post("/trials", {"note": "without a token"}).status_code == 403
        assert len(desk.trials.sent) == 1
        assert header(here.get("/login?next=/trials"), "location") == "/trials"
        assert not here.cookies


@pytest.mark.parametrize("path", ["/fleet", "/login", "/static/mlma.css", "/trials", "/"])
def test_without_keys_and_users_no_page_is_open_to_others(path):
    with serving(settings(), address="198.51.100.7") as (client, service):
        Desk(client, service)
        assert client.get(path).status_code == 403
    with serving(settings()) as (client, service):
        Desk(client, service)
        answer = client.get(path, headers={"Host": "evil.example", "Accept": "text/html"})
        assert answer.status_code == 403


def test_with_keys_and_no_users_it_says_how_to_make_one():
    with desk_of(keys=True) as (client, service):
        somebody = Desk(client, service).browser()
        assert somebody.get("/fleet").status_code == 303
        page = somebody.get("/login")
        assert "mlma user NAME --role engineer" in page.text
        assert not [one for one in forms(page.text) if one.action == "/login"]
        assert somebody.sign_in().status_code == 401


# Passwords.


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong"),
        ("ann", ""),
        ("nobody", PASSWORDS["engineer"]),
        ("", ""),
        ("rob", PASSWORDS["engineer"]),
        ("<script>alert(1)</script>", "x"),
        ("a" * 10_000, "b" * 100_000),
        ("ann\x00", "\x00"),
    ],
)
def test_a_wrong_name_or_password_gets_one_answer_and_no_cookie(desk, name, password):
    somebody = desk.browser()
    answer = somebody.sign_in(name, password)
    assert answer.status_code == 401
    assert "Name or password is not right." in answer.text
    assert "<script>alert" not in answer.text
    assert not somebody.cookies
    assert dict(form(answer.text, "/login").fields)["password"] == ""
    assert dict(form(answer.text, "/login").fields)["next"] == "/fleet"


def test_guessing_is_slowed_down_at_an_address_and_others_still_come_in(desk):
    guesser = desk.browser(address="198.51.100.9")
    seen = [guesser.sign_in("nobody", f"guess {n}").status_code for n in range(12)]
    assert seen == [401] * 10 + [429] * 2
    refused = guesser.sign_in("ann")
    assert refused.status_code == 429
    assert int(header(refused, "retry-after")) >= 1
    assert "Too many wrong passwords" in refused.text
    desk.browser("ann")


def test_guessing_one_name_from_many_addresses_is_slowed_down_too(desk):
    seen = []
    for n in range(4):
        guesser = desk.browser(address=f"203.0.113.{n}")
        seen += [guesser.sign_in("ann", f"guess {n}").status_code for _ in range(8)]
    assert seen == [401] * 30 + [429] * 2
    desk.browser("rob")


def test_good_passwords_are_not_counted(desk):
    for _ in range(12):
        desk.browser("rob", address="198.51.100.10")


def test_no_password_and_no_cookie_is_logged_and_no_name_that_may_be_a_password(desk, caplog):
    caplog.set_level("DEBUG")
    ann = desk.browser("ann")
    ann.sign_in(PASSWORDS["admin"], "in the wrong field")
    ann.sign_in("ann", "a wrong one")
    ann.get("/trials")
    told = caplog.text + str([vars(record) for record in caplog.records])
    for secret in (*PASSWORDS.values(), "in the wrong field", "a wrong one", *ann.cookies.values()):
        assert secret not in told
    assert "a sign-in as ann from address:198.51.100.7 was refused" in caplog.text
    assert "a sign-in as a name that nobody has" in caplog.text


# Cookies and headers.


def test_the_cookie_is_kept_from_scripts_and_from_what_other_sites_post(desk):
    cookie = header(desk.browser().sign_in())
    assert re.fullmatch(
        r"mlma-[0-9a-f]{8}=[\w.-]+; Max-Age=43200; Path=/; HttpOnly; SameSite=Lax", cookie
    )


def test_over_an_encrypted_connection_the_cookie_is_for_such_only(desk):
    cookie = header(desk.browser(base="https://mlma.example").sign_in())
    assert cookie.startswith("__Host-mlma-")
    assert cookie.endswith("; SameSite=Lax; Secure")


def test_who_is_no_trusted_proxy_cannot_say_that_the_connection_is_encrypted(desk):
    cookie = header(desk.browser().sign_in(X_Forwarded_Proto="https"))
    assert "Secure" not in cookie
    assert "__Host" not in cookie


def test_forms_may_go_to_this_server_and_pages_are_kept_nowhere(desk):
    for path in ("/login", "/trials"):
        answer = desk.browser("ann").get(path)
        assert "form-action 'self'" in header(answer, "content-security-policy")
        assert "default-src 'self'" in header(answer, "content-security-policy")
        assert header(answer, "referrer-policy") == "same-origin"
        assert header(answer, "cache-control") == "no-store"


def test_a_session_that_is_used_lives_on_and_one_that_is_silent_ends(desk):
    ann = desk.browser("ann")
    first = dict(ann.cookies)
    assert not header(ann.get("/trials"))
    desk.passes(hours=11)
    assert header(ann.get("/trials"))
    assert ann.cookies != first
    desk.passes(hours=22)
    assert ann.get("/trials").status_code == 200
    desk.passes(hours=22 + 13)
    assert ann.get("/trials").status_code == 303


def test_signing_out_takes_the_token_of_a_page_and_drops_the_cookie(desk):
    ann = desk.browser("ann")
    assert ann.post("/logout").status_code == 403
    assert ann.post("/logout", {"csrf": "x"}).status_code == 403
    assert ann.get("/trials").status_code == 200
    answer = ann.post("/logout", form(ann.get("/trials").text, "/trials").fields)
    assert (answer.status_code, header(answer, "location")) == (303, "/login?out=1")
    assert not ann.cookies
    assert ann.get("/trials").status_code == 303
    assert "You are signed out." in ann.get("/login?out=1").text
    assert header(ann.post("/logout"), "location") == "/login"


@pytest.mark.parametrize("wrong", ["", "x", "a.b.c", "é", '"; Path=/', "x" * 5000])
def test_a_cookie_that_is_none_is_nobody(desk, wrong):
    name = desk.sessions.cookie_name(False)
    raw = f"{name}={wrong}".encode("latin-1")
    answer = desk.client.get("/trials", headers={"Cookie": raw, "Accept": "text/html"})
    assert answer.status_code == 303


# Where one may be led to.


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        " /fleet",
        "",
        "/login?next=/login",
        "/logout",
        "/" + "a" * 3000,
    ],
)
def test_signing_in_leads_to_no_other_place_than_a_page_of_ours(desk, to):
    somebody = desk.browser()
    assert header(somebody.sign_in(to=to), "location") == "/fleet"
    assert header(somebody.get(f"/login?next={quote(to)}"), "location") == "/fleet"


# Forms.


def test_a_form_without_its_token_is_refused_and_nothing_is_done(desk):
    ann, eve = desk.browser("ann"), desk.browser("eve")
    others = dict(form(eve.get("/trials").text, "/trials").fields)["csrf"]
    for wrong in (None, "", "x", others, "\ud83d", "0" * 129):
        fields = {"note": "a"} | (
            {} if wrong is None else {"csrf": wrong.encode("utf-8", "replace")}
        )
        answer = ann.post("/trials", fields)
        assert answer.status_code == 403
        assert "does not come from a page of yours" in answer.text
    assert not desk.trials.sent


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": HOST},
    ],
)
def test_a_form_of_another_site_is_refused_even_with_the_token(desk, headers):
    ann = desk.browser("ann")
    fields = form(ann.get("/trials").text, "/trials").fields
    assert ann.post("/trials", fields, **headers).status_code == 403
    assert desk.browser().sign_in(**headers).status_code == 403
    assert not desk.trials.sent


def test_behind_a_proxy_of_another_name_a_browser_says_that_the_form_is_ours(desk):
    ann = desk.browser("ann")
    fields = form(ann.get("/trials").text, "/trials").fields
    told = {"Sec_Fetch_Site": "same-origin", "Origin": "https://desk.example"}
    assert ann.post("/trials", fields, **told).status_code == 303


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("", b"csrf=a", 415),
        ("application/x-www-form-urlencoded", b"a=%ff", 400),
        ("application/x-www-form-urlencoded", "a=ä".encode(), 400),
        ("application/x-www-form-urlencoded", b"a&" * 30_000, 400),
        ("application/x-www-form-urlencoded", b"a=" + b"b" * (2 * 2**20), 413),
    ],
)
def test_what_is_no_form_is_refused(desk, kind, body, status):
    ann = desk.browser("ann")
    cookie = "; ".join(f"{name}={value}" for name, value in ann.cookies.items())
    headers = {"Content-Type": kind, "Cookie": cookie}
    assert desk.client.post("/trials", content=body, headers=headers).status_code == status


def test_who_is_not_known_cannot_send_more_than_a_form(desk):
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    body = b"a=" + b"b" * (9 * 2**20)
    for path in ("/login", "/trials", "/logout"):
        assert desk.client.post(path, content=body, headers=kind).status_code == 413
        chunks = iter([b"a=b"])  # which tells no length
        sent = desk.client.request("POST", path, content=_slowly(chunks), headers=kind)
        assert sent.status_code == 411
    assert desk.client.post("/api/v1/actuals", content=body).status_code == 401


async def _slowly(chunks):
    for chunk in chunks:
        yield chunk


def test_fields_of_one_name_stay_in_their_order_and_empty_ones_are_there(desk):
    ann = desk.browser("ann")
    sent = [("tag", "b=1"), ("note", ""), ("tag", "a=ü & <b>")]
    ann.post("/trials", [*form(ann.get("/trials").text, "/trials").fields[:1], *sent])
    assert desk.trials.sent == [("user:ann", sent)]


# A session that ends in the middle of a form.

TYPED = [("note", '<b>"50 %" & more</b>\nsecond line'), ("tag", "city=Gent"), ("tag", "é=ü")]


def test_a_form_of_who_was_signed_out_meanwhile_is_shown_again_and_sent_by_a_click(desk):
    ann = desk.browser("ann")
    fields = [*form(ann.get("/trials").text, "/trials").fields[:1], *TYPED]
    desk.passes(hours=13)
    door = ann.post("/trials?from=here", fields)
    assert door.status_code == 401
    assert "nothing is lost" in door.text
    assert not desk.trials.sent
    asked = dict(form(door.text, "/login").fields)
    wrong = ann.post("/login", asked | {"name": "ann", "password": "wrong"})
    asked = dict(form(wrong.text, "/login").fields)
    shown = ann.post("/login", asked | {"name": "ann", "password": PASSWORDS["engineer"]})
    assert shown.status_code == 200
    assert "<b>" not in shown.text
    assert not desk.trials.sent
    again = form(shown.text, "/trials?from=here")
    assert [pair for pair in again.fields if pair[0] != "csrf"] == TYPED
    assert ann.post(again.action, again.fields).status_code == 303
    assert desk.trials.sent == [("user:ann", TYPED)]


def test_a_form_from_before_signing_in_anew_elsewhere_is_shown_again(desk):
    ann = desk.browser("ann")
    old = [*form(ann.get("/trials").text, "/trials").fields[:1], *TYPED]
    ann.cookies.clear()
    ann.sign_in()
    shown = ann.post("/trials", old)
    assert shown.status_code == 409
    assert not desk.trials.sent
    again = form(shown.text, "/trials")
    assert ann.post(again.action, again.fields).status_code == 303
    assert desk.trials.sent == [("user:ann", TYPED)]


def test_another_person_may_send_a_form_that_was_kept_only_as_themselves(desk):
    ann = desk.browser("ann")
    old = form(ann.get("/trials").text, "/trials").fields
    ann.cookies.clear()
    asked = dict(form(ann.post("/trials", old).text, "/login").fields)
    shown = ann.post("/login", asked | {"name": "rob", "password": PASSWORDS["read"]})
    again = form(shown.text, "/trials")
    assert ann.post(again.action, again.fields).status_code == 403
    assert not desk.trials.sent


@pytest.mark.parametrize(
    ("to", "kept"),
    [
        ("//evil.example", '[["a", "b"]]'),
        ("https://evil.example/", '[["a", "b"]]'),
        ("/api/v1/cycle", '[["a", "b"]]'),
        ("/trials", "{"),
        ("/trials", '"abc"'),
        ("/trials", "[1]"),
        ("/trials", "3"),
        ("/trials", '[["a"]]'),
        ("/trials", "[" * 100_000),
    ],
)
def test_what_pretends_to_be_a_kept_form_is_dropped(desk, to, kept):
    fields = {"name": "ann", "password": PASSWORDS["engineer"], "next": to, "kept": kept}
    answer = desk.browser().post("/login", fields)
    assert answer.status_code == 303
    assert "evil" not in header(answer, "location")


def test_nobody_outside_reaches_the_page_that_keeps_forms(desk):
    ann = desk.browser("ann")
    assert ann.post(INTERRUPTED, {"a": "b"}).status_code == 404
    assert ann.get(INTERRUPTED).status_code == 405
    assert desk.browser().get(INTERRUPTED).status_code == 303


def test_names_of_people_cannot_hold_html():
    with pytest.raises(ValueError, match="letters, digits"):
        user("<b>ann</b>")


def test_every_form_of_a_page_checks_its_token(desk):
    routers = (login.router, *ROUTERS, desk.trials.router)
    routes = [route for router in routers for route in router.routes]
    posts = [route for route in routes if "POST" in route.methods]
    assert {LOGIN, LOGOUT, INTERRUPTED, "/trials"} <= {route.path for route in posts}
    for route in posts:
        checked = checked_form in {one.call for one in route.dependant.dependencies}
        assert checked or route.path in {LOGIN, LOGOUT, INTERRUPTED}, route.path


def test_no_secret_is_in_an_answer(desk):
    ann = desk.browser("ann")
    kept = desk.service.store.setting("session_secret")
    for path in ("/trials", "/api/v1/metrics", "/login"):
        told = ann.get(path)
        assert kept not in told.text + str(told.headers)
        assert all(secret not in told.text for secret in SECRETS.values())
