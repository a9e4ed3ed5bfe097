"""Attacks on a served desk: a hostile site in the same real browser, hostile bytes on the wire."""

import re
import shutil
import socket
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest

from hostile_worlds import NAMES, PAGES, USERS, flaws, hostile_store
from http_client import serving as calling
from http_client import settings
from live_server import serving
from mlma.service.tables import StoreTable
from people_at_desks import PASSWORDS
from postgres import database

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")

SITE = """<!doctype html><title>free cake</title>
<form id="a" method="post" action="{desk}/orders/freeze" target="one">
<input name="step" value="apply"><input name="search" value="1"></form>
<form id="b" method="post" action="{desk}/login" target="two">
<input name="name" value="ann"><input name="password" value="x"></form>
<form id="c" method="post" enctype="text/plain" action="{desk}/api/v1/actions" target="three">
<input name='{{"kind":"budget","per_cycle":0,"why":"' value='"}}'></form>
<iframe name="one"></iframe><iframe name="two"></iframe><iframe name="three"></iframe>
<iframe id="framed" src="{desk}/fleet"></iframe>
<img src="{desk}/streams?format=csv">
<script>
  window.told = [];
  const say = (what) => window.told.push(what);
  for (const id of ["a", "b", "c"]) document.getElementById(id).submit();
  const tries = [
    fetch("{desk}/api/v1/streams", {{credentials: "include"}}),
    fetch("{desk}/api/v1/cycle", {{method: "POST", mode: "no-cors", credentials: "include"}}),
    fetch("{desk}/api/v1/actions", {{method: "POST", credentials: "include",
      headers: {{"Content-Type": "application/json", "X-CSRF-Token": "x"}}, body: "{{}}"}}),
  ];
  Promise.allSettled(tries).then((all) => say(all.map((one) =>
    one.status === "rejected" ? "refused" : one.value.type).join(" ")));
  const opened = window.open("{desk}/fleet");
  setTimeout(() => {{
    let seen = "nothing";
    try {{ seen = opened.document.title; }} catch (error) {{ }}
    say("opened: " + (opened === null || opened.closed ? "nothing" : seen));
  }}, 1500);
</script>"""


class _Site(BaseHTTPRequestHandler):
    desk = ""

    def do_GET(self):
        body = SITE.format(desk=self.desk).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def hostile_site(desk):
    """Serve a page that tries what it can with the desk; it is of another site."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Site", (_Site,), {"desk": desk}))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@contextmanager
def served(folder, judged, **asked):
    path = folder / "store.db"
    shutil.copy(judged, path)
    told = settings(**asked).model_copy(update={"store": StoreTable(url=f"sqlite:///{path}")})
    with serving(told) as (service, client):
        yield service, str(client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    return hostile_store(tmp_path_factory)


@pytest.fixture
def locked(tmp_path, judged):
    with served(tmp_path, judged, keys=True, users=USERS) as lent:
        yield lent


@pytest.mark.browser
@pytest.mark.parametrize("people", [True, False], ids=["signed in", "open to this machine"])
def test_a_site_in_the_same_browser_gets_nothing_done_and_sees_nothing(
    browser, tmp_path, judged, people
):
    asked = {"keys": True, "users": USERS} if people else {}
    with served(tmp_path, judged, **asked) as (service, desk), hostile_site(desk) as site:
        before = (service.engineering.actions(), service.store.cycles(newest_first=True, limit=1))
        context = browser.new_context()
        if people:
            page = context.new_page()
            page.goto(f"{desk}/login")
            page.get_by_label("Name").fill("eve")
            page.get_by_label("Password").fill(PASSWORDS["admin"])
            page.get_by_role("button", name="Sign in").click()
            assert page.url.startswith(f"{desk}/fleet")
        trap = context.new_page()
        answers = {}
        trap.on("response", lambda one: answers.setdefault(urlsplit(one.url).path, one.status))
        trap.goto(site)
        trap.wait_for_function("window.told.length === 2", timeout=20_000)
        told = trap.evaluate("window.told")
        assert "refused refused refused" in told
        assert {"opened: nothing", "opened: "} & {*told}  # no title of a page of ours
        assert not _inside(trap, "framed")
        assert {answers.get(path, 403) for path in ("/orders/freeze", "/login", "/streams")} == {
            403
        }
        context.close()
        after = (service.engineering.actions(), service.store.cycles(newest_first=True, limit=1))
        assert after == before


def _inside(page, frame):
    """Whether a frame shows the desk."""
    shown = page.locator(f"#{frame}").element_handle().content_frame()
    return shown is not None and shown.locator("main").count() > 0


@pytest.mark.browser
def test_no_page_of_a_hostile_fleet_runs_or_loads_what_it_holds(browser, tmp_path, judged):
    with served(tmp_path, judged) as (_, desk):
        context = browser.new_context()
        page, heard = context.new_page(), []
        page.on("dialog", lambda one: heard.append(one.message))
        page.on("console", lambda one: heard.append(one.text))
        page.on("request", lambda one: None if one.url.startswith(desk) else heard.append(one.url))
        for path in PAGES:
            page.goto(f"{desk}{path}")
            assert page.locator("xss").count() == 0, path
            assert page.locator("main").count() == 1, path
            assert "mlma" in page.title()
        context.close()
        assert heard == []


def wire(desk, request):
    """Send bytes as they are; return the answer as text."""
    place = urlsplit(desk)
    with socket.create_connection((place.hostname, place.port), 10) as line:
        line.sendall(request)
        line.settimeout(10)
        parts = []
        while part := line.recv(65536):
            parts.append(part)
    return b"".join(parts).decode("latin-1")


GETS = (
    b"GET /login?next=/fleet%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: x\r\n",
    b"GET //evil.example/%2e%2e HTTP/1.1\r\nHost: x\r\n",
    b"GET /static/../app.py HTTP/1.1\r\nHost: x\r\n",
    b"GET /static/..%2f..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n",
    b"GET /fleet HTTP/1.1\r\nHost: [\r\n",
    b"GET /login HTTP/1.1\r\nHost: evil.example/?#\r\n",
    b"GET http://evil.example/fleet HTTP/1.1\r\nHost: evil.example\r\n",
    b"GET /fleet HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil\r\n",
    b"GET /fleet HTTP/1.1\r\nHost: x\r\nCookie: " + b"a=b; " * 3000 + b"\r\n",
    b"GET /fleet HTTP/1.1\r\nHost: x\r\nCookie: mlma-0=\xff\xfe; =; ;;\r\n",
    b"GET /fleet HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nX-Request-ID: a\x0bb\r\n",
    b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: \xb2\r\n",
    b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n",
    b"TRACE /fleet HTTP/1.1\r\nHost: x\r\n",
    b"DELETE /orders/freeze HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: POST\r\n",
)


@pytest.mark.parametrize("request_line", GETS, ids=range(len(GETS)))
def test_odd_bytes_on_the_wire_are_refused_or_led_to_the_sign_in(locked, request_line):
    _, desk = locked
    answer = wire(desk, request_line + b"Accept: text/html\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition("\r\n\r\n")
    status = int(head.split()[1])
    door = status == 200 and b"/login" in request_line  # it is open, and shows nothing
    assert door or status in {303, 400, 401, 403, 404, 405, 411, 413, 415, 431}, head
    lines = [line.lower() for line in head.splitlines()]
    assert not [line for line in lines if line.startswith("set-cookie")]
    assert not [line for line in lines if line.startswith("location") and "//" in line]
    for word in ("Traceback", "root:", "import ", 'File "'):
        assert word not in body
    assert flaws(body) == []


def test_names_of_streams_cannot_be_found_out_without_signing_in(locked):
    _, desk = locked
    told = set()
    for name in (NAMES[1], "nobody"):
        asked = f"GET /stream?unique_id={name} HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n"
        answer = wire(desk, f"{asked}Connection: close\r\n\r\n".encode())
        told.add(answer.split("\r\n")[0])
    assert told == {"HTTP/1.1 303 See Other"}


def test_an_id_that_no_database_takes_is_not_found_and_not_to_be_asked_for_again():
    html = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
    with database() as url:
        told = settings().model_copy(update={"store": StoreTable(url=url)})
        with calling(told) as (client, _):
            rows = [{"unique_id": "a", "ds": "2024-01-01T00:00:00", "y": 1.0}]
            assert client.post("/api/v1/actuals", json=rows).status_code == 201
            for odd in ("%00", "a%00", "x" * 3000, "%ED%A0%80"):
                for path in ("/incidents/{}", "/lab/{}", "/stream?unique_id={}"):
                    answer = client.get(path.format(odd), headers=html)
                    assert answer.status_code in {404, 422}, path
                for path in ("/api/v1/incidents/{}", "/api/v1/lab/{}"):
                    assert client.get(path.format(odd)).status_code in {404, 422}, path
                for path in ("/audit?stream={}", "/api/v1/actions?by={}", "/orders/event?event={}"):
                    assert client.get(path.format(odd)).status_code in {200, 422}, path
                for kind in ("acknowledge", "freeze", "event"):
                    asked = client.get(f"/orders/{kind}?incident={odd}", headers=html)
                    assert asked.status_code in {200, 422}, kind
                body = f"csrf={token_of(client)}&step=apply&incident={odd}"
                answer = client.post("/orders/resolve", content=body, headers=html)
                assert answer.status_code in {400, 422}


def token_of(client):
    page = client.get("/orders/retrain", headers={"Accept": "text/html"}).text
    return re.search(r'name="csrf" value="([^"]*)"', page)[1]
