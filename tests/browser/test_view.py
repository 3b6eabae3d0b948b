"""The tab "EnOS" of a task instance, as people and screen readers have it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from airflows import AIRFLOW
from browser import accessible, chromium, complaints, needs_browser, set_theme, shot, tab
from contrasts import CONTRASTS
from pages import CONSOLE
from view_scene import HOSTILE_NAME, WHY_LOAD_FAILED, half_way

if TYPE_CHECKING:
    from pages import Site
    from playwright.sync_api import Browser, Frame, FrameLocator, Page, Route
    from stack import Run

pytestmark = needs_browser

if AIRFLOW < (3, 1):
    pytest.skip("Airflow before 3.1 has no tabs", allow_module_level=True)

REFRESH_SLOW = 10
"""Seconds after which the page asks again while only Airflow's task goes on."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@contextmanager
def view(
    site: Site,
    browser: Browser,
    run: Run,
    *,
    in_airflow: bool = False,
    dark: bool = False,
    width: int = 1440,
    map_index: int | None = None,
) -> Iterator[tuple[Page, Page | FrameLocator]]:
    """Yield the view, by itself or in Airflow's page. In the end the page must have reported no error."""
    with tab(
        browser, dark=dark, width=width, token=site.stack.tokens["viewer"], url=site.stack.url, seconds=60
    ) as page:
        set_theme(page, "dark" if dark else "light")
        if in_airflow:
            page.goto(site.stack.page_of(run, "/plugin/enos", map_index))
            yield page, page.frame_locator("iframe[title=EnOS]")
        else:
            named = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": "task", "map_index": "{MAP_INDEX}"}
            page.goto(f"{site.stack.url}/enos/view?{urlencode(named)}")
            yield page, page
        assert complaints(page) == []


def document_of(page: Page) -> Frame:
    """The frame of the view."""
    return next(one for one in page.frames if "/enos/view" in one.url)


def test_the_tab_shows_a_running_instance(airflow_site: Site, browser: Browser) -> None:
    half_way(airflow_site, "runs", 8101)
    with tab(browser, token=airflow_site.stack.tokens["viewer"], url=airflow_site.stack.url, seconds=60) as page:
        page.goto(airflow_site.stack.page_of(airflow_site.run("runs")))
        page.get_by_role("link", name="EnOS").click()
        frame = page.frame_locator("iframe[title=EnOS]")
        frame.get_by_role("heading", name="meter_readings_daily").wait_for()
        assert frame.locator(".node").count() == 5
        assert frame.locator(".edge").count() == 5
        assert frame.locator(".node.succeeded").count() == frame.locator(".node.running").count() == 1
        assert complaints(page) == []


def test_it_follows_the_instance_to_its_end_and_then_asks_no_more(airflow_site: Site, browser: Browser) -> None:
    instance = half_way(airflow_site, "ends", 8105)
    with view(airflow_site, browser, airflow_site.run("ends")) as (page, frame):
        frame.get_by_text("1 of 5 nodes ended").wait_for()
        for node in range(5):
            airflow_site.sim.set_node_status(instance, 81050 + node, "SUCCESS")
        airflow_site.sim.finish(instance, "SUCCESS")
        frame.get_by_text("SUCCESS: 5 of 5 nodes ended").wait_for()
        assert frame.locator(".node.succeeded").count() == 5
        # Until the task has ended, too, for it may start another one.
        frame.get_by_text("Airflow: success").wait_for()
        asked = []
        page.on("request", lambda request: asked.append(request.url) if "/enos/api/" in request.url else None)
        page.wait_for_timeout((REFRESH_SLOW + 1) * 1000)
        assert asked == []


@pytest.mark.parametrize("way", ["click", "middle click", "Enter"])
def test_airflow_opens_the_link_to_the_console(airflow_site: Site, browser: Browser, way: str) -> None:
    """Airflow's frame does not allow the view to open windows itself."""
    run = airflow_site.run("window")
    run.wait_for("failed", seconds=120)
    (instance,) = airflow_site.sim.instances_of(8109)
    with view(airflow_site, browser, run, in_airflow=True) as (page, frame):
        page.context.route("https://console.example/**", lambda route: route.fulfill(body="the console"))
        link = frame.get_by_role("link", name="Open in EnOS")
        link.wait_for()
        with page.context.expect_page() as opened:
            if way == "Enter":
                link.press("Enter")
            else:
                link.click(button="middle" if way == "middle click" else "left")
        assert opened.value.url == CONSOLE.format(flow_id=8109, flow_instance_id=instance.id)
        assert opened.value.evaluate("window.opener") is None
        assert len(page.context.pages) == 2


def test_a_hidden_tab_asks_nothing(airflow_site: Site, browser: Browser) -> None:
    half_way(airflow_site, "runs", 8101)
    with view(airflow_site, browser, airflow_site.run("runs")) as (page, frame):
        frame.get_by_text("1 of 5 nodes ended").wait_for()
        inside = document_of(page)
        inside.evaluate("Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true})")
        inside.evaluate("window.away = true")
        asked = []
        page.on("request", lambda request: asked.append(request.url) if "/enos/api/" in request.url else None)
        page.wait_for_timeout(6000)
        assert asked == []
        with page.expect_request(lambda request: "/enos/api/" in request.url):
            inside.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(1000)
        assert len(asked) == 1


def test_a_failed_instance_and_its_log(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    with view(airflow_site, browser, run, in_airflow=True) as (page, frame):
        frame.get_by_text(f"node clean failed: {WHY_LOAD_FAILED}").wait_for()
        frame.locator(".node.failed").click()
        frame.get_by_role("dialog", name="Log of clean").get_by_text(WHY_LOAD_FAILED).wait_for()
        shot(page, "view-failed-log")
        page.keyboard.press("Escape")
        frame.get_by_role("dialog").wait_for(state="hidden")


def test_it_says_why_the_instance_failed(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    with view(airflow_site, browser, run) as (page, frame):
        box = frame.get_by_role("region", name="The flow instance failed")
        box.get_by_text(f"node clean failed: {WHY_LOAD_FAILED}").wait_for()
        asked = []
        page.on("request", lambda request: asked.append(request.url) if "/api/why" in request.url else None)
        box.get_by_role("button", name="Log of clean").click()
        frame.get_by_role("dialog", name="Log of clean").get_by_text(WHY_LOAD_FAILED).wait_for()
        page.keyboard.press("Escape")
        with page.expect_response(lambda answer: "/api/instance" in answer.url):
            frame.get_by_role("button", name="Refresh").first.click()
        assert asked == [], "the reason of the same failure is asked for once"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1440, 400], ids=["wide", "narrow"])
def test_it_says_why_a_task_failed_that_started_nothing(
    airflow_site: Site, browser: Browser, dark: bool, width: int
) -> None:
    run = airflow_site.run("never_starts")
    run.wait_for("failed", seconds=120)
    with view(airflow_site, browser, run, dark=dark, width=width) as (page, frame):
        box = frame.get_by_role("region", name="The task failed")
        box.get_by_text("flow_id: EnOS has no flow 8199").wait_for()
        frame.get_by_text("No flow instance is on record for this task instance.").wait_for()
        root = frame.locator("html")
        assert root.evaluate("root => root.scrollWidth <= root.clientWidth")
        assert root.evaluate(CONTRASTS) == []
        if width > 1000 and not dark:
            shot(page.locator("main"), "view-no-instance")


def test_an_error_that_only_the_tasks_log_has(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("no_template")
    run.wait_for("failed", seconds=120)
    with view(airflow_site, browser, run) as (_, frame):
        frame.get_by_role("region", name="The task failed").get_by_text("Airflow's tab “Logs”").wait_for()


def test_a_node_that_never_ran_has_no_log(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    with view(airflow_site, browser, run) as (page, frame):
        frame.get_by_role("button", name="Log of clean").first.wait_for()
        assert frame.get_by_role("table").get_by_role("button", name=re.compile("^Log of")).count() == 2
        frame.locator(".node", has_text="publish").click()
        page.wait_for_timeout(300)
        assert frame.get_by_role("dialog").count() == 0


def test_a_log_comes_once_its_node_begins(airflow_site: Site, browser: Browser) -> None:
    instance = half_way(airflow_site, "runs", 8101)
    with view(airflow_site, browser, airflow_site.run("runs")) as (_, frame):
        log = frame.get_by_role("button", name="Log of aggregate")
        frame.get_by_role("button", name="Log of clean").wait_for()
        assert log.count() == 0
        airflow_site.sim.set_node_status(instance, 81012, "RUNNING")
        log.wait_for()
        airflow_site.sim.set_node_status(instance, 81012, "INIT")


def test_times_by_the_clock_of_airflow(airflow_site: Site, browser: Browser) -> None:
    """In the zone that the user has chosen in Airflow, of 24 hours, whatever the browser is used to."""
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    with view(airflow_site, browser, run, in_airflow=True) as (page, frame):
        frame.get_by_text("EnOS, GMT+8").first.wait_for()
        cell = frame.get_by_role("row", name=re.compile("^clean")).locator("td.time").first
        before = cell.inner_text()
        assert re.fullmatch(r"\d\d:\d\d:\d\d", before)
        page.evaluate("localStorage.setItem('timezone', JSON.stringify('America/New_York'))")
        frame.get_by_text("Airflow, America/New_York").click()
        frame.locator("th .zone", has_text="America/New_York").first.wait_for()
        after = cell.inner_text()
        hours = (int(before[:2]) - int(after.split()[-1][:2])) % 24
        assert hours in (12, 13)
        assert frame.locator("#facts").get_by_text("America/New_York").count() == 3
        shot(page, "view-clock")
        # As Airflow does when another zone is chosen.
        page.evaluate("localStorage.setItem('timezone', JSON.stringify('Asia/Kolkata'))")
        frame.locator("th .zone", has_text="Asia/Kolkata").first.wait_for()
        assert re.search(r"As of \d\d:\d\d:\d\d Asia/Kolkata", frame.locator("#freshness").inner_text())
        page.reload()
        frame.locator("th .zone", has_text="Asia/Kolkata").first.wait_for()
        frame.get_by_text("EnOS, GMT+8").click()
        frame.locator("th .zone", has_text="EnOS, GMT+8").first.wait_for()
        assert cell.inner_text() == before


def test_where_the_zone_is_not_known_there_is_one_clock(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    with view(airflow_site, browser, run) as (page, frame):
        page.route("**/api/instance*", without_zone)
        frame.get_by_text("failed: clean").wait_for()
        frame.get_by_role("button", name="Refresh").first.click()
        frame.get_by_text("Times as EnOS writes them. Their zone is not known.").wait_for()
        assert frame.get_by_role("radio").count() == 0


def without_zone(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(json=answer.json() | {"clock": {"zone": "", "at": {}}})


@pytest.mark.parametrize("clipboard", [True, False], ids=["clipboard", "without TLS"])
def test_ids_can_be_copied(airflow_site: Site, browser: Browser, clipboard: bool) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    (instance,) = airflow_site.sim.instances_of(8102)
    with view(airflow_site, browser, run, in_airflow=True) as (page, frame):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        if not clipboard:
            frame.locator("html").evaluate("() => Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        frame.get_by_role("button", name="Copy the id of the flow instance").click()
        frame.get_by_text(f"Copied {instance.id}").wait_for(state="attached")
        assert page.evaluate("navigator.clipboard.readText()") == instance.id
        frame.get_by_role("button", name="Copy the id of clean").click()
        frame.get_by_text("Copied 81021-").wait_for(state="attached")


def test_it_has_the_fonts_of_airflow(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    font = "element => getComputedStyle(element).fontFamily"
    with view(airflow_site, browser, run, in_airflow=True) as (page, frame):
        frame.get_by_text("failed: clean").wait_for()
        assert frame.locator("body").evaluate(font) == page.locator("body").evaluate(font)
    with view(airflow_site, browser, run) as (_, frame):
        assert frame.locator("body").evaluate(font).startswith("Inter, ")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_while_it_loads(airflow_site: Site, browser: Browser, dark: bool) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    with tab(browser, token=airflow_site.stack.tokens["viewer"], url=airflow_site.stack.url, dark=dark) as page:
        held: list[Route] = []
        page.route("**/api/instance*", lambda route: held.append(route))
        page.goto(f"{airflow_site.stack.url}/enos/view?dag_id={run.dag_id}&run_id={run.run_id}&task_id=task")
        page.get_by_text("Asking EnOS …").wait_for()
        assert page.locator("html").evaluate(CONTRASTS) == []
        held[0].continue_()
        page.get_by_text("failed: clean").wait_for()
        assert page.get_by_text("Asking EnOS …").is_hidden()


def test_the_log_is_opened_by_keyboard_too(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    with view(airflow_site, browser, run) as (page, frame):
        button = frame.get_by_role("table").get_by_role("button", name="Log of clean")
        button.focus()
        page.keyboard.press("Enter")
        frame.get_by_role("dialog", name="Log of clean").get_by_text(WHY_LOAD_FAILED).wait_for()
        page.keyboard.press("Escape")
        assert button.evaluate("button => document.activeElement === button")


def test_a_screen_reader_has_a_table_in_place_of_the_picture(airflow_site: Site, browser: Browser) -> None:
    half_way(airflow_site, "runs", 8101)
    for width in (1440, 480):
        with view(airflow_site, browser, airflow_site.run("runs"), width=width) as (_, frame):
            table = frame.get_by_role("table", name="Nodes of the flow instance")
            table.get_by_role("row", name=re.compile("^clean")).wait_for()
            assert table.get_by_role("columnheader").all_inner_texts()[:2] == ["Node", "Status"]
            assert table.get_by_role("row").count() == 6
            said = accessible(frame.locator("body"))
            # On a narrow screen, where the head of the table is not seen, each cell says its column itself.
            assert re.search(r'row "ingest \S+ Copy the id of ingest (Status )?SUCCESS', said), said
            assert re.search(r'row "clean \S+ Copy the id of clean (Status )?RUNNING', said), said
            assert 'button "Log of clean"' in said
            assert "img" not in said
            assert re.search(r'status: "?RUNNING: 1 of 5 nodes ended', said), said


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1440, 400], ids=["wide", "narrow"])
def test_all_of_it_can_be_read(airflow_site: Site, browser: Browser, dark: bool, width: int) -> None:
    """Texts have a contrast of 4.5 to 1 (WCAG AA), and nothing but the graph is wider than the screen."""
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    with view(airflow_site, browser, run, dark=dark, width=width) as (page, frame):
        frame.get_by_text(f"node clean failed: {WHY_LOAD_FAILED}").wait_for()
        root = frame.locator("html")
        assert root.get_attribute("data-theme") == ("dark" if dark else "light")
        assert root.evaluate("root => root.scrollWidth <= root.clientWidth")
        assert root.evaluate(CONTRASTS) == []
        if width < 1000:
            shot(page, f"view-narrow-{'dark' if dark else 'light'}", full_page=True)


def test_it_is_as_dark_as_airflow_and_follows_its_switch(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    with view(airflow_site, browser, run, dark=True, in_airflow=True) as (page, frame):
        frame.get_by_text(f"node clean failed: {WHY_LOAD_FAILED}").wait_for()
        root = frame.locator("html")
        assert root.get_attribute("data-theme") == "dark"
        ground = "element => getComputedStyle(element).backgroundColor"
        around = [page.locator(name).evaluate(ground) for name in ("body", "html")]
        assert root.evaluate(ground) in around
        assert root.evaluate(CONTRASTS) == []
        shot(page, "view-dark")
        page.evaluate("document.documentElement.classList.replace('dark', 'light')")
        frame.locator("html[data-theme=light]").wait_for(state="attached")


def test_hostile_texts_are_shown_and_not_carried_out(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("hostile")
    run.wait_for("deferred", seconds=120)
    (instance,) = airflow_site.sim.instances_of(8103)
    airflow_site.sim.set_node_status(instance.id, 81031, "SUCCESS")
    with view(airflow_site, browser, run) as (page, frame):
        frame.get_by_role("heading", name=HOSTILE_NAME).wait_for()
        assert frame.locator("main img").count() == 0
        # The page's own, and none of EnOS.
        scripts = frame.locator("script").evaluate_all("all => all.map(one => one.getAttribute('src'))")
        assert scripts == ["static/view.js"]
        frame.get_by_role("button", name=f"Log of {HOSTILE_NAME}").click()
        text = frame.locator("#log-text")
        text.get_by_text("</pre></script>").wait_for()
        assert "\u202e" not in text.inner_text()
        page.keyboard.press("Escape")
        inside = document_of(page)
        assert "owned" not in (page.title(), inside.title())
        assert frame.locator("html").evaluate("root => root.scrollWidth <= root.clientWidth")


def test_another_task_is_told_calmly(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("not_of_enos")
    run.wait_for("success", seconds=120)
    with view(airflow_site, browser, run) as (_, frame):
        frame.get_by_text("This is not an EnOS task").wait_for()
        assert frame.locator("svg").is_hidden()


def test_a_gateway_that_is_away_and_comes_back(airflow_site: Site, browser: Browser) -> None:
    half_way(airflow_site, "runs", 8101)
    with view(airflow_site, browser, airflow_site.run("runs")) as (_, frame):
        frame.get_by_text("1 of 5 nodes ended").wait_for()
        airflow_site.sim.fault("dropped", on="flowInstances/get", times=None)
        try:
            frame.get_by_text("EnOS does not answer at the moment.").wait_for()
            assert frame.locator(".node").count() == 5, "what was seen last stays"
        finally:
            airflow_site.sim.clear_faults()
        frame.get_by_role("button", name="Refresh").first.click()
        frame.get_by_text("EnOS does not answer at the moment.").wait_for(state="hidden")


def test_who_may_not_see_it_is_told_so(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("fails")
    stack = airflow_site.stack
    with tab(browser, token=stack.tokens["stranger"], url=stack.url) as page:
        page.goto(f"{stack.url}/enos/view?dag_id={run.dag_id}&run_id={run.run_id}&task_id=task")
        page.get_by_text("You may not see this task instance.").wait_for()


def test_each_mapped_task_instance_shows_its_own(airflow_site: Site, browser: Browser) -> None:
    from stack import until

    run = airflow_site.run("mapped")
    path = f"dags/mapped/dagRuns/{run.run_id}/taskInstances/task/listMapped"
    until(
        lambda: "deferred" in [one["state"] for one in airflow_site.stack.call("GET", path)["task_instances"]],
        120,
        path,
    )
    with view(airflow_site, browser, run, map_index=0, in_airflow=True) as (_, frame):
        frame.get_by_text(airflow_site.watched).first.wait_for()
