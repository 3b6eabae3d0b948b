"""A run in Airflow's own pages: grid, log, rendered templates, XCom and the link, while it waits and in the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from airflows import AIRFLOW
from browser import chromium, complaints, needs_browser, shot, tab

if TYPE_CHECKING:
    from pages import Site
    from playwright.sync_api import Browser, Locator, Page
    from stack import Run

pytestmark = needs_browser

if AIRFLOW < (3, 3):
    pytest.skip("the pages are looked at in Airflow 3.3", allow_module_level=True)

TASK = "clean_meter_readings"
WAITS = {"meter_readings": (8106, "deferred"), "meter_readings_in_worker": (8107, "running")}
"""Its flow, and how it waits for it."""
LINK = "EnOS flow instance"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@contextmanager
def page_at(site: Site, browser: Browser, address: str) -> Iterator[Page]:
    """Yield a page as a viewer has it. In the end the page must have reported no error."""
    stack = site.stack
    with tab(browser, token=stack.tokens["viewer"], url=stack.url, width=1280, height=800, seconds=60) as page:
        page.goto(address)
        yield page
        assert complaints(page) == []


def waiting(site: Site, dag_id: str) -> tuple[Run, str]:
    """The task's run, once it waits, and the flow instance; of its nodes the first has ended, the second runs."""
    flow_id, state = WAITS[dag_id]
    run = site.run(dag_id).of_task(TASK)
    if run.task["state"] != "success":
        run.wait_for(state, seconds=120)
    (instance,) = site.sim.instances_of(flow_id)
    site.sim.set_node_status(instance.id, flow_id * 10, "SUCCESS")
    site.sim.set_node_status(instance.id, flow_id * 10 + 1, "RUNNING")
    return run, instance.id


def console_of(flow_instance_id: str) -> str:
    from pages import CONSOLE

    return CONSOLE.format(flow_id=flow_instance_id.partition("-")[0], flow_instance_id=flow_instance_id)


def log_of(page: Page) -> Locator:
    return page.get_by_test_id("virtualized-list")


@pytest.mark.parametrize("dag_id", WAITS)
def test_while_it_waits_the_link_is_there_and_the_log_grows(airflow_site: Site, browser: Browser, dag_id: str) -> None:
    run, instance = waiting(airflow_site, dag_id)
    with page_at(airflow_site, browser, airflow_site.stack.page_of(run, "/details")) as page:
        page.get_by_text(WAITS[dag_id][1].title(), exact=True).first.wait_for()
        link = page.get_by_role("link", name=LINK)
        link.wait_for()
        assert link.get_attribute("href") == console_of(instance)
        shot(page, f"run-link-{WAITS[dag_id][1]}")
        page.get_by_role("link", name="Logs").click()
        log_of(page).get_by_text(f"Started flow instance {instance}").wait_for()
        log_of(page).get_by_text(re.compile(r"Node clean \(.*\): RUNNING")).wait_for()
        assert log_of(page).get_by_role("link", name=console_of(instance)).count() == 1


def test_the_log_of_a_node_is_folded_until_it_is_asked_for(airflow_site: Site, browser: Browser) -> None:
    run, _ = waiting(airflow_site, "meter_readings")
    with page_at(airflow_site, browser, airflow_site.stack.page_of(run)) as page:
        head = log_of(page).get_by_text("Log of node clean").first
        head.wait_for()
        assert log_of(page).get_by_text("data_simulator").count() == 0
        head.click()
        log_of(page).get_by_text("data_simulator").wait_for()
        shot(page, "run-log")


def test_the_templates_are_shown_as_they_were_rendered(airflow_site: Site, browser: Browser) -> None:
    run, _ = waiting(airflow_site, "meter_readings")
    with page_at(airflow_site, browser, airflow_site.stack.page_of(run, "/rendered_templates")) as page:
        row = page.get_by_role("row", name=re.compile("^trigger_time"))
        row.wait_for()
        # The end of the data interval; this run was started by hand, so that it has none.
        run_after = airflow_site.stack.call("GET", f"dags/{run.dag_id}/dagRuns/{run.run_id}")["run_after"]
        # Each part of it has a colour, so is an element, of its own.
        shown = "".join(row.locator("code").first.inner_text().split())
        assert run_after.removesuffix("Z").replace("T", "") in shown
        for name, value in {"flow_id": "8106", "from_task_id": "81061", "enos_conn_id": "enos_console"}.items():
            assert value in page.get_by_role("row", name=re.compile(f"^{name} ")).inner_text()
        shot(page, "run-templates")


def test_the_instance_is_in_xcom(airflow_site: Site, browser: Browser) -> None:
    run, instance = waiting(airflow_site, "meter_readings")
    with page_at(airflow_site, browser, airflow_site.stack.page_of(run, "/xcom")) as page:
        for key, value in {"flow_instance_id": instance, "_link_EnosFlowInstanceLink": console_of(instance)}.items():
            page.get_by_role("row", name=re.compile(f"^{key} ")).get_by_text(value).wait_for()
        shot(page, "run-xcom")


def test_the_log_of_a_failed_run_has_nodes_and_cause_in_groups(airflow_site: Site, browser: Browser) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    with page_at(airflow_site, browser, airflow_site.stack.page_of(run)) as page:
        log = log_of(page)
        log.get_by_text("Failed first: clean").wait_for()
        # The log of the node that failed first is open, and the table of the nodes is folded.
        log.get_by_text("End of the log of node clean").wait_for()
        log.get_by_text("current time:").wait_for()
        assert log.get_by_text("ERROR load: dw.meter_readings has no column", exact=False).count() >= 1
        log.get_by_text("Nodes of flow instance").click()
        log.get_by_text(re.compile(r"^clean .* FAIL")).wait_for()
        assert log.get_by_text(re.compile(r"^clean .* FAIL")).count() == 1


def test_the_grid_follows_the_run_to_its_end_and_the_link_stays(airflow_site: Site, browser: Browser) -> None:
    run, instance = waiting(airflow_site, "meter_readings")
    stack = airflow_site.stack
    with page_at(airflow_site, browser, f"{stack.url}/dags/{run.dag_id}") as page:
        square = _square(page, run)
        deferred = square.inner_html()
        assert deferred != _square(page, run.of_task("publish")).inner_html()
        shot(page, "run-grid")
        airflow_site.sim.finish(instance, "SUCCESS")
        run.of_task("publish").wait_for("success", seconds=120)
        # Without a reload: the page follows the run by itself.
        _wait_for_the_same_look(square, _square(page, run.of_task("publish")))
        assert square.inner_html() != deferred
        page.goto(stack.page_of(run, "/details"))
        page.get_by_text("Success", exact=True).first.wait_for()
        page.get_by_role("link", name=LINK).wait_for()
        assert page.get_by_role("link", name=LINK).get_attribute("href") == console_of(instance)
        page.goto(stack.page_of(run, "/xcom"))
        page.get_by_role("row", name=re.compile("^return_value ")).get_by_text(instance).wait_for()


def _square(page: Page, run: Run) -> Locator:
    """The task in the grid: its colour and sign."""
    square = page.get_by_test_id(f"grid-{run.run_id}-{run.task_id}").get_by_test_id("task-state-badge")
    square.wait_for()
    return square


def _wait_for_the_same_look(one: Locator, other: Locator) -> None:
    from stack import until

    until(lambda: one.inner_html() == other.inner_html(), 60, "squares of one look", one.inner_html)
