"""Attacks on the pages, the sign-in, orders and alerts: by names, by forms, by a lower role."""

import csv
import io
import json
import time
from urllib.parse import quote

import pytest

from hostile_worlds import (
    ALERT,
    BAIT,
    HOST,
    INCIDENT,
    NAMES,
    PAGES,
    SECRET,
    SHEETS,
    day,
    flaws,
    fortress,
    hostile_store,
)
from http_client import JSON, SECRETS, Client, key
from mlma.domain.orders import ORDERS
from mlma.domain.selectors import Selector
from mlma.service import checks
from mlma.service.logs import logs
from mlma.web.forms import LARGEST, MOST_FIELDS
from mlma.web.guard import LARGE_PER_MINUTE
from mlma.web.pages.order_fields import FORMS
from mlma.web.refused import INTERRUPTED
from mlma.web.routes import lab, login
from people_at_desks import PASSWORDS, Browser, form

MOMENT = "2024-01-20T00:00:00Z"
NOBODY = {"unique_ids": [NAMES[3]]}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    return hostile_store(tmp_path_factory)


@pytest.fixture(scope="module")
def at(tmp_path_factory, judged):
    """One desk for all attacks that should change nothing."""
    with fortress(tmp_path_factory.mktemp("fortress"), judged) as lent:
        before = lent.actions()
        yield lent
        assert lent.actions() == before


@pytest.fixture
def own(tmp_path, judged):
    """A desk that an attack may change."""
    with fortress(tmp_path, judged) as lent:
        yield lent


@pytest.fixture(autouse=True)
def _patient(request):
    """Have nobody of an earlier test count as a guesser."""
    for name in {"at", "own"} & set(request.fixturenames):
        request.getfixturevalue(name).client.app.state.attempts = login.Attempts(lambda: 0.0)


# What others wrote.


def test_the_bait_is_seen_where_it_is_taken():
    assert set(flaws(f"<p>{BAIT}--></p>")) == {"xss", "xss onxss", "comment"}
    assert flaws('<a href="javascript:x">') == ["a href=javascript:x"]
    assert flaws("<p>210231") == ["a template of theirs"]


@pytest.mark.parametrize("path", PAGES)
def test_no_name_reason_or_error_becomes_a_part_of_a_page(at, path):
    page = at.browser("eve").text(path)
    assert flaws(page) == []
    assert SECRET not in page


def test_the_bait_is_on_the_pages_as_text(at):
    eve, bait = at.browser("eve"), "&lt;xss onxss=1&gt;"
    for path in (
        "/streams",
        "/audit",
        "/models?view=failures",
        "/alerts",
        f"/incidents/{INCIDENT}",
    ):
        assert bait in eve.text(path), path


@pytest.mark.parametrize("kind", FORMS)
def test_no_form_takes_a_part_of_its_address_for_html(at, kind):
    ann, told = at.browser("ann"), quote(BAIT)
    fields = "&".join(f"{name}={told}" for name in ("name", "policy", "tag", "search", "event"))
    more = f"why={told}&next={quote('/audit?by=' + BAIT)}&unique_id={told}&at={told}&until={told}"
    for asked in (f"incident={INCIDENT}&{more}", f"{fields}&{more}", f"cycle=5&action=3&{more}"):
        answer = ann.get(f"/orders/{kind}?{asked}")
        assert answer.status_code < 500
        assert flaws(answer.text) == []
    answer = ann.order(kind, **dict.fromkeys(("name", "tag", "policy", "why", "incident"), BAIT))
    assert answer.status_code < 500
    assert flaws(answer.text) == []


@pytest.mark.parametrize("path", SHEETS)
def test_no_cell_of_a_sheet_is_a_formula(at, path):
    asked = f"{path}{'&' if '?' in path else '?'}format=csv"
    answer = at.browser("eve").get(asked)
    assert answer.status_code == 200, answer.text
    for row in csv.reader(io.StringIO(answer.text)):
        for cell in row:
            text = cell.lstrip()
            odd = text[:1] in {*"=+@\uff1d"} or (text[:1] == "-" and not _number(text))
            assert not odd, (path, cell)


def _number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_no_header_is_split_by_where_one_wants_to_go(at):
    ann = at.browser("ann")
    for to in ("/fleet\r\nSet-Cookie: a=b", "/fleet%0d%0aSet-Cookie:%20a=b", "/\r\n\r\n<xss>"):
        for answer in (
            ann.order("acknowledge", next=to, incident="nothing"),
            ann.get(f"/login?next={quote(to)}"),
            at.browser().get(f"/login?next={quote(to)}"),
            Browser.sign_in(at.browser(), to=to),
        ):
            assert "a=b" not in answer.headers.get("set-cookie", "")
            assert "\n" not in answer.headers.get("location", "")
    answer = ann.get(f"/lab/{quote('a%0d%0ab')}?format=csv")
    assert answer.status_code == 404


def test_no_log_line_is_broken_or_made_by_what_somebody_sends(at, caplog):
    seen = io.StringIO()
    with logs("text", "debug", seen):
        somebody = at.browser()
        for name in ("ann\ntime=0 level=error event=made", "\x1b[31m", BAIT, "ann\r"):
            somebody.post("/login", {"name": name, "password": "wrong\nwords"})
            somebody.get(f"/{quote(name)}", User_Agent=BAIT, X_Request_ID="a b")
        at.browser("ann").get(f"/stream?unique_id={quote(NAMES[0] + chr(10))}")
    lines = seen.getvalue().splitlines()
    assert lines
    for line in lines:
        assert line.startswith("time="), line
        assert line.isprintable()
        assert "wrong" not in line
        assert "onxss" not in line


def test_the_address_of_an_alert_is_in_no_answer_of_any_kind(at):
    eve = at.browser("eve")
    for path in (
        *PAGES,
        *SHEETS,
        "/api/v1/deliveries",
        "/api/v1/metrics",
        "/openapi.json",
        "/docs",
    ):
        answer = eve.get(path)
        assert SECRET not in answer.text + str(answer.headers), path
    assert SECRET in ALERT


def test_the_doctor_tells_nothing_of_the_address_of_an_alert(at):
    told = list(checks.alerts(at.service.settings))
    assert [one for one in told if "on-call" in repr(one)]
    assert SECRET not in repr(told)


# Another site in the same browser.


def every_route(app):
    """All routes of an app, with their whole paths."""
    left = list(app.routes)
    while left:
        route = left.pop()
        if hasattr(route, "effective_candidates"):
            left += route.effective_candidates()
        else:
            yield from ((method, route.path) for method in sorted(route.methods))


POSTS = ("/orders/freeze", "/lab", f"/lab/{'0' * 12}/cancel", "/alerts", "/logout")


FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": f"{HOST}:81"},
    {"Origin": f"{HOST}.evil.example"},
    {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "cross-site", "Origin": HOST},
    {"Sec_Fetch_Site": "nonsense"},
)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_nothing_that_another_site_sends_counts_not_even_with_the_token(at, headers):
    eve = at.browser("eve")
    token = eve.token()
    posts = {path for method, path in every_route(at.client.app) if method == "POST"}
    assert len(posts) > 15
    for path in posts:
        answer = eve.post(_filled(path), {"csrf": token}, X_CSRF_Token=token, **headers)
        assert answer.status_code == 403, path
    assert Browser.sign_in(at.browser(), **headers).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"Sec_Fetch_Site": "none"}, {"Origin": HOST}], ids=str)
def test_the_cookie_alone_changes_nothing_wherever_it_seems_to_come_from(at, headers):
    eve, others = at.browser("eve"), at.browser("ann").token()
    posts = {path for method, path in every_route(at.client.app) if method == "POST"}
    assert {_bare(path) for path in POSTS} <= posts
    for path in posts - {"/login", INTERRUPTED}:
        for token in ({}, {"csrf": others}, {"csrf": ""}):
            told = {"X_CSRF_Token": token["csrf"]} if token else {}
            answer = eve.post(_filled(path), token, **headers, **told)
            assert answer.status_code == 403, path
    assert eve.text("/fleet")  # still signed in


def _bare(path):
    return path.replace("/freeze", "/{kind}").replace("0" * 12, "{id}")


def _filled(path):
    return path.replace("{kind}", "freeze").replace("{id}", "0" * 12).replace("{number}", "1")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "cors"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        *(
            (
                {
                    "Sec_Fetch_Site": "cross-site",
                    "Sec_Fetch_Mode": "navigate",
                    "Sec_Fetch_Dest": dest,
                },
                403,
            )
            for dest in ("iframe", "object", "embed")
        ),
        (
            {
                "Sec_Fetch_Site": "cross-site",
                "Sec_Fetch_Mode": "navigate",
                "Sec_Fetch_Dest": "document",
            },
            200,
        ),
        ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}, 200),
        ({"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate"}, 200),
        ({}, 200),
    ],
    ids=str,
)
def test_a_page_of_another_site_may_link_here_and_not_build_us_in(at, headers, status):
    eve = at.browser("eve")
    for path in ("/fleet", "/orders/freeze?unique_id=x", "/api/v1/streams", "/streams?format=csv"):
        assert eve.get(path, **headers).status_code in {status, 422 if status == 200 else status}


@pytest.mark.parametrize("path", [*PAGES[:12], "/login", "/nothing", "/api/v1/streams", "/logout"])
def test_what_holds_data_is_kept_nowhere_and_framed_by_nobody(at, path):
    for who in (at.browser("eve"), at.browser()):
        headers = who.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "host", ["[", "a/b?c", "a b", "evil.example", "127.0.0.1:99999999", "\xe9", "x" * 3000]
)
def test_whatever_host_a_request_names_no_page_leads_there_or_fails(at, host):
    ann = at.browser("ann")
    for path in ("/fleet", f"/stream?unique_id={quote(NAMES[1])}", "/api/v1/streams?limit=1"):
        answer = ann.get(path, Host=host.encode("latin-1"))
        assert answer.status_code == 200
        assert "evil.example" not in answer.text + str(answer.headers)
        assert path.startswith("/api/") or flaws(answer.text) == []
    assert at.browser().get("/login", Host=host.encode("latin-1")).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        *("../app.py", "..%2fapp.py", "%2e%2e/app.py", "..%5capp.py", "mlma.css%00", "", "."),
        *("/etc/passwd", "....//app.py", "mlma.css/../../app.py", "%252e%252e/app.py", "a" * 5000),
    ],
)
def test_no_way_of_writing_a_path_leads_out_of_the_static_files(at, name):
    answer = at.browser().get(f"/static/{name}")
    assert answer.status_code in {303, 404}
    assert "import" not in answer.text


# A colleague of a lower role.

READ, INGEST, ENGINEER, ADMIN, OPEN = "read", "ingest", "engineer", "admin", ""
HOLDERS = {
    READ: {"read", "engineer", "admin"},
    INGEST: {"ingest", "engineer", "admin"},
    ENGINEER: {"engineer", "admin"},
    ADMIN: {"admin"},
    OPEN: {"read", "ingest", "engineer", "admin"},
}
_API = "/api/v1"
RULES = {
    **dict.fromkeys((("GET", f"{_API}/{noun}") for noun in (
        *("streams", "evidence", "decisions", "incidents", "incidents/{id}", "models", "requests"),
        *("actions", "actions/{number}", "exclusions", "cycles", "deliveries", "metrics"),
        *("lab", "lab/{id}"),
    )), READ),
    **dict.fromkeys((("GET", f"/{noun}") for noun in (
        *("", "fleet", "streams", "stream", "incidents", "incidents/{id}", "models", "calendar"),
        *("lab", "lab/{id}", "audit", "metrics"),
    )), READ),
    **dict.fromkeys((("POST", f"{_API}/{noun}") for noun in (
        *("forecasts", "actuals", "benchmarks", "models"),
    )), INGEST),
    **dict.fromkeys((("POST", f"{_API}/{noun}") for noun in (
        *("actions", "actions/{number}/undo", "tags", "cycle", "lab", "lab/{id}/cancel"),
    )), ENGINEER),
    **dict.fromkeys((("POST", "/orders/{kind}"), ("GET", "/orders/{kind}"), ("POST", "/lab"),
                     ("POST", "/lab/{id}/cancel"), ("POST", INTERRUPTED)), ENGINEER),
    **dict.fromkeys((("POST", f"{_API}/{noun}") for noun in (
        *("clock", "webhooks/test", "alerts/test"),
    )), ADMIN),
    **dict.fromkeys((("GET", "/alerts"), ("POST", "/alerts")), ADMIN),
    **dict.fromkeys((("GET", path) for path in (
        *("/login", "/static/{name}", "/docs", "/docs.css", "/openapi.json", "/favicon.ico"),
        *("/health", "/ready"),
    )), OPEN),
    **dict.fromkeys((("POST", "/login"), ("POST", "/logout")), OPEN),
}  # fmt: skip


def test_every_route_has_a_rule(at):
    assert set(every_route(at.client.app)) == set(RULES)


@pytest.mark.parametrize(("method", "path"), RULES)
def test_each_route_opens_to_its_roles_and_to_no_others(at, method, path):
    rule, place = RULES[method, path], _filled(path)
    told = {"headers": {**JSON}, "content": "{"} if method == "POST" else {}
    for role in SECRETS:
        headers = told.get("headers", {}) | key(role)
        status = at.client.request(method, place, **told | {"headers": headers}).status_code
        assert (status == 403) == (role not in HOLDERS[rule]), (role, status)
        assert status < 500 or path == "/ready"
    nobody = at.client.request(method, place, **told).status_code
    assert (nobody == 401) == (rule != OPEN), nobody


@pytest.mark.parametrize(("method", "path"), RULES)
def test_who_signed_in_may_what_their_role_may(at, method, path):
    if path == "/logout":
        return
    rule, place = RULES[method, path], _filled(path)
    for name, role in (("rob", "read"), ("ann", "engineer"), ("eve", "admin")):
        who = at.browser(name)
        token = who.client.app.state.people.sessions.token(f"user:{name}", _number_of(at, who))
        if method == "GET":
            status = who.get(place).status_code
        else:
            fields = {"csrf": token, "step": "preview"}
            status = who.post(place, fields, X_CSRF_Token=token).status_code
        assert (status == 403) == (role not in HOLDERS[rule]), (role, status)


def _number_of(at, who):
    return at.sessions.read(next(iter(who.cookies.values()))).id


_SPAN = {"begins": "2024-01-02T00:00:00Z", "ends": "2024-01-03T00:00:00Z"}
_SOME = {"selector": NOBODY}
_ALL = {"selector": {}, "everything": True}
BODIES = {
    "retrain": _SOME, "plan": _SOME | {"at": MOMENT}, "freeze": _SOME, "unfreeze": _SOME,
    "budget": {"per_cycle": 3}, "event": {"event": {"name": "x", **_SPAN, "selector": NOBODY}},
    "cancel_event": {"event": "x"}, "pin": _SOME, "unpin": _SOME,
    "policy": _SOME | {"policy": "never"}, "roll_back": _SOME,
    "label": _SOME | _SPAN | {"label": "broken"},
    "overrule": _SOME | {"cycle": 5, "verdict": "healthy"}, "rejudge": {"cycle": 5},
    "undo": {"action": 3}, "snooze": {"incident": INCIDENT, "until": MOMENT},
    **{kind: {"incident": INCIDENT}
       for kind in ("acknowledge", "resolve", "reopen", "confirm", "deny")},
}  # fmt: skip


@pytest.mark.parametrize("kind", ORDERS)
def test_each_order_takes_its_role(at, kind):
    assert set(BODIES) == set(ORDERS)
    body = {"kind": kind, **BODIES[kind], "dry_run": True}
    told = {
        role: at.client.post("/api/v1/actions", json=body, headers=key(role)).status_code
        for role in SECRETS
    }
    for role, status in told.items():
        assert (status == 403) == (role not in HOLDERS[ADMIN if kind == "budget" else ENGINEER])
        assert status in {200, 403, 409, 422}
    if "selector" in body and kind != "event":
        whole = body | _ALL
        for role in ("engineer", "admin"):
            answer = at.client.post("/api/v1/actions", json=whole, headers=key(role))
            assert (answer.status_code == 403) == (kind == "policy" and role == "engineer")


def test_no_page_of_an_order_opens_to_who_only_reads(at):
    rob = at.browser("rob")
    token = at.sessions.token("user:rob", _number_of(at, rob))
    for kind in FORMS:
        assert rob.get(f"/orders/{kind}").status_code == 403
        for step in ("preview", "apply"):
            fields = {"csrf": token, "step": step, "unique_id": NAMES[3], "action": "3"}
            assert rob.post(f"/orders/{kind}", fields).status_code == 403


EVERYBODY = (
    {},
    {"tags": [], "search": "", "unique_ids": []},
    {"unique_ids": list(NAMES)},
    {"unique_ids": [*NAMES, *NAMES]},
    {"search": "1"} | {"unique_ids": list(NAMES)},
    {"tags": [f"city={BAIT}"]},
)


@pytest.mark.parametrize("selector", EVERYBODY, ids=range(len(EVERYBODY)))
def test_no_selector_is_a_way_for_an_engineer_to_the_policy_of_the_fleet(at, selector):
    body = {"kind": "policy", "policy": "never", "selector": selector}
    for told in ({"everything": True}, {}):
        for dry in (True, False):
            answer = at.client.post(
                "/api/v1/actions", json={**body, **told, "dry_run": dry}, headers=key("engineer")
            )
            few = selector.get("search") and not told  # names that hold a 1
            if not (few and answer.status_code == 200):
                assert answer.status_code in {403, 422}, answer.text
            if few:
                break
    fields = {"tag": selector.get("tags", []), "unique_id": selector.get("unique_ids", [])}
    for everything in ("", "1"):
        ann = at.browser("ann")
        if selector.get("search"):
            continue
        made = ann.order("policy", "apply", policy="never", everything=everything, **fields)
        assert made.status_code in {403, 422}, made.text
    standing = at.service.engineering.standing()
    assert (standing.fleet_policy, standing.budget) == ("", None)


def test_no_chain_of_undos_is_a_way_to_what_takes_an_admin(own):
    client, number = own.client, {}

    def give(role, **body):
        answer = client.post("/api/v1/actions", json=body, headers=key(role))
        return answer.json().get("action", answer.status_code)

    for name, body in {
        "budget": {"kind": "budget", "per_cycle": 3},
        "policy": {"kind": "policy", "policy": "never", **_ALL},
    }.items():
        number[name] = give("admin", **body)
        assert give("engineer", kind="undo", action=number[name]) == 403
        undone = give("admin", kind="undo", action=number[name])
        assert give("engineer", kind="undo", action=undone) == 403
        again = give("admin", kind="undo", action=undone)
        assert give("engineer", kind="undo", action=again) == 403
        path = f"/api/v1/actions/{again}/undo"
        assert client.post(path, json={}, headers=key("engineer")).status_code == 403
        made = own.browser("ann").order("undo", "apply", action=again)
        assert made.status_code in {403, 422}
        assert "concerns the whole fleet" in made.text
    assert give("engineer", kind="undo", action=again + 1) == 422  # of what is still to come
    assert own.service.engineering.standing().budget == 3


def test_an_undo_of_what_was_recorded_while_it_was_looked_at_is_refused(own, monkeypatch):
    desk = own.service.engineering
    coming = own.client.post(
        "/api/v1/actions", json={"kind": "budget", "per_cycle": 3}, headers=key("admin")
    ).json()["action"]
    known = desk.actions()[:-1]
    monkeypatch.setattr(desk, "actions", lambda: known)
    body = {"kind": "undo", "action": coming}
    answer = own.client.post("/api/v1/actions", json=body, headers=key("engineer"))
    assert answer.status_code == 409
    assert own.browser("ann").order("undo", "apply", action=coming).status_code == 409
    assert desk.standing().budget == 3


def test_neither_a_role_nor_a_name_can_be_written_into_a_cookie(at):
    rob = at.browser("rob")
    ((name, cookie),) = rob.cookies.items()
    from itsdangerous import URLSafeTimedSerializer

    told = at.sessions._serializer().loads(cookie)
    assert "read" not in json.dumps(told)
    for forged in (["eve", *told[1:]], [*told, "admin"], {"name": "eve"}, None, ["eve"]):
        for secret in ("", "secret", "mlma"):
            made = URLSafeTimedSerializer(secret, salt="mlma.session.1").dumps(forged)
            rob.cookies = {name: made}
            assert rob.get("/fleet").status_code == 303
    payload, *rest = cookie.split(".")
    rob.cookies = {name: ".".join([payload[:-2] + "AA", *rest])}
    assert rob.get("/fleet").status_code == 303


def test_a_session_cannot_be_fixed_before_the_sign_in(at):
    planted = at.browser("rob").cookies
    victim = at.browser()
    victim.cookies = dict(planted)
    Browser.sign_in(victim, "ann", PASSWORDS["engineer"])
    assert victim.cookies != planted
    assert _number_of(at, victim) not in str(planted)
    assert "ann" in str(at.sessions.read(next(iter(victim.cookies.values()))))
    thief = at.browser()
    thief.cookies = dict(planted)
    assert thief.get("/orders/freeze").status_code == 403  # still only who planted it


# Too much of everything.

ODD = ("\u00b2", "9" * 5000, "9" * 30, "-1", "1e9", "nan", "inf", "\0", "\u0661", "1_0", " ", "0x1")


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_a_number_that_is_none_is_refused_at_its_field_and_breaks_nothing(own, odd):
    ann, one = own.browser("ann"), {"unique_id": NAMES[3]}
    span = {"begins": "2024-01-02T00:00", "ends": "2024-01-03T00:00", "label": "one_off"}
    for kind, fields in (
        ("freeze", one | {"after": odd}),
        ("label", one | span | {"revision": f"{odd}:{odd}"}),
        ("label", one | span | {"revision": f"2:{odd}"}),
        ("acknowledge", {"incident": INCIDENT, "seen": odd}),
        ("acknowledge", {"incident": odd, "seen": "1"}),
        ("undo", {"action": odd}),
        ("rejudge", {"cycle": odd}),
        ("overrule", one | {"cycle": odd, "verdict": "healthy"}),
        ("overrule", one | {"cycle": "1", "verdict": odd, "revision": f"1:{odd}"}),
        ("roll_back", one | {"version": odd}),
        ("budget", {"per_cycle": odd}),
        ("event", one | {"name": odd, "id": odd, "counts": odd, "type": odd}),
        ("cancel_event", {"event": odd}),
        ("policy", one | {"policy": odd}),
        ("pin", {"tag": odd}),
        ("pin", one | {"why": odd}),
    ):
        for step in ("preview", "apply"):
            answer = ann.order(kind, step, **fields)
            assert answer.status_code in {200, 303, 403, 409, 422}, (kind, fields)
    for name in ("per_cycle", "first", "last", "level", "follow_ups", "false_retrainings"):
        fields = {"csrf": ann.token(), "policy": "mlma(level=0.01)", name: odd}
        assert ann.post("/lab", fields).status_code in {303, 422}, name
        own.service.lab.runs()


@pytest.mark.parametrize(
    "when",
    [
        *("0001-01-01T00:00", "9999-12-31T23:59", "9999-12-31T23:59-23:59", "2200-01-01"),
        *("1990-01-01T00:00+23:59", "2199-12-31T23:59-23:59", "0001-01-01T00:00+23:59"),
        *(
            "2024-02-30T00:00",
            "2024-01-01T25:00",
            "nan",
            "inf",
            "1e400",
            "now",
            "2024-01-01T00:00Zulu",
        ),
    ],
)
def test_a_time_that_is_none_here_or_in_utc_is_refused_by_page_and_request(at, when):
    ann = at.browser("ann")
    for kind, field in (
        ("plan", "at"),
        ("freeze", "until"),
        ("event", "begins"),
        ("label", "ends"),
    ):
        span = {"begins": "2024-01-02T00:00", "ends": "2199-01-01T00:00", "label": "one_off"}
        fields = span | {"unique_id": NAMES[3], "name": "x", "type": "other", "counts": "usual"}
        assert ann.order(kind, "apply", **fields | {field: when}).status_code == 422, kind
    body = {"kind": "plan", "selector": NOBODY, "at": when}
    answer = at.client.post("/api/v1/actions", json=body, headers=key("engineer"))
    assert answer.status_code == 422


@pytest.mark.parametrize("number", [2**31, 2**53, 10**6])
def test_a_list_that_is_asked_for_far_beyond_its_end_comes_at_once(at, number):
    eve, began = at.browser("eve"), time.perf_counter()
    for path in (
        *(f"/audit?before={number}", f"/audit?action={number}", f"/models?before={number}"),
        *(f"/models?view=history&before={number}", f"/models?after={number}"),
        *(f"/streams?page={min(number, 10**7)}", "/incidents?page=100000", f"/fleet?done={number}"),
    ):
        assert eve.get(path).status_code == 200, path
    assert time.perf_counter() - began < 5.0


def test_a_selector_of_very_many_parts_is_refused_before_anybody_is_looked_for(at):
    ann, began = at.browser("ann"), time.perf_counter()
    many = "\n".join(f"city={number}" for number in range(50_000))
    for fields in ({"tag": many}, {"search": "x" * 100_000}, {"tag": "a=" + "b" * 10_000}):
        assert ann.order("freeze", "preview", **fields).status_code == 422
    unknown = "\n".join(f"x{number}" for number in range(100_000))
    answer = ann.order("freeze", "preview", unique_id=unknown)
    assert answer.status_code == 422
    body = {"kind": "freeze", "selector": {"tags": ["a=b"] * 21}}
    assert at.client.post("/api/v1/actions", json=body, headers=key("admin")).status_code == 422
    body["selector"] = {"search": "x" * 201}
    assert at.client.post("/api/v1/actions", json=body, headers=key("admin")).status_code == 422
    assert time.perf_counter() - began < 10.0


def test_a_form_of_very_many_fields_or_bytes_is_refused(at):
    ann = at.browser("ann")
    token = ("csrf", ann.token())
    assert ann.post("/orders/freeze", [token] + [("a", "")] * MOST_FIELDS).status_code == 400
    assert ann.post("/orders/freeze", [token, ("why", "x" * LARGEST)]).status_code == 413
    answer = ann.order("freeze", "apply", unique_id=NAMES[3], why="x" * 2_001)
    assert answer.status_code == 422
    assert "at most 2000 letters" in answer.text


def test_a_deep_document_is_refused(at):
    for body in (
        "[" * 200_000,
        '{"kind":' * 50_000,
        '{"kind": "freeze", "selector": ' + "[" * 9999,
    ):
        answer = at.client.post("/api/v1/actions", content=body, headers=key("admin") | JSON)
        assert answer.status_code in {400, 422}


def test_what_is_no_number_for_a_computer_is_refused_in_documents(at):
    for text in ("NaN", "Infinity", "1e999", str(2**63), "-0.5", '"1"', "true", "[]"):
        for body in (
            f'{{"kind": "budget", "per_cycle": {text}}}',
            f'{{"kind": "undo", "action": {text}}}',
            f'{{"kind": "acknowledge", "incident": "x", "seen": {text}}}',
            f'{{"kind": "label", "selector": {{}}, "label": "broken", "begins": {text}}}',
        ):
            answer = at.client.post("/api/v1/actions", content=body, headers=key("admin") | JSON)
            assert answer.status_code == 422, (text, body)


def test_a_reason_holds_no_control_characters(at):
    body = {"kind": "freeze", "selector": NOBODY}
    for why in ("a\0b", "\x1b[31m", "\x7f", "\ud800", "x" * 10_001):
        answer = at.client.post(
            "/api/v1/actions", content=json.dumps(body | {"why": why}), headers=key("admin") | JSON
        )
        assert answer.status_code == 422, why


def test_trials_of_the_lab_do_not_pile_up_without_end(own):
    ann, asked = own.browser("ann"), {"policy": "mlma(level=0.02)"}
    for _ in range(lab.MOST_WAITING):
        made = own.client.post("/api/v1/lab", json=asked, headers=key("engineer"))
        assert made.status_code == 202
    refused = own.client.post("/api/v1/lab", json=asked, headers=key("admin"))
    assert refused.status_code == 409
    assert "wait to be played" in refused.text
    page = ann.post("/lab", {"csrf": ann.token(), **asked})
    assert page.status_code == 409
    assert "wait to be played" in page.text
    assert asked["policy"] in page.text  # nothing of what was typed is lost
    ann.post(f"/lab/{made.json()['id']}/cancel", {"csrf": ann.token()})
    assert ann.post("/lab", {"csrf": ann.token(), **asked}).status_code == 303


# Forms that are kept.


def _kept(at, to, fields):
    who = at.browser()
    sent = {"name": "ann", "password": PASSWORDS["engineer"], "next": to}
    return who.post("/login", sent | {"kept": json.dumps(fields)})


@pytest.mark.parametrize(
    "to",
    ["/login", "/logout", "/login?next=/fleet", "/api/v1/cycle", "//evil.example", "/static/x"],
)
def test_no_form_is_kept_for_what_is_no_page_with_forms(at, to):
    assert _kept(at, to, [["name", "mallory"]]).status_code == 303


def test_a_kept_form_is_escaped_bounded_and_carries_no_token_of_its_own(at):
    shown = _kept(at, "/orders/freeze", [["csrf", "mine"], [BAIT, BAIT], ["step", "apply"]])
    assert shown.status_code == 200
    assert flaws(shown.text) == []
    fields = form(shown.text, "/orders/freeze").fields
    assert [name for name, _ in fields].count("csrf") == 1
    assert ("csrf", "mine") not in fields
    assert "http-equiv" not in shown.text  # nothing sends it by itself
    many = _kept(at, "/orders/freeze", [["a", "b"]] * (MOST_FIELDS + 1))
    assert many.status_code == 303


def test_who_is_not_signed_in_may_not_have_large_forms_kept_without_end(at):
    stranger = Browser(Client(at.client.app, at.client._portal, base=HOST, address="203.0.113.9"))
    large = {"why": "x" * 70_000}
    told = [stranger.post("/orders/freeze", large).status_code for _ in range(LARGE_PER_MINUTE + 1)]
    assert told[-1] == 429
    assert set(told[:-1]) == {401}
    assert stranger.post("/orders/freeze", {"why": "x"}).status_code == 401
    assert Browser.sign_in(stranger).status_code == 303


def test_a_page_that_fails_tells_nothing_of_its_inside(own, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError(f"inside {SECRET}")

    monkeypatch.setattr(own.service.lab, "runs", broken)
    for who in (own.browser("eve"),):
        answer = who.get("/lab")
        assert answer.status_code == 500
        assert SECRET not in answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["x-request-id"] in answer.text


def test_a_search_of_two_hundred_letters_in_a_hundred_thousand_names_is_quick():
    names = [f"shop {number:06d} {'x' * 40}" for number in range(100_000)]
    began = time.perf_counter()
    assert not Selector(search="x" * 199 + "y").mask(names, {}).any()
    assert time.perf_counter() - began < 3.0


def test_days_of_the_world_are_what_they_seem():
    assert day(1).isoformat() == "2024-01-02T00:00:00+00:00"
