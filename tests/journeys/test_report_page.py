"""An engineer opens the page from a disk, looks at another stream, and shows it on a phone."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlma.domain.verdicts import Reason
from mlma.report.page import save_html
from mlma.report.style import COLOURS, MUTED

sys.path.append(str(Path(__file__).parents[1] / "unit"))  # the hand-written replays live there
from report_fixtures import MLMA_LABEL, lifelike

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
MARKS = """name => document.getElementById("stream").data
    .filter(trace => trace.meta === name).flatMap(trace => trace.x)"""
PLOTLY_TEXT = """() => [...document.querySelectorAll("#frontier .annotation-text")]
    .map(label => label.textContent)"""


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
def page_file(tmp_path_factory):
    return save_html(lifelike(), tmp_path_factory.mktemp("report") / "report.html")


def opened(browser, path, *, width=1200):
    """Return the drawn page, and the list of everything that it complained about or asked for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="light")
    heard = []
    page.on("console", lambda message: heard.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("request", lambda request: heard.append(f"request: {request.url}"))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=true]")
    heard.remove(f"request: {path.as_uri()}")
    return page, heard


@pytest.fixture(scope="module")
def desktop(browser, page_file):
    page, heard = opened(browser, page_file)
    yield page, heard
    page.close()


def test_the_page_draws_all_charts_without_a_complaint_or_a_request(desktop):
    page, heard = desktop
    assert page.locator(".chart .main-svg").count() >= 4
    page.mouse.wheel(0, 3_000)
    page.wait_for_timeout(200)
    assert heard == []


def test_another_stream_is_chosen_with_the_keyboard(desktop):
    page, heard = desktop
    page.locator("#stream-choice").select_option(index=0)
    title, alarms = page.locator("#stream-title").text_content(), page.evaluate(MARKS, "alarms")
    page.locator("#stream-choice").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#stream-title").text_content() != title
    assert page.evaluate(MARKS, "alarms") != alarms
    assert page.locator("#stream").get_attribute("aria-label").startswith("Losses of sensor")
    assert heard == []


def test_the_marks_of_a_stream_are_its_alarms(desktop):
    page, _ = desktop
    page.locator("#stream-choice").select_option(label=_option(page, "sensor 05"))
    record = lifelike()
    reasons = record.run(MLMA_LABEL).evidence.reason[record.ids.index("sensor 05")]
    days = record.grid.batch_starts()[reasons == Reason.ALARM].astype("datetime64[s]").astype(str)
    assert len(days) > 0
    assert page.evaluate(MARKS, "alarms") == days.tolist()


def _option(page, stream):
    labels = page.locator("#stream-choice option").all_text_contents()
    return next(label for label in labels if label.startswith(stream))


def test_a_click_on_a_bad_stream_shows_it_over_time(desktop):
    page, heard = desktop
    button = page.locator("[data-row] button").nth(3)
    button.click()
    assert page.locator("#stream-title").text_content() == button.text_content()
    assert heard == []


def test_charts_follow_a_change_from_light_to_dark(desktop):
    page, heard = desktop
    colour = "document.getElementById('fleet').layout.font.color"
    assert page.evaluate(colour) == MUTED
    page.emulate_media(color_scheme="dark")
    for _ in range(40):  # the charts are drawn anew, when the machine has time for it
        if page.evaluate(colour) != MUTED:
            break
        page.wait_for_timeout(500)
    assert page.evaluate(colour) == COLOURS[MUTED]
    assert heard == []


def settled_within(page, width):
    """Wait until the charts have followed the new width; an error if they never do."""
    for _ in range(40):  # not wait_for_function: the page's policy forbids what it evaluates
        if page.evaluate("document.documentElement.scrollWidth") <= width:
            return
        page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1200, 768, 390])
def test_nothing_sticks_out_to_the_right(desktop, width):
    page, _ = desktop
    page.set_viewport_size({"width": width, "height": 900})
    settled_within(page, width)


def test_names_that_look_like_markup_are_shown_as_text(browser, tmp_path):
    nasty = '</script><img src="x" onerror="document.title=1"><b>%{y}</b>' + "x" * 200
    record = lifelike(3, id_of=lambda row: f"{nasty}{row}")
    runs = tuple(replace(run, label=f"<b>{run.label}") for run in record.runs[3:])
    record = replace(record, tags={nasty: (nasty,) * 3}, runs=record.runs[:3] + runs)
    page, heard = opened(browser, save_html(record, tmp_path / "nasty.html"), width=390)
    assert page.locator("#stream-title").text_content().startswith(nasty)
    assert page.locator("main img, main b").count() == 0
    assert any(label.startswith("<b>") for label in page.evaluate(PLOTLY_TEXT))
    settled_within(page, 390)
    assert heard == []
    page.close()


@pytest.mark.parametrize("width", [1200, 390])
def test_the_weights_of_pools_are_drawn_without_a_complaint(browser, tmp_path, width):
    record = lifelike(5)
    shares = np.full((*record.runs[0].loss.shape, 4), 0.25, dtype=np.float32)
    runs = tuple(replace(r, shares=shares) if r.label == MLMA_LABEL else r for r in record.runs)
    path = save_html(replace(record, runs=runs), tmp_path / "pool.html")
    page, heard = opened(browser, path, width=width)
    assert page.evaluate("document.getElementById('pool').data.map(trace => trace.name)") == [
        *("newest version", "older versions", "long history", "seasonal naive"),
    ]
    assert page.locator("#pool .main-svg").count() > 0
    assert page.locator("#frontier .legend .traces").count() == 2
    settled_within(page, width)
    page.close()
    assert heard == []
