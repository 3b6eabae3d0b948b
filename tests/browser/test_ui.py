"""What ``make ui`` tells to click, with a browser. The first pictures of README and ``docs/view.md`` are taken here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from airflows import AIRFLOW
from browser import chromium, complaints, needs_browser, shot, tab
from stack import until
from ui_process import IS_READY, UiProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_browser

if AIRFLOW < (3, 3):
    pytest.skip("the pages are looked at in Airflow 3.3", allow_module_level=True)

WAITS = 4


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiProcess]:
    started = UiProcess(tmp_path_factory.mktemp("ui"), "--waits", str(WAITS))
    try:
        started.wait_for(IS_READY, 120)
        yield started
    finally:
        started.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@contextmanager
def page_for(ui: UiProcess, browser: Browser, words: str, height: int = 800) -> Iterator[Page]:
    """Yield the page whose address is printed below these words. In the end it must have reported no error."""
    address = re.search(rf"^ +{re.escape(words)}.*\n +(http\S+)$", ui.printed, re.M)
    assert address, words
    with tab(browser, width=1280, height=height, seconds=90) as page:
        page.goto(address[1])
        yield page
        found = complaints(page)
        if AIRFLOW >= (3, 4):
            # Its page asks for details of mapped tasks that are not there.
            found = [one for one in found if "/hitlDetails" not in one and "status of 404" not in one]
        assert found == []


def state_of(ui: UiProcess, run: str) -> str:
    return str(ui.call("GET", f"dags/{run}")["state"])


def test_the_flow_that_fails_says_where_and_why(ui: UiProcess, browser: Browser) -> None:
    until(lambda: state_of(ui, "tour_1_fails/dagRuns/tour") == "failed", 90, "the failure")
    with page_for(ui, browser, "A flow that fails", height=1000) as page:
        frame = page.frame_locator("iframe[title=EnOS]")
        frame.locator(".node.failed", has_text="load").wait_for()
        frame.get_by_text("failed: load").first.wait_for()
        shot(page, "view-failed")
        page.get_by_role("link", name="Logs").click()
        log = page.get_by_test_id("virtualized-list")
        log.get_by_text("node load failed: ColumnMissing: dw.tariffs").first.wait_for()
        log.get_by_text("Nodes of flow instance").click()
        log.get_by_text(re.compile(r"^load .* FAIL")).wait_for()
        # Without the traceback, which has the paths of this machine.
        shot(page, "run-log-failed", style="details p { display: none }")


def test_many_tasks_wait_without_a_worker(ui: UiProcess, browser: Browser) -> None:
    run = "tour_3_waits/dagRuns/tour/taskInstances?state=deferred"
    until(lambda: ui.call("GET", f"dags/{run}")["total_entries"] == WAITS, 60, "all of them to wait")
    with page_for(ui, browser, "Many tasks that wait") as page:
        page.get_by_text("Total Deferred").wait_for()
        page.get_by_text("Deferred", exact=True).nth(WAITS - 1).wait_for()
        page.get_by_role("link", name="0", exact=True).click()
        page.get_by_role("link", name="EnOS").click()
        page.frame_locator("iframe[title=EnOS]").get_by_role("heading", name="site_01").wait_for()


def test_the_connection_is_there_and_its_test_passes(ui: UiProcess, browser: Browser) -> None:
    with page_for(ui, browser, "The connection") as page:
        row = page.get_by_role("row", name="enos_default")
        with page.expect_response("**/connections/test") as answered:
            row.get_by_role("button", name="Test Connection").click()
        assert answered.value.json()["status"] is True


def test_the_slow_flow_runs(ui: UiProcess, browser: Browser) -> None:
    """Three of its nodes have ended after a minute and a half."""
    with page_for(ui, browser, "A flow of five minutes", height=1000) as page:
        frame = page.frame_locator("iframe[title=EnOS]")
        frame.get_by_role("heading", name="settlement_monthly").wait_for()
        assert frame.locator(".node").count() == 7
        frame.locator(".node.succeeded").nth(2).wait_for()
        frame.locator(".node.running").first.wait_for()
        shot(page, "view-running")


def test_one_starts_a_flow_and_its_end_starts_another_dag(ui: UiProcess, browser: Browser) -> None:
    with page_for(ui, browser, "A flow that you start yourself") as page:
        page.get_by_role("button", name="Trigger").click()
        page.get_by_role("dialog").get_by_role("button", name="Trigger").click()
        page.get_by_role("link", name="clean_meter_readings").first.wait_for()
    for dag_id in ("enos_trigger_and_wait", "enos_run_on_flow_end"):
        runs = f"dags/{dag_id}/dagRuns?state=success"
        until(lambda runs=runs: ui.call("GET", runs)["total_entries"], 120, dag_id)  # type: ignore[misc]
