"""People who sign in, for tests: entries of [[users]], and a browser that fills in forms."""

from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import escape

from mlma.service.entries import UserTable
from mlma.service.users import Cost, password_hash
from mlma.web.forms import CheckedForm, csrf_field
from mlma.web.people import AtPerson

CHEAP = Cost(n=2**14, r=8, p=1)
PASSWORDS = {role: f"a long word for {role}" for role in ("read", "engineer", "admin")}
_HASHES = {}


def user(name="ann", role="engineer", password=None):
    """An entry of [[users]]; the hash of a password is made once."""
    password = password or PASSWORDS[role]
    if password not in _HASHES:
        _HASHES[password] = password_hash(password, CHEAP)
    return UserTable(name=name, password_hash=_HASHES[password], role=role)


class Trials:
    """A page with a form, at ``/trials``, which keeps what was sent and by whom."""

    def __init__(self):
        self.sent, self.router = [], APIRouter()
        self.router.get("/trials")(self.page)
        self.router.post("/trials")(self.taken)

    async def page(self, request: Request, who: AtPerson):
        field = csrf_field(request)
        text = f'<p>{escape(who.who)} {who.role}</p><form method="post" action="/trials">{field}'
        return HTMLResponse(f'{text}<input name="note"></form>')

    async def taken(self, who: AtPerson, form: CheckedForm):
        self.sent.append((who.who, form.multi_items()))
        return RedirectResponse("/trials?done=1", 303)


class _Forms(HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms = []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag == "form":
            self.forms.append(SimpleNamespace(action=told.get("action", ""), fields=[]))
        elif tag == "input" and self.forms and told.get("name"):
            self.forms[-1].fields.append((told["name"], told.get("value") or ""))


def forms(page):
    """The forms of a page, each with its action and its fields."""
    parser = _Forms()
    parser.feed(page)
    return parser.forms


def form(page, action):
    """The one form of a page that goes to an address."""
    (found,) = (one for one in forms(page) if one.action == action)
    return found


class Browser:
    """A browser in one's hands: it keeps cookies, wants pages, and says whence its forms come."""

    def __init__(self, client):
        self.client, self.cookies = client, {}

    def get(self, path, **headers):
        return self._sent("GET", path, headers)

    def post(self, path, fields=(), **headers):
        pairs = list(fields.items()) if isinstance(fields, dict) else list(fields)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._sent("POST", path, kind | headers, content=urlencode(pairs))

    def sign_in(self, name="ann", password=PASSWORDS["engineer"], to="/fleet", **headers):
        return self.post("/login", {"name": name, "password": password, "next": to}, **headers)

    def _sent(self, method, path, headers, **body):
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        told = {"Accept": "text/html,*/*"} | ({"Cookie": cookie} if cookie else {}) | headers
        told = {name.replace("_", "-"): value for name, value in told.items()}
        answer = self.client.request(method, path, headers=told, follow_redirects=False, **body)
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0]
            self.cookies = {one: kept for one, kept in self.cookies.items() if one != name}
            if value:
                self.cookies[name] = value
        _own_cookies(self.client).clear()
        return answer


def _own_cookies(client):
    """The cookies that a client keeps by itself: here each browser keeps its own."""
    return client._client.cookies if hasattr(client, "app") else client.cookies
