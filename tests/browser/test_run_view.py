"""What the tabs "EnOS" show beside one instance: the tasks of a DAG run, earlier tries, and how long a flow takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from airflows import AIRFLOW
from browser import accessible, chromium, complaints, needs_browser, set_theme, shot, tab
from contrasts import CONTRASTS
from view_scene import half_way

if TYPE_CHECKING:
    from pages import Site
    from playwright.sync_api import Browser, Page
    from stack import Run

pytestmark = needs_browser

if AIRFLOW < (3, 1):
    pytest.skip("Airflow before 3.1 has no tabs", allow_module_level=True)

HAS_STORE = pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has task states from 3.3 on")
SIZES = pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False), (400, True)])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@contextmanager
def page_of(
    site: Site, browser: Browser, path: str, run: Run, *, dark: bool = False, width: int = 1440
) -> Iterator[Page]:
    """Yield a page of the view by itself. In the end it must have reported no error."""
    token = site.stack.tokens["viewer"]
    with tab(browser, dark=dark, width=width, token=token, url=site.stack.url, seconds=60) as page:
        set_theme(page, "dark" if dark else "light")
        named = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": "task", "map_index": "-1"}
        page.goto(f"{site.stack.url}/enos/{path}?{urlencode(named)}")
        yield page
        assert complaints(page) == []


def check_readable(page: Page) -> None:
    root = page.locator("html")
    assert root.evaluate("root => root.scrollWidth <= root.clientWidth")
    assert root.evaluate(CONTRASTS) == []


@pytest.fixture
def several(airflow_site: Site) -> Run:
    """A run with two EnOS tasks, of which one has failed, a mapped one of three, and two tasks that are not of EnOS."""
    from stack import until

    instances = [airflow_site.watched, "8104-20200101000000", "8104-20200101000100"]
    run = airflow_site.run("several", {"instances": instances})

    def states() -> dict[str, str]:
        found = airflow_site.stack.call("GET", f"dags/several/dagRuns/{run.run_id}/taskInstances")["task_instances"]
        return {f"{one['task_id']} {one['map_index']}": one["state"] for one in found}

    expected = {"load -1": "deferred", "publish -1": "failed", "wait_for_readings 0": "deferred"}
    until(lambda: expected.items() <= states().items(), 240, "tasks of several", states)
    (load,) = airflow_site.sim.instances_of(8112)
    airflow_site.sim.set_node_status(load.id, 81120, "SUCCESS")
    airflow_site.sim.set_node_status(load.id, 81121, "RUNNING")
    return run


@SIZES
def test_all_tasks_of_a_run_on_one_page(
    airflow_site: Site, browser: Browser, several: Run, width: int, dark: bool
) -> None:
    with page_of(airflow_site, browser, "run", several, dark=dark, width=width) as page:
        page.get_by_text("1 of 5").wait_for()
        tasks = page.locator("#rows td.name").all_inner_texts()
        mapped = [f"wait_for_readings [{number}]" for number in range(3)]
        assert sorted(tasks) == sorted(["load", "publish", *mapped, "report"])
        said = accessible(page.locator("body"))
        for part in ("half_done", "failed: clean", "EnOS has nothing by this id", "No flow instance is on record."):
            assert part in said
        check_readable(page)


def test_airflow_shows_it_at_the_run_and_leads_to_the_task(airflow_site: Site, browser: Browser, several: Run) -> None:
    stack = airflow_site.stack
    with tab(browser, token=stack.tokens["viewer"], url=stack.url, seconds=60, width=1440) as page:
        page.goto(f"{stack.url}/dags/several/runs/{several.run_id}")
        page.get_by_role("link", name="EnOS").click()
        frame = page.frame_locator("iframe[title=EnOS]")
        frame.get_by_text("1 of 5").wait_for()
        shot(page, "view-run")
        frame.get_by_role("link", name="load").click()
        page.wait_for_url("**/tasks/load/plugin/enos")
        frame.get_by_role("heading", name="half_done").wait_for()
        assert complaints(page) == []


def test_a_run_without_tasks_of_enos_says_so(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("not_of_enos")
    run.wait_for("success", seconds=120)
    with page_of(airflow_site, browser, "run", run) as page:
        page.get_by_text("No task of this run is an EnOS task.").wait_for()
        assert page.locator("table").is_hidden()


@HAS_STORE
@SIZES
def test_an_earlier_try_can_be_looked_at(airflow_site: Site, browser: Browser, width: int, dark: bool) -> None:
    run = airflow_site.run("tried")
    run.wait_for("failed", seconds=180)
    first, second = (instance.id for instance in airflow_site.sim.instances_of(8110))
    with page_of(airflow_site, browser, "view", run, dark=dark, width=width) as page:
        page.locator("#facts").get_by_text(second).wait_for()
        earlier, newest = (page.get_by_role("button", name=f"Try {number}") for number in (1, 2))
        assert newest.get_attribute("aria-current") == "true"
        earlier.focus()
        page.keyboard.press("Enter")
        page.locator("#facts").get_by_text(first).wait_for()
        assert earlier.get_attribute("aria-current") == "true"
        assert earlier.evaluate("button => document.activeElement === button")
        check_readable(page)
        # It stays at the try that was chosen.
        page.get_by_role("button", name="Refresh").first.click()
        page.wait_for_timeout(500)
        assert page.locator("#facts").get_by_text(first).count() == 1
        newest.click()
        page.locator("#facts").get_by_text(second).wait_for()


@SIZES
def test_a_line_shows_how_long_the_flow_usually_takes(
    airflow_site: Site, browser: Browser, width: int, dark: bool
) -> None:
    half_way(airflow_site, "usual", 8111)
    with page_of(airflow_site, browser, "view", airflow_site.run("usual"), dark=dark, width=width) as page:
        page.get_by_text("1 of 5 nodes ended").wait_for()
        page.locator("#facts").get_by_text("usually").wait_for()
        line = page.locator("#rows .line").first
        assert line.is_visible()
        ended, running = page.locator("#rows .track").nth(0), page.locator("#rows .track").nth(1)
        at, bar = (ended.locator(name).bounding_box() for name in (".line", "i"))
        assert at is not None
        assert bar is not None
        assert bar["x"] + bar["width"] <= at["x"] + 2, "the first of five nodes has ended long before"
        open_bar = running.locator("i.open").bounding_box()
        assert open_bar is not None
        assert open_bar["x"] + open_bar["width"] < at["x"], "it is not known to run for that long"
        check_readable(page)


def test_of_an_instance_that_has_ended_too(airflow_site: Site, browser: Browser) -> None:
    """It is of a schedule of EnOS, and the last one of its flow: the others came before it."""
    run = airflow_site.run("ended", {"instance": airflow_site.sim.instances_of(8111)[0].id})
    run.wait_for("success", seconds=180)
    with page_of(airflow_site, browser, "view", run) as page:
        page.get_by_text("5 of 5 nodes ended").wait_for()
        page.locator("#facts").get_by_text("usually").wait_for()
        last = page.locator("#rows .track").last
        at, bar = (last.locator(name).bounding_box() for name in (".line", "i"))
        assert at is not None
        assert bar is not None
        assert abs(bar["x"] + bar["width"] - at["x"]) < 4, "they all take equally long"
        shot(page, "view-usual")


def test_without_earlier_instances_there_is_no_line(airflow_site: Site, browser: Browser) -> None:
    half_way(airflow_site, "runs", 8101)
    with page_of(airflow_site, browser, "view", airflow_site.run("runs")) as page:
        page.get_by_text("1 of 5 nodes ended").wait_for()
        assert page.locator("#rows .line").first.is_hidden()
        assert page.get_by_text("usually").count() == 0
