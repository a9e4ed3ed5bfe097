"""A fleet whose every name, tag, reason and error is written by an enemy, and who attacks it."""

import shutil
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from urllib.parse import quote

from desk_pages import Looker
from http_client import START, Client, lived, serving, settings
from mlma.domain.incidents import Incident
from mlma.domain.lab import LabRun
from mlma.domain.ledger import Action, Event
from mlma.service.entries import AlertTable
from mlma.service.tables import StoreTable
from people_at_desks import PASSWORDS, Browser, user

DAYS = 6
BAIT = "\"'><xss onxss=1>{{70077*3}}</title></textarea></svg><!--"
"""It opens a tag wherever something forgets to escape, in text, in an attribute or in a chart."""
NAMES = (BAIT, "javascript:alert(1)", "=cmd|' /C calc'!A0", "+1+1", "@SUM(1)", "-2+3", "\uff1d1+1")
SECRET = "s3cr3tword"
ALERT = f"json://desk:{SECRET}@127.0.0.1:9/{SECRET}?token={SECRET}"
INCIDENT, RUN, LOST = "e5" * 16, "badbadbadbad", "cafecafecafe"
HOST = "http://mlma.example"
USERS = (user("ann"), user("rob", "read"), user("eve", "admin"), user("bob"))
ROLES = {"ann": "engineer", "rob": "read", "eve": "admin", "bob": "engineer"}


def day(number, hours=0):
    return START + timedelta(days=number, hours=hours)


def hostile_incident():
    return Incident(
        INCIDENT, "group", f"city={BAIT}", "open", opened_cycle=5, opened_at=day(5),
        updated_cycle=6, streams=3, members=(0, 1, 2), stake=9.0, effect=0.5, cause=f"why {BAIT}",
        done=f"done {BAIT}", advice=f"advice {BAIT}", suggests=("label", "policy"),
        evidence={BAIT: BAIT, "p_value": 1e-6},
    )  # fmt: skip


def _orders():
    """Bodies of orders; each holds the bait wherever a person may write."""
    span = {"begins": day(1).isoformat(), "ends": day(40).isoformat()}
    event = {"name": BAIT, "type": "holiday", **span, "selector": {"unique_ids": [NAMES[0]]}}
    some = {"selector": {"unique_ids": list(NAMES[:2])}, "why": BAIT}
    return (
        {"kind": "event", "event": event, "why": BAIT},
        {"kind": "freeze", **some},
        {"kind": "pin", "selector": {"tags": [f"city={BAIT}"]}, "everything": True, "why": BAIT},
        {"kind": "plan", "at": day(30).isoformat(), **some},
        {"kind": "label", **span, "label": "one_off", **some},
        {"kind": "acknowledge", "incident": INCIDENT, "why": BAIT},
    )


def _written(path):
    told = settings().model_copy(update={"store": StoreTable(url=f"sqlite:///{path}")})
    with serving(told) as (client, service):
        tags = {"city": dict.fromkeys(NAMES, BAIT), BAIT.replace("=", ""): {NAMES[0]: BAIT}}
        made = client.post("/api/v1/tags", json={"tags": tags})
        assert made.status_code == 202, made.text
        lived(client, DAYS, NAMES, broken=NAMES[:1], since=4)
        now, store = service.clock.now(), service.store
        store.act(
            [Action("tags", {"tags": {}}, now, "cli:root", BAIT)], incidents=[hostile_incident()]
        )
        retrain = {"kind": "retrain", "selector": {"unique_ids": [NAMES[5]]}, "why": BAIT}
        assert client.post("/api/v1/actions", json=retrain).status_code == 201
        ids = [one.request.id for _, one in store.requests(status=("open",))]
        failed = {"unique_ids": [NAMES[5]], "status": "failed", "error": f"Traceback: {BAIT}"}
        made = client.post("/api/v1/models", json=failed | {"request": ids})
        assert made.status_code == 202, made.text
        for order in _orders():
            made = client.post("/api/v1/actions", json=order)
            assert made.status_code == 201, made.text
        live = {
            "unique_ids": list(NAMES[:2]),
            "status": "live",
            "why": BAIT,
            "artefacts": {NAMES[0]: BAIT},
        }
        made = client.post("/api/v1/models", json=live)
        assert made.status_code == 202, made.text
        assert client.post("/api/v1/cycle").status_code == 200  # labels and events judge anew
        lived(client, 1, NAMES, first=DAYS)
        store.put_lab_run(LabRun(RUN, now, "user:ann", BAIT, 3, status="failed", error=BAIT))
        run = LabRun(LOST, now, f"key:{BAIT}", f"mlma(level={BAIT})", None)
        store.put_lab_run(replace(run, status="done", progress=1.0))
        events = [Event("e" * 32, "test", now, {"by": BAIT})]
        store.post(events, ["alert:on-call"])
        for one in store.deliveries():
            store.told(replace(one, status="given_up", error=f"refused {BAIT}"))
    return path


_KEPT = []


def hostile_store(tmp_path_factory):
    """The store of all attacks, written once in each process of tests."""
    if not _KEPT:
        _KEPT.append(_written(tmp_path_factory.mktemp("hostile") / "hostile.db"))
    return _KEPT[0]


PAGES = (
    *("/fleet?weeks=all", "/streams", "/incidents?view=all", f"/incidents/{INCIDENT}"),
    *(f"/models?view={view}" for view in ("queue", "running", "history", "failures", "rollbacks")),
    *("/calendar?month=2024-01", "/lab", f"/lab/{RUN}", f"/lab/{LOST}", "/audit?of=all", "/alerts"),
    *(f"/stream?unique_id={quote(name)}" for name in NAMES),
    f"/streams?search={quote(BAIT)}",
    f"/alerts?sent={quote(BAIT)}",
)
SHEETS = (
    *("/fleet", "/streams", "/incidents?view=all", f"/incidents/{INCIDENT}", "/audit?of=all"),
    *(
        "/models?view=failures",
        "/models?view=queue",
        "/calendar",
        "/lab",
        f"/lab/{LOST}",
        "/alerts",
    ),
    *(f"/stream?unique_id={quote(name)}" for name in NAMES[:3]),
    *(f"/api/v1/{noun}" for noun in ("streams", "incidents", "actions", "requests", "deliveries")),
)


class Fortress:
    """An app with people and keys that is attacked; who signs in does it once."""

    def __init__(self, client, service):
        self.client, self.service = client, service
        self.sessions = client.app.state.people.sessions
        self._cookies = {}

    def browser(self, name="", base=HOST, address="198.51.100.7", kind=Looker):
        client = Client(self.client.app, self.client._portal, base=base, address=address)
        made = kind(client)
        if name and name not in self._cookies:
            assert Browser.sign_in(made, name, PASSWORDS[ROLES[name]]).status_code == 303
            self._cookies[name] = made.cookies
        made.cookies = dict(self._cookies.get(name, {}))
        return made

    def actions(self):
        return len(self.service.engineering.actions())


@contextmanager
def fortress(folder, judged, *, locked=True, **more):
    """Lend a desk on a copy of the hostile store."""
    path = folder / "store.db"
    shutil.copy(judged, path)
    asked = {"keys": True, "users": USERS} if locked else {}
    told = settings(**asked, **more)
    alert = AlertTable(name="on-call", url=ALERT, quiet="22:00-07:00")
    told = told.model_copy(
        update={"store": StoreTable(url=f"sqlite:///{path}"), "alerts": (alert,)}
    )
    place = {"base": HOST, "address": "198.51.100.7"} if locked else {}
    with serving(told, **place) as (client, service):
        yield Fortress(client, service)


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.comments = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_comment(self, data):
        self.comments.append(data)


def flaws(page):
    """What a page should not hold: tags and handlers of the enemy, scripts, odd addresses."""
    seen = _Tags()
    seen.feed(page)
    made = [tag for tag in seen.tags if tag in {"xss", "script", "iframe", "object", "base"}]
    made += [f"{tag} {name}" for tag, name, _ in seen.attributes if name.startswith("on")]
    made += ["comment"] if seen.comments else []
    for tag, name, value in seen.attributes:
        if name == "style":
            made.append(f"{tag} style")
        if name in {"href", "src", "action", "formaction", "xlink:href"} and not (
            value.startswith(("/", "#", "?")) and not value.startswith("//")
        ):
            made.append(f"{tag} {name}={value[:60]}")
    return made + ["a template of theirs"] * ("210231" in page)
