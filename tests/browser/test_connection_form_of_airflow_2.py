"""The form of a connection and its button "Test", as people have them in Airflow 2: through the hook's methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from airflow2 import Airflow2
from airflows import AIRFLOW
from browser import chromium, needs_browser, shot, tab

from airflow_provider_enos.provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from airflow_provider_enos.simulator import EnosSimulator

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = needs_browser

if AIRFLOW >= (3, 0):
    pytest.skip("Airflow 3 has another form", allow_module_level=True)

CONN_ID = "enos_by_hand"


class Webserver(Airflow2):
    """Airflow 2 without what runs tasks."""

    parts = ("webserver",)


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    home = tmp_path_factory.mktemp("webserver")
    airflow = Webserver(home, home / "dags", "enos://", {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"})
    try:
        airflow.start()
        yield airflow
    finally:
        airflow.stop()


@pytest.fixture
def page(webserver: Webserver) -> Iterator[Page]:
    """The form of a new connection, once its type is chosen."""
    with chromium() as browser, tab(browser, seconds=60) as opened:
        opened.goto(f"{webserver.url}/connection/add")
        opened.locator("#conn_id").fill(CONN_ID)
        opened.get_by_role("combobox").click()
        opened.get_by_role("option", name="EnOS", exact=True).click()
        field(opened, "org_id").wait_for()
        yield opened


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#extra__enos__{name}" if name in CONNECTION_FIELDS else f"#{name}")


def test_the_fields_are_called_as_enos_calls_them(page: Page) -> None:
    for name, label in FIELD_BEHAVIOUR["relabeling"].items():
        assert page.locator(f"label[for={name}]").inner_text() == label
        assert field(page, name).get_attribute("placeholder") == FIELD_BEHAVIOUR["placeholders"][name]
    assert field(page, "password").get_attribute("type") == "password"
    shot(page, "connection-form-airflow-2", full_page=True)
    for name, described in CONNECTION_FIELDS.items():
        row = page.locator("tr", has=field(page, name))
        assert described["label"] in row.inner_text()
        assert described["description"] in row.inner_text()


def test_what_is_saved_is_there_when_it_is_opened_again(webserver: Webserver, page: Page, sim: EnosSimulator) -> None:
    values = {
        "host": "127.0.0.1",
        "port": str(sim.port),
        "schema": "http",
        "login": sim.access_key,
        "password": sim.secret_key,
        "org_id": sim.org_id,
        "user_id": sim.user_id,
        "verify": "false",
        "timeout": "12.5",
        "console_url": "https://console.example/{flow_instance_id}",
    }
    for name, value in values.items():
        field(page, name).fill(value)
    field(page, "allow_http").check()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Added Row").wait_for()
    page.goto(f"{webserver.url}/connection/list")
    page.locator("tr", has_text=CONN_ID).locator("a[href*='/connection/edit/']").click()
    field(page, "org_id").wait_for()
    # The secret key is not shown, and stays.
    shown = {name: field(page, name).input_value() for name in values if name != "password"}
    assert shown == {name: value for name, value in values.items() if name != "password"}
    assert field(page, "allow_http").is_checked()
    field(page, "timeout").fill("")
    field(page, "password").fill(sim.secret_key)
    assert said_by_the_button(page) == f"Connected to {sim.url} as user {sim.user_id} of organisation {sim.org_id}."
    field(page, "login").fill("another")
    assert said_by_the_button(page).endswith('login is "Access Key".')


def said_by_the_button(page: Page) -> str:
    with page.expect_response("**/connections/test") as answered:
        page.locator("#test-connection").click()
    message = str(answered.value.json()["message"])
    page.locator(".alert", has_text=message).wait_for()
    return message
