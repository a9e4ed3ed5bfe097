"""People at a real server: they sign in, order, are interrupted, and leave.

One server on the loopback, reached as through a proxy of this machine; passwords, cookies and forms
are the real ones.
"""

import shutil
import time

import httpx
import pytest

from live_server import serving, settings_of
from people_at_desks import PASSWORDS, Browser, Trials, form, user

ANN, ROB = user("ann"), user("rob", "read")


def settings(url, *users):
    return settings_of(
        agent={"slot": "1h"},
        store={"url": url},
        clock={"kind": "simulated"},
        server={"session": "30m"},
        users=users,
    )


class Server:
    """A server, its page of trials, and the sessions that it knows."""

    def __init__(self):
        self.trials, self.client, self.app = Trials(), None, None

    def prepare(self, app):
        app.include_router(self.trials.router)
        self.app = app

    def passes(self, minutes):
        now = time.time() + 60 * minutes
        self.app.state.people.sessions.clock = lambda: now

    def browser(self):
        return Browser(self.client)


@pytest.fixture
def server(tmp_path):
    made = Server()
    with serving(settings(f"sqlite:///{tmp_path / 'a.db'}", ANN, ROB), made.prepare) as (_, client):
        made.client = client
        yield made


def test_a_day_of_an_engineer(server):
    ann = server.browser()
    door = ann.get("/trials?week=3")
    assert door.headers["location"] == "/login?next=%2Ftrials%3Fweek%3D3"
    page = ann.get(door.headers["location"]).text
    fields = dict(form(page, "/login").fields)
    refused = ann.post("/login", fields | {"name": "ann", "password": "not that one"})
    assert refused.status_code == 401
    fields = dict(form(refused.text, "/login").fields)
    assert fields["name"] == "ann"
    led = ann.post("/login", fields | {"name": "ann", "password": PASSWORDS["engineer"]})
    assert led.headers["location"] == "/trials?week=3"
    page = ann.get("/trials?week=3").text
    typed = [*form(page, "/trials").fields[:1], ("note", "a long thought\nof two lines")]
    server.passes(minutes=31)
    kept = ann.post("/trials?week=3", typed)
    assert kept.status_code == 401
    fields = dict(form(kept.text, "/login").fields)
    shown = ann.post("/login", fields | {"name": "ann", "password": PASSWORDS["engineer"]})
    assert server.trials.sent == []
    again = form(shown.text, "/trials?week=3")
    assert ann.post(again.action, again.fields).status_code == 303
    assert server.trials.sent == [("user:ann", [("note", "a long thought\nof two lines")])]
    out = ann.post("/logout", form(ann.get("/trials").text, "/trials").fields[:1])
    assert out.headers["location"] == "/login?out=1"
    assert ann.get("/trials").status_code == 303


def test_who_reads_sees_and_cannot_order(server):
    rob = server.browser()
    rob.sign_in("rob", PASSWORDS["read"])
    page = rob.get("/trials")
    assert page.status_code == 200
    assert rob.get("/api/v1/streams").status_code == 200
    assert rob.post("/trials", form(page.text, "/trials").fields).status_code == 403
    assert server.trials.sent == []


def test_a_proxy_of_this_machine_says_that_the_connection_is_encrypted(server):
    ann = server.browser()
    through = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "198.51.100.7"}
    cookie = ann.sign_in(**through).headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert cookie.endswith("Secure")
    assert ann.get("/trials", **through).status_code == 200
    assert ann.get("/trials").status_code == 303


def test_guessing_through_a_proxy_slows_down_who_guesses(server):
    guesser, ann = server.browser(), server.browser()
    seen = [
        guesser.sign_in("ann", f"guess {n}", X_Forwarded_For="198.51.100.7").status_code
        for n in range(11)
    ]
    assert seen == [401] * 10 + [429]
    assert ann.sign_in(X_Forwarded_For="198.51.100.8").status_code == 303


def test_a_restart_signs_nobody_out_but_who_was_removed_or_changed(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    eve = user("eve", "read", "another long word")
    first, second = Server(), Server()
    with serving(settings(url, ANN, ROB, eve), first.prepare) as (_, client):
        first.client = client
        ann, rob, eves = (first.browser() for _ in range(3))
        ann.sign_in("ann", PASSWORDS["engineer"])
        rob.sign_in("rob", PASSWORDS["read"])
        eves.sign_in("eve", "another long word")
        assert [one.get("/trials").status_code for one in (ann, rob, eves)] == [200] * 3
    changed = settings(url, ANN, user("eve", "read", "a new long word"))
    with serving(changed, second.prepare) as (_, client):
        for one in (ann, rob, eves):
            one.client = client
        assert [one.get("/trials").status_code for one in (ann, rob, eves)] == [200, 303, 303]


def test_many_who_sign_in_at_once_all_come_in(server):
    from stores import together

    base = str(server.client.base_url)

    def signs_in(n):
        with httpx.Client(base_url=base, timeout=30) as client:
            through = {"X_Forwarded_For": f"198.51.100.{n}"}
            return Browser(client).sign_in(**through).status_code

    assert together(*(lambda n=n: signs_in(n) for n in range(8))) == [303] * 8


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.fixture
def window():
    """A window of a real browser, without scripts, and the headers of what it posted."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        started = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = started.new_context(java_script_enabled=False).new_page()
        posted = []
        page.on("request", lambda one: posted.append(one) if one.method == "POST" else None)
        yield page, posted
        started.close()


@pytest.mark.browser
def test_a_real_browser_signs_in_is_interrupted_and_leaves_by_keyboard(server, window):
    page, posted = window
    base = str(server.client.base_url).rstrip("/")

    def signs_in():
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").focus()
        page.keyboard.type(PASSWORDS["engineer"])
        page.keyboard.press("Enter")

    def notes(text):
        page.locator("input[name=note]").fill(text)
        page.locator("input[name=note]").press("Enter")

    page.goto(f"{base}/trials")
    assert page.title() == "Sign in · mlma"
    signs_in()
    page.wait_for_url("**/trials")
    notes("first")
    page.wait_for_url("**/trials?done=1")
    server.passes(minutes=31)
    notes("second <b>")
    page.get_by_text("nothing is lost").wait_for()
    assert len(server.trials.sent) == 1
    signs_in()
    page.get_by_role("button", name="Send it again").press("Enter")
    page.wait_for_url("**/trials?done=1")
    assert [pairs for _, pairs in server.trials.sent] == [
        [("note", "first")],
        [("note", "second <b>")],
    ]
    page.goto(f"{base}/nothing")
    page.get_by_role("button", name="Sign out").press("Enter")
    page.get_by_text("You are signed out").wait_for()
    assert page.goto(f"{base}/trials").url.endswith("/login?next=%2Ftrials")
    assert {one.all_headers().get("origin") for one in posted} == {base}
    assert not page.context.cookies()
