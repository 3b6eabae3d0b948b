"""The form of a connection and its button "Test Connection", as people have them in Airflow."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from airflows import AIRFLOW
from browser import chromium, complaints, needs_browser, shot, tab

from airflow_provider_enos.provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from airflow_provider_enos.simulator import EnosSimulator

if TYPE_CHECKING:
    from pages import Site
    from playwright.sync_api import Browser, Locator, Page

pytestmark = needs_browser

if AIRFLOW < (3, 3):
    pytest.skip("the pages are looked at in Airflow 3.3", allow_module_level=True)

CONN_ID = "enos_by_hand"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(airflow_site: Site, browser: Browser) -> Iterator[Page]:
    """The list of connections, as an admin has it."""
    stack = airflow_site.stack
    with tab(browser, token=stack.tokens["admin"], url=stack.url, width=1024, height=1200, seconds=60) as opened:
        opened.goto(f"{stack.url}/connections")
        yield opened
        assert complaints(opened) == []


@pytest.fixture
def kept(airflow_site: Site) -> Iterator[dict[str, str]]:
    """Connections by their ids, which are deleted in the end."""
    ids: dict[str, str] = {}
    yield ids
    _change(airflow_site, "delete", list(ids))


def _change(site: Site, action: str, entities: list[Any]) -> None:
    """Make all changes in one request: SQLite allows one writer at a time."""
    done = site.stack.call("PATCH", "connections", {"actions": [{"action": action, "entities": entities}]})
    assert done[action]["errors"] == []


def opened_form(page: Page) -> Locator:
    """The form of a new connection, once its type is chosen."""
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_role("textbox", name="Connection ID").fill(CONN_ID)
    form.get_by_role("combobox", name="Connection Type").click()
    page.keyboard.type("EnO")
    form.get_by_role("option", name="EnOS", exact=True).click()
    form.get_by_label("Access Key").wait_for()
    return form


def extra_fields(form: Locator) -> dict[str, Locator]:
    """The fields of this package. Before Airflow 3.4 they are below "Extra Fields", which this opens."""
    if AIRFLOW < (3, 4):
        form.get_by_role("button", name="Extra Fields", exact=True).click()
    fields = {name: form.locator(f"[name=element_{name}]") for name in CONNECTION_FIELDS}
    fields["timeout"] = form.get_by_role("spinbutton", name="Timeout")
    fields["org_id"].wait_for()
    return fields


def test_the_fields_are_called_as_enos_calls_them(page: Page) -> None:
    form = opened_form(page)
    for name, label in FIELD_BEHAVIOUR["relabeling"].items():
        field = form.get_by_label(label, exact=True)
        assert field.get_attribute("name") == name
        assert field.get_attribute("placeholder") == FIELD_BEHAVIOUR["placeholders"][name]
    assert form.get_by_label("Secret Key", exact=True).get_attribute("type") == "password"
    # What is too long for its field is not read.
    assert form.get_by_label("Gateway").evaluate("field => field.scrollWidth <= field.clientWidth")
    shot(form, "connection-form")
    fields = extra_fields(form)
    for name, described in CONNECTION_FIELDS.items():
        assert form.get_by_text(described["label"], exact=True).count() == 1
        assert form.get_by_text(described["description"], exact=True).is_visible()
        assert fields[name].count() == 1
        assert fields[name].get_attribute("required") is None, f"{name} may be empty"
    assert form.locator("#list_verify option").all_inner_texts() == ["true", "false"]
    shot(form, "connection-form-extra")


def test_what_is_saved_is_there_when_it_is_opened_again(airflow_site: Site, page: Page, kept: dict[str, str]) -> None:
    sim = airflow_site.sim
    host, _, port = sim.url.removeprefix("http://").partition(":")
    standard = {
        "Description": "the gateway of these tests",
        "Gateway": host,
        "Access Key": sim.access_key,
        "Secret Key": sim.secret_key,
        "Port": port,
        "Scheme": "http",
    }
    extra = {
        "org_id": sim.org_id,
        "user_id": sim.user_id,
        "verify": "false",
        "timeout": "12.5",
        "console_url": "https://console.example/{flow_instance_id}",
    }
    form = opened_form(page)
    for label, value in standard.items():
        form.get_by_label(label, exact=True).fill(value)
    fields = extra_fields(form)
    for name, value in extra.items():
        fields[name].fill(value)
    fields["allow_http"].press("Space")
    kept[CONN_ID] = ""
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="hidden")
    stored = json.loads(airflow_site.stack.call("GET", f"connections/{CONN_ID}")["extra"])
    assert stored == {**extra, "timeout": 12.5, "allow_http": True}

    page.reload()
    form = _edited(page)
    for label, value in standard.items():
        shown = form.get_by_label(label, exact=True).input_value()
        assert shown == ("***" if label == "Secret Key" else value), label
    fields = extra_fields(form)
    assert {name: fields[name].input_value() for name in extra} == extra
    assert fields["allow_http"].is_checked()
    # Emptied, it is as if it had never been there; and the secret key, which is not shown, stays.
    fields["timeout"].fill("")
    fields["verify"].fill("")
    fields["allow_http"].press("Space")
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="hidden")
    stored = json.loads(airflow_site.stack.call("GET", f"connections/{CONN_ID}")["extra"])
    assert stored == {**extra, "timeout": None, "verify": None, "allow_http": False}
    works, message = _tested(page, CONN_ID)
    assert (works, message) == (True, f"Connected to {sim.url} as user {sim.user_id} of organisation {sim.org_id}.")


def _edited(page: Page) -> Locator:
    page.get_by_role("row", name=CONN_ID).get_by_role("button", name="Edit Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Access Key").wait_for()
    return form


def _tested(page: Page, conn_id: str) -> tuple[bool, str]:
    """Return what the button of this connection says, once it is shown."""
    with page.expect_response("**/connections/test") as answered:
        row = page.get_by_role("row", name=re.compile(f"^{conn_id} "))
        # By keyboard: the hint of the button above may lie over it.
        row.get_by_role("button", name="Test Connection").press("Enter")
    message = answered.value.json()["message"]
    page.get_by_role("region", name="Notifications").get_by_text(message).first.wait_for()
    return answered.value.json()["status"], message


CAUSES: dict[str, tuple[dict[str, Any], str]] = {
    "wrong key": ({"login": "another"}, r'not an access key that the gateway knows.*login is "Access Key"\.$'),
    "wrong secret": (
        {"password": "another"},
        r'not the secret key of this access key.*password is "Secret Key"\.$',
    ),
    "wrong organisation": (
        {"org_id": "o1"},
        r'do not belong together.*org_id is "Organization ID", user_id is "User ID"\.$',
    ),
    "no user": ({"user_id": None}, r'^The connection cannot work\. user_id: it is missing.*user_id is "User ID"\.$'),
    "nobody there": ({"port": 1}, r'^Cannot reach the gateway\. .*Check host and port.*host is "Gateway"\.$'),
    "unknown host": (
        {"host": "surely-nowhere.invalid", "schema": "https"},
        r'^Cannot reach the gateway\. .*the host name cannot be resolved\. Check host.*host is "Gateway"\.$',
    ),
    "plain http": (
        {"host": "10.0.0.1"},
        r'in the clear; expected https.*schema is "Scheme", allow_http is "Allow plain http"\.$',
    ),
    "no TLS there": ({"schema": "https"}, r"^TLS is refused\. .*that the gateway speaks TLS there"),
    "no such CA file": (
        {"verify": "/no/ca.pem", "schema": "https"},
        r'^Nothing was sent\. verify=.*no such file.*verify is "TLS verification"\.$',
    ),
    "address of something else": ({"host": "http://127.0.0.1/edge"}, r"the gateway does not know this address"),
    "untrusted": ({}, r'^TLS is refused\. .*of your own authority, put.*verify is "TLS verification"\.$'),
}


def test_the_button_says_what_is_wrong_in_a_sentence(airflow_site: Site, page: Page, kept: dict[str, str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with EnosSimulator(tls=context) as sim_with_tls:
        kept.update({f"enos_{number}": cause for number, cause in enumerate(CAUSES)})
        gateways = {cause: sim_with_tls if cause == "untrusted" else airflow_site.sim for cause in CAUSES}
        bodies = [_body(gateways[cause], conn_id, CAUSES[cause][0]) for conn_id, cause in kept.items()]
        _change(airflow_site, "create", bodies)
        page.reload()
        said = {cause: _tested(page, conn_id) for conn_id, cause in kept.items()}
    for cause, (works, message) in said.items():
        assert not works, cause
        assert re.search(CAUSES[cause][1], message), f"{cause}: {message}"
        assert len(message) < 400
        assert "another" not in message


def test_the_button_beside_a_connection_that_works_and_one_that_does_not(
    airflow_site: Site, page: Page, kept: dict[str, str]
) -> None:
    kept.update({"enos_default": "works", "enos_staging": "wrong secret"})
    changes = {"enos_default": {}, "enos_staging": CAUSES["wrong secret"][0]}
    bodies = [_body(airflow_site.sim, conn_id, changed) for conn_id, changed in changes.items()]
    _change(airflow_site, "create", bodies)
    page.set_viewport_size({"width": 1100, "height": 560})
    page.reload()
    assert [_tested(page, conn_id)[0] for conn_id in kept] == [True, False]
    # The button that was pressed last shows its hint over the row.
    page.mouse.move(0, 0)
    shot(page, "connection-test")


def _body(sim: EnosSimulator, conn_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    fields = json.loads(sim.connection_json)
    extra = fields["extra"] | {name: value for name, value in changes.items() if name in CONNECTION_FIELDS}
    common = {name: value for name, value in changes.items() if name not in CONNECTION_FIELDS}
    return {**fields, **common, "connection_id": conn_id, "extra": json.dumps(extra)}
