"""A person opens the pages of the desk: by day, by night, on a phone, with the keyboard alone."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))
from desk_pages import NAMES, settings_at, written
from live_server import serving

pytestmark = pytest.mark.browser

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
PATHS = (
    "/fleet?weeks=all",
    "/streams?tag=city%3DGhent",
    "/stream?unique_id=bike+1",
    "/stream?unique_id=%3Cb%3Ecar%3C%2Fb%3E+%26+1",
    "/streams?search=nowhere",
    "/nothing",
)
GRAVE = {"serious", "critical"}


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = written(tmp_path_factory.mktemp("desk") / "store.db")
    with serving(settings_at(path)) as (_, client):
        yield str(client.base_url).rstrip("/")


@pytest.fixture
def opened(browser):
    """Open a page; what it complains about, and what it asks of other hosts, is kept."""
    contexts = []

    def open_page(address, *, width=1280, scheme="light", **told):
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=scheme, **told)
        contexts.append(context)
        page, heard = context.new_page(), []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url))
        page.goto(address)
        return page, heard

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("path", PATHS)
def test_pages_ask_no_other_host_and_keep_to_the_policy_of_the_server(opened, address, path):
    _, heard = opened(address + path)
    refused = "Failed to load resource: the server responded with a status of 404"
    assert [one for one in heard if not one.startswith((address, refused))] == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [1280, 768, 320])
def test_nothing_sticks_out_to_the_right(opened, address, path, width):
    page, _ = opened(address + path, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("path", "scheme"), [*((one, "light") for one in PATHS), *((one, "dark") for one in PATHS[:3])]
)
def test_no_barrier_is_found(opened, address, path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    # The policy of the server forbids the script of the check.
    page, _ = opened(address + path, scheme=scheme, bypass_csp=True)
    for details in page.locator("details").all():
        details.evaluate("one => { one.open = true }")
    found = axe.Axe().run(page).response["violations"]
    assert [one for one in found if one["impact"] in GRAVE] == []


def test_pages_say_the_same_without_javascript(opened, address):
    page, _ = opened(f"{address}/streams", java_script_enabled=False)
    page.get_by_label("Name has").fill("bike")
    page.get_by_role("button", name="Show", exact=True).click()
    assert page.locator("tbody tr").count() == 2
    page.get_by_role("link", name="Loss", exact=True).click()
    assert "sort=loss" in page.url
    assert "search=bike" in page.url


def test_the_keyboard_alone_leads_from_the_fleet_to_a_stream(opened, address):
    page, _ = opened(f"{address}/fleet")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    _tab_to(page, "Streams")
    page.keyboard.press("Enter")
    page.wait_for_url("**/streams")
    _tab_to(page, NAMES[0])
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/stream?**")
    assert page.get_by_role("heading", level=1).text_content() == NAMES[0]


def _tab_to(page, name):
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == name:
            return
    raise AssertionError(f"{name} cannot be reached")


def test_ticked_streams_are_those_that_an_order_is_about(opened, address):
    page, _ = opened(f"{address}/streams")
    for name in NAMES[:2]:
        page.get_by_label(f"Choose {name}", exact=True).check()
    page.get_by_role("button", name="Freeze", exact=True).click()
    assert "/orders/freeze" in page.url
    assert page.url.count("unique_id=") == 2
    assert "tag=" not in page.url


def test_a_chart_fits_the_width_that_it_has_and_its_letters_keep_their_size(opened, address):
    heights = []
    for width in (1280, 400):
        page, _ = opened(f"{address}/fleet?weeks=all", width=width)
        chart = page.locator("svg.plot").first
        inside = page.locator(".card").filter(has=chart).first.bounding_box()
        box = chart.bounding_box()
        assert inside["x"] <= box["x"]
        assert box["x"] + box["width"] <= inside["x"] + inside["width"]
        heights.append(chart.locator("text").first.bounding_box()["height"])
    assert heights[0] == pytest.approx(heights[1])
