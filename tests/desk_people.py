"""A person in front of a real browser: signs in, reads, presses keys; without scripts, as at work.

What the browser complains about is kept, and so are the pages that were looked at: `barriers`
checks them afterwards.
"""

import re
import shutil
from contextlib import contextmanager

import pytest

from people_at_desks import PASSWORDS

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
GRAVE = {"serious", "critical"}
GRAVELY = {"resultTypes": ["violations"]}
AT_NIGHT = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
REFUSED = "Failed to load resource: the server responded with a status of 4"
"""What a browser says of a page that was refused; the page itself says why."""


@contextmanager
def chromium():
    """Lend the browser of this machine; skip where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


class Person:
    """Somebody at a desk.

    page
        the page in front of them.
    seen
        address and text of each page that they looked at, by what kind of page it is.
    heard
        what the browser complained about, and what it asked of other hosts.
    """

    def __init__(self, browser, base):
        self.browser, self.base = browser, base
        self.context = browser.new_context(base_url=base, java_script_enabled=False)
        self.context.set_default_timeout(15_000)
        self.page, self.seen, self.heard = self.context.new_page(), {}, []
        self.page.on("console", lambda said: self._hears(said.text))
        self.page.on("pageerror", lambda error: self._hears(str(error)))
        self.page.on("request", lambda one: self._asks(one.url))

    def _hears(self, text):
        if not text.startswith(REFUSED):
            self.heard.append(text)

    def _asks(self, url):
        if not url.startswith((self.base + "/", "data:")):
            self.heard.append(url)

    # Reading

    @property
    def main(self):
        return self.page.locator("main")

    @property
    def words(self):
        """The words of the page, as they are read."""
        return re.sub(r"\s+", " ", self.main.inner_text())

    @property
    def heading(self):
        return self.page.get_by_role("heading", level=1).inner_text()

    def button(self, name, **more):
        return self.page.get_by_role("button", name=name, **more)

    def link(self, name, **more):
        return self.page.get_by_role("link", name=name, **more)

    def field(self, name):
        return self.page.get_by_label(name, exact=True)

    def figure(self, name):
        """A key figure, as it is read."""
        term = self.page.locator("dl.figures .figure").filter(
            has=self.page.locator(f"dt:text-is('{name}')")
        )
        return term.locator("dd.value").inner_text().replace("\N{NO-BREAK SPACE}", " ")

    def table(self, caption):
        """Rows of a table, each the words of its cells."""
        rows = self.page.get_by_role("table", name=caption).locator("tbody tr").all()
        return [[cell.strip() for cell in row.locator("th, td").all_inner_texts()] for row in rows]

    # Doing

    def signs_in(self, name, role="engineer", to="/fleet"):
        self.goes(to)
        assert self.heading == "Sign in"
        return self.gives_password(name, role)

    def gives_password(self, name, role="engineer"):
        self.field("Name").fill(name)
        self.field("Password").fill(PASSWORDS[role])
        return self.presses(self.button("Sign in"))

    def goes(self, path):
        self.page.goto(path)
        return self.reads()

    def presses(self, what, key="Enter"):
        """Press a key on something that leads to another page."""
        what.focus()
        with self.page.expect_navigation():
            self.page.keyboard.press(key)
        return self.reads()

    def follows(self, name, **more):
        return self.presses(self.link(name, **more).first)

    def opens(self, name):
        """Open something that is folded."""
        folded = self.page.locator("summary").filter(has_text=name)
        folded.focus()
        self.page.keyboard.press("Enter")

    def tabs_to(self, what, most=200):
        """Press the tabulator until something has the focus."""
        for _ in range(most):
            self.page.keyboard.press("Tab")
            if what.and_(self.page.locator(":focus")).count():
                return
        raise AssertionError(f"the keyboard does not lead to {what}")

    def tabs_and_presses(self, what, key="Enter"):
        """Go somewhere with the tabulator, and press a key there."""
        self.tabs_to(what)
        with self.page.expect_navigation():
            self.page.keyboard.press(key)
        return self.reads()

    def types_moment(self, name, at):
        """Type a date into a field, as the keys of this browser take it: month, day, year."""
        field = self.field(name)
        self.tabs_to(field)
        self.page.keyboard.type(f"{at:%m%d%Y}")
        self.page.keyboard.press("ArrowRight")
        self.page.keyboard.type(f"{at:%I%M%p}")
        if field.input_value() != (told := f"{at:%Y-%m-%dT%H:%M}"):
            field.fill(told)  # a browser of a country that writes dates in another order

    def downloads(self, link):
        """Press a link to a file; return its lines."""
        link.focus()
        with self.page.expect_download() as came:
            self.page.keyboard.press("Enter")
        return came.value.path().read_text("utf-8").splitlines()

    def reads(self):
        """Look at the page that is there now."""
        self.page.wait_for_load_state()
        path = re.sub(r"[0-9a-f]{32,}|\?.*|#.*", "", self.page.url.removeprefix(self.base))
        kind = (path, self.main.locator("h1, h2").all_inner_texts()[:3].__repr__())
        self.seen[kind] = self.page.url, self.page.content()
        return self

    def leaves(self):
        """Go home."""
        self.context.close()


def barriers(browser, pages):
    """What keeps those out who cannot see or point, by day and by night.

    ``pages`` are addresses and texts: the pages as they were, also those that answered a form.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    context = browser.new_context(reduced_motion="reduce", bypass_csp=True)
    page, found = context.new_page(), []
    for url, text in pages:
        page.route(url, _answer_of(text), times=1)
        page.emulate_media(color_scheme="light")
        page.goto(url)
        met = axe.Axe().run(page, options=GRAVELY).response["violations"]
        page.emulate_media(color_scheme="dark")
        met += page.evaluate("options => axe.run(document, options)", AT_NIGHT)["violations"]
        found += [
            (url, one["id"], [node["html"] for node in one["nodes"]])
            for one in met
            if one["impact"] in GRAVE
        ]
    context.close()
    return found


def _answer_of(text):
    return lambda route: route.fulfill(body=text, content_type="text/html; charset=utf-8")
