"""A person at the desk, with a keyboard or a mouse, in a real browser, without JavaScript."""

import shutil
import socket
import time
from contextlib import contextmanager
from threading import Thread

import pytest

from desk_pages import NAMES, SHOCK, STUCK, judged_store, settings_at

pytestmark = pytest.mark.browser

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
SERIOUS = {"serious", "critical"}


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
def judged(tmp_path_factory):
    return judged_store(tmp_path_factory)


@contextmanager
def served(path):
    """Serve a store on this machine; the agent rests, so that nothing changes by itself."""
    import uvicorn

    from mlma.service.bootstrap import build
    from mlma.web.app import create_app

    service = build(settings_at(path))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(service), log_config=None, access_log=False, lifespan="off")
    )
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", service
    finally:
        server.should_exit = True
        thread.join(10)
        service.stop(5.0)
        listener.close()


@pytest.fixture
def at(browser, judged, tmp_path):
    """A page without JavaScript, what it complained about, and the service behind it."""
    path = tmp_path / "store.db"
    shutil.copy(judged, path)
    with served(path) as (base, service):
        context = browser.new_context(base_url=base, java_script_enabled=False)
        page = context.new_page()
        heard = []
        page.on("console", lambda one: heard.append(one.text) if "422" not in one.text else None)
        page.on("request", lambda one: heard.append(one.url) if base not in one.url else None)
        yield page, service
        context.close()
        assert heard == []


def main_of(page):
    return page.locator("main").inner_text()


def test_a_shock_is_looked_at_declared_as_an_event_and_taken_back(at):
    page, service = at
    page.goto("/incidents")
    page.get_by_role("link", name="city=Ghent").click()
    assert page.get_by_role("heading", level=1).inner_text() == "city=Ghent"
    page.get_by_role("link", name="Declare an event").click()
    assert page.get_by_label("Tags").input_value() == "city=Ghent"
    page.get_by_label("Name", exact=True).fill("Fair")
    page.get_by_label("Type").select_option("promotion")
    page.get_by_role("button", name="See what it would change").click()
    assert "Declares the event 'Fair' (promotion)" in main_of(page)
    page.get_by_role("button", name="Declare").click()
    assert page.get_by_role("status").first.inner_text().startswith("Done.")
    assert "Event “Fair” declared" in main_of(page)  # in the story of the incident
    assert len(service.engineering.standing().events) == 1
    page.get_by_role("link", name="Undo it").click()
    page.get_by_role("button", name="Undo").last.click()
    assert service.engineering.standing().events == {}
    page.get_by_role("link", name="Audit").click()
    assert "undone by" in main_of(page)


def test_the_desk_is_cleared_with_the_keyboard_alone(at):
    page, service = at
    page.goto("/incidents")
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        seen.append(focused.inner_text().strip() if focused.count() else "")
        if seen[-1] == "Resolve":
            break
    assert seen[0] == "Skip to the content"
    assert "Acknowledge" in seen
    page.keyboard.press("Enter")
    page.wait_for_url("**done=*")
    (first,) = service.store.incidents(ids=[SHOCK])
    assert first.state == "resolved"
    page.get_by_role("button", name="Snooze until Monday").first.focus()
    page.keyboard.press("Enter")
    page.get_by_text("Nothing needs you.").wait_for()
    (second,) = service.store.incidents(ids=[STUCK])
    assert second.state == "snoozed"
    assert "Nothing needs you." in main_of(page)


def test_a_holiday_is_declared_from_the_calendar_and_cancelled(at):
    page, service = at
    page.goto("/calendar")
    page.get_by_role("link", name="Declare an event on 15 January").click()
    assert page.get_by_label("Begins").input_value() == "2024-01-15T00:00"
    page.get_by_label("Name", exact=True).fill("Holiday <b>")
    page.get_by_label("Ends").fill("2024-01-14T00:00")
    page.get_by_role("button", name="See what it would change").click()
    assert "must end after it begins" in main_of(page)
    assert page.get_by_label("Name", exact=True).input_value() == "Holiday <b>"
    page.get_by_label("Ends").fill("2024-01-16T00:00")
    page.get_by_role("button", name="See what it would change").click()
    page.get_by_role("button", name="Declare").click()
    assert page.url.split("?")[0].endswith("/calendar")
    assert page.locator(".happening.is-event a").first.inner_text() == "Holiday <b>"
    page.get_by_role("link", name="Cancel Holiday").click()
    page.get_by_role("button", name="Cancel event").click()
    assert service.engineering.standing().events == {}


def test_every_stream_is_only_meant_once_that_was_ticked(at):
    page, service = at
    page.goto("/orders/freeze")
    page.get_by_role("button", name="See what it would change").click()
    page.get_by_role("button", name="Freeze (6 streams)").click()
    assert service.engineering.actions() == ()  # the browser asks for the tick
    page.get_by_label("Yes, I mean every stream: 6 streams, the whole fleet.").check()
    page.get_by_role("button", name="Freeze (6 streams)").click()
    assert set(service.engineering.standing().frozen) == set(NAMES)


def test_a_trial_in_the_lab_is_started_and_stopped(at):
    page, service = at
    page.goto("/lab")
    page.get_by_label("Level of a batch").fill("0.0001")
    page.get_by_label("Re-trainings per cycle").fill("3")
    page.get_by_role("button", name="Start the trial").click()
    assert "level=0.0001" in main_of(page)
    assert page.get_by_role("progressbar").count() == 1
    page.get_by_role("button", name="Stop the trial").click()
    (run,) = service.lab.runs()
    assert (run.per_cycle, run.status) == (3, "cancelled")


PAGES = (
    *("/incidents", "/incidents?view=resolved", f"/incidents/{SHOCK}", "/models", "/calendar"),
    *("/models?view=history", "/lab", "/audit", "/orders/freeze?tag=city%3DGhent&until=2030-01-01"),
    *("/orders/event", f"/orders/label?incident={SHOCK}", "/orders/freeze?tag=city%3DNowhere"),
)


@pytest.fixture(scope="module")
def open_desk(judged, tmp_path_factory):
    """A desk that nobody changes."""
    path = tmp_path_factory.mktemp("open") / "store.db"
    shutil.copy(judged, path)
    with served(path) as (base, service):
        from mlma.domain.orders import Freeze
        from mlma.domain.selectors import Selector

        service.engineering.carry_out(Freeze(selector=Selector(search="bike")), "user:ann", "why")
        yield base


@pytest.mark.parametrize("path", PAGES)
def test_nothing_serious_stands_between_a_page_and_who_cannot_see_or_point(
    browser, open_desk, path
):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(
        base_url=open_desk, color_scheme="light", reduced_motion="reduce", bypass_csp=True
    )
    page = context.new_page()
    page.goto(path)
    found = axe.run(page).response["violations"]
    page.emulate_media(color_scheme="dark")
    found += axe.run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
    wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    page.set_viewport_size({"width": 360, "height": 800})
    narrow = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    context.close()
    serious = [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in SERIOUS
    ]
    assert serious == []
    assert (wide, narrow) == (False, False)
