"""A flow as a task group, in Airflow's graph and grid, in the tab "EnOS", and in the dialog that clears tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from airflows import AIRFLOW
from browser import chromium, complaints, needs_browser, set_theme, shot, tab
from view_scene import READINGS, WHY_LOAD_FAILED

if TYPE_CHECKING:
    from pages import Site
    from playwright.sync_api import Browser, FloatRect, Page
    from stack import Run

pytestmark = needs_browser

if AIRFLOW < (3, 3):
    pytest.skip("the pages are looked at in Airflow 3.3", allow_module_level=True)

FLOW = 8301
INGEST, CLEAN, AGGREGATE, VALIDATE, PUBLISH = range(FLOW * 10, FLOW * 10 + 5)
ONLY_THE_GRAPH = ".react-flow__minimap, .react-flow__panel { display: none }"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


class Group:
    """The run of the DAG, which each test takes as far as it needs it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.sim.add_flow(
            FLOW,
            name=READINGS["name"],
            tasks={FLOW * 10 + number: name for number, name in enumerate(READINGS["names"])},
            relations=[(FLOW * 10 + a, FLOW * 10 + b) for a, b in READINGS["relations"]],
            progress="manual",
            logs={VALIDATE: WHY_LOAD_FAILED},
        )
        self.run = site.run("grouped")
        self.reached = 0

    def of(self, node: str) -> Run:
        return self.run.of_task(f"readings.{node}")

    @property
    def instances(self) -> list[str]:
        return [one.id for one in self.site.sim.instances_of(FLOW)]

    def set(self, instance: str, status: str, *nodes: int) -> None:
        for node in nodes:
            self.site.sim.set_node_status(instance, node, status)

    def comes_half_way(self) -> None:
        """*validate* still runs, and *aggregate*, beside it, has ended."""
        if self.reached < 1:
            self.of("ingest").wait_for("deferred", seconds=180)
            self.set(self.instances[0], "SUCCESS", INGEST, CLEAN, AGGREGATE)
            self.set(self.instances[0], "RUNNING", VALIDATE)
            self.run.of_task("quality_report").wait_for("success", seconds=180)
            self.reached = 1

    def fails(self) -> None:
        self.comes_half_way()
        if self.reached < 2:
            self.set(self.instances[0], "FAIL", VALIDATE)
            self.site.sim.finish(self.instances[0], "FAIL")
            # As in EnOS, which does not run what is downstream of a failed node.
            self.set(self.instances[0], "INIT", PUBLISH)
            self.run.of_task("notify").wait_for("upstream_failed", seconds=180)
            self.run.wait_for_run("failed")
            self.reached = 2


@pytest.fixture(scope="module")
def group(airflow_site: Site) -> Group:
    return Group(airflow_site)


@contextmanager
def page_at(site: Site, browser: Browser, address: str, user: str = "viewer", height: int = 760) -> Iterator[Page]:
    """Yield a page of Airflow. In the end it must have reported no error."""
    stack = site.stack
    with tab(browser, token=stack.tokens[user], url=stack.url, width=1280, height=height, seconds=60) as page:
        set_theme(page, "light")
        page.goto(address)
        yield page
        assert complaints(page) == []


def graph_of(site: Site, browser: Browser, group: Group, name: str) -> dict[str, str]:
    """Take a picture of the run's graph, and return the state that each task has there."""
    with page_at(site, browser, f"{site.stack.url}/dags/grouped/runs/{group.run.run_id}") as page:
        page.get_by_role("button", name="Expand all task groups").click()
        page.get_by_role("button", name="Show Graph").click()
        page.get_by_role("button", name="Collapse Details Panel").click()
        nodes = page.locator(".react-flow__node")
        nodes.filter(has_text="publish").last.wait_for()
        page.get_by_role("button", name="Fit View").click()
        page.wait_for_timeout(1000)
        texts = nodes.all_inner_texts()
        shot(page, name, clip=around([box for one in nodes.all() if (box := one.bounding_box())]), style=ONLY_THE_GRAPH)
    lines = [text.splitlines() for text in texts if "Task Group" not in text]
    return {words[0]: words[-1].strip() for words in lines if len(words) > 1}


def around(boxes: list[FloatRect]) -> Any:
    left, top = (min(box[side] for box in boxes) - 12 for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes) + 12
    bottom = max(box["y"] + box["height"] for box in boxes) + 12
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


def test_what_follows_one_node_runs_while_others_wait(airflow_site: Site, browser: Browser, group: Group) -> None:
    group.comes_half_way()
    states = graph_of(airflow_site, browser, group, "group-graph")
    assert states["quality_report"] == states["aggregate"] == "success"
    assert states["validate"] == "deferred"


def test_a_failed_node_in_graph_and_grid(airflow_site: Site, browser: Browser, group: Group) -> None:
    group.fails()
    states = graph_of(airflow_site, browser, group, "group-failed")
    assert (states["validate"], states["publish"], states["clean"]) == ("failed", "upstream_failed", "success")
    address = f"{airflow_site.stack.url}/dags/grouped/runs/{group.run.run_id}"
    with page_at(airflow_site, browser, address, height=560) as page:
        page.get_by_role("button", name="Expand all task groups").click()
        page.get_by_test_id(f"grid-{group.run.run_id}-readings.validate").wait_for()
        page.get_by_role("row", name=re.compile("readings.validate")).wait_for()
        shot(page, "group-grid")


def test_the_tab_marks_the_node_and_says_why_it_failed(airflow_site: Site, browser: Browser, group: Group) -> None:
    group.fails()
    address = airflow_site.stack.page_of(group.of("validate"), "/plugin/enos")
    with page_at(airflow_site, browser, address, height=1000) as page:
        frame = page.frame_locator("iframe[title=EnOS]")
        own = frame.get_by_role("region", name="The node of this task")
        own.get_by_text(WHY_LOAD_FAILED.splitlines()[-1]).wait_for()
        assert own.get_by_text("validate", exact=True).count() == 1
        shot(page, "group-tab")
        assert (frame.locator(".node:has(.ring)").text_content() or "").startswith("validate")
        assert frame.locator("tr.own").inner_text().startswith("validate")
        own.get_by_role("button", name="Log of validate").click()
        frame.get_by_role("dialog", name="Log of validate").get_by_text(WHY_LOAD_FAILED.splitlines()[-1]).wait_for()


def test_a_clear_starts_the_flow_from_the_node(airflow_site: Site, browser: Browser, group: Group) -> None:
    group.fails()
    (first,) = group.instances
    with page_at(airflow_site, browser, airflow_site.stack.page_of(group.of("validate")), "admin", 620) as page:
        page.get_by_role("button", name="Press shift+c to clear").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Affected Tasks: 3").wait_for()
        dialog.get_by_text("notify").wait_for()
        shot(dialog, "group-clear")
        dialog.get_by_role("button", name="Confirm").click()
        dialog.wait_for(state="hidden")
    from stack import until

    until(lambda: len(group.instances) == 2, 180, "another instance", lambda: group.instances)
    second = airflow_site.sim.instances_of(FLOW)[1]
    assert second.from_task_id == VALIDATE
    group.set(second.id, "SUCCESS", VALIDATE, PUBLISH)
    airflow_site.sim.finish(second.id, "SUCCESS")
    group.run.of_task("notify").wait_for("success", seconds=180)
    assert set(graph_of(airflow_site, browser, group, "group-cleared").values()) == {"success"}
    for node, instance in {"clean": first, "aggregate": first, "validate": second.id, "publish": second.id}.items():
        shown = airflow_site.ask("api/instance", group.run.of_task("task"), task_id=f"readings.{node}").json()
        assert shown["id"] == instance
        assert group.of(node).xcom("_link_EnosFlowInstanceLink").endswith(instance)
