"""A fleet of nine days, and a browser that looks at its pages; each test has its own copy."""

import re
import shutil
from contextlib import contextmanager
from datetime import timedelta
from html import unescape

from http_client import START, lived, serving, settings
from mlma.domain.incidents import Incident
from mlma.domain.ledger import Action
from mlma.service.entries import KeyTable
from mlma.service.keys import key_hash
from mlma.service.tables import StoreTable
from people_at_desks import Browser

DAYS = 9
NAMES = ("bike 1", "bike 2", "scooter 1", "scooter 2", "<b>car</b> & 1", "=car 2")
EVIL = "<script>alert(1)</script>"
CITY = {name: ("Ghent", "Bruges", f"<i>{EVIL}</i>")[at % 3] for at, name in enumerate(NAMES)}
NOW = START + timedelta(days=DAYS, hours=1)
SHOCK, STUCK, DEAD, OVER = "a1" * 16, "b2" * 16, "c3" * 16, "d4" * 16


def day(number, hours=0):
    return START + timedelta(days=number, hours=hours)


def incidents():
    """One incident of each fate; the largest stake is not the newest."""
    told = {
        "opened_cycle": 8,
        "opened_at": day(8),
        "updated_cycle": 9,
        "done": "Re-trained one of them.",
        "advice": "Look at what they share.",
    }
    cause = f"The losses of 2 streams of city=Ghent rose together: {EVIL}."
    return [
        Incident(
            SHOCK, "group", "city=Ghent", "open", streams=2, members=(0, 3), stake=41.0,
            effect=0.34, cause=cause, suggests=("event", "label"), evidence={"p_value": 1e-6},
            **told,
        ),
        Incident(
            STUCK, "model", "bike 2", "open", streams=1, members=(1,), stake=12.0, effect=1.9,
            cause="Three re-trainings of bike 2 did not help.", suggests=("pin", "policy"),
            **told | {"opened_cycle": 9, "opened_at": day(9)},
        ),
        Incident(
            DEAD, "data", "2 streams", "snoozed", streams=2, members=(2, 4),
            cause="No actuals came for 2 days.", snoozed_until=day(12), **told,
        ),
        Incident(
            OVER, "fleet", "fleet", "resolved", streams=6, members=tuple(range(6)),
            cause="All losses rose by 20 %.", closed_cycle=7, closed_at=day(7), closed_by="agent",
            **told | {"opened_cycle": 5, "opened_at": day(5), "updated_cycle": 6},
        ),
    ]  # fmt: skip


def settings_at(path, **more):
    return settings(**more).model_copy(update={"store": StoreTable(url=f"sqlite:///{path}")})


def written(path):
    """Write the store that all tests begin with."""
    with serving(settings_at(path)) as (client, service):
        client.post("/api/v1/tags", json={"tags": {"city": CITY}})
        lived(client, DAYS, NAMES, broken=NAMES[:1], since=7)
        told = Action("tags", {"tags": {}}, service.clock.now(), "cli:root")
        service.store.act([told], incidents=incidents())
    return path


_WRITTEN = []


def judged_store(tmp_path_factory):
    """The store that all tests begin with, written once in each process of tests."""
    if not _WRITTEN:
        _WRITTEN.append(written(tmp_path_factory.mktemp("desk") / "judged.db"))
    return _WRITTEN[0]


class Looker(Browser):
    """A browser that reads pages, and sends their forms as they stand or changed."""

    _token = ""

    def text(self, path, status=200, **headers):
        answer = self.get(path, **headers)
        assert answer.status_code == status, answer.text[:2000]
        return answer.text

    def csv(self, path):
        answer = self.get(path)
        assert answer.status_code == 200, answer.text[:500]
        assert answer.headers["content-type"].startswith("text/csv")
        return answer.text

    def token(self):
        self._token = self._token or self._fresh_token()
        return self._token

    def _fresh_token(self):
        page = self.text("/orders/retrain")
        return re.search(r'name="csrf" value="([^"]*)"', page)[1]

    def order(self, kind, step="preview", **fields):
        """Send the form of an order."""
        pairs = [("csrf", self.token()), ("step", step)]
        for name, value in fields.items():
            pairs += [(name, str(one)) for one in (value if isinstance(value, list) else [value])]
        return self.post(f"/orders/{kind}", pairs)


def words(page):
    """The words of a page, as a person reads them."""
    body = re.sub(r"<[^>]*>", " ", page.partition("<main")[2])
    return re.sub(r"\s+", " ", unescape(body))


def typed(page):
    """What stands in the fields of the form of a page, by name."""
    form = page.partition('<form method="post" action="/orders/')[2].partition("</form>")[0]
    made = {}
    for tag in re.findall(r"<input [^>]*>", form):
        told = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        ticked = told.get("type") != "checkbox" or " checked" in tag
        if ticked and "name" in told:
            made[told["name"]] = unescape(told.get("value", ""))
    for name, text in re.findall(r'<textarea [^>]*name="(\w+)"[^>]*>(.*?)</textarea>', form, re.S):
        made[name] = unescape(text)
    for name, options in re.findall(r'<select [^>]*name="(\w+)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.search(r'value="([^"]*)" selected', options)
        made[name] = unescape(chosen[1]) if chosen else ""
    return made


@contextmanager
def desk(folder, judged, *, role=None, users=(), **more):
    """Lend a browser and the service behind it; ``role``: whose key the browser shows."""
    path = folder / "store.db"
    shutil.copy(judged, path)
    told = settings_at(path, **more).model_copy(update={"users": tuple(users)})
    headers = {}
    if role is not None:
        secret = f"mlma_{role}_{'y' * 32}"
        entry = KeyTable(name=f"a-{role}", hash=key_hash(secret), role=role)
        told = told.model_copy(update={"keys": (entry,)})
        headers = {"Authorization": f"Bearer {secret}"}
    with serving(told) as (client, service):
        yield _Keyed(client, headers), service


class _Keyed(Looker):
    def __init__(self, client, headers):
        super().__init__(client)
        self._headers = headers

    def _sent(self, method, path, headers, **body):
        return super()._sent(method, path, self._headers | headers, **body)
