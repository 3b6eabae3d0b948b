"""A headless Chromium for the tests of what people see: the one of the system, driven by Playwright.

::

    pytestmark = needs_browser

    with chromium() as browser, tab(browser, dark=True) as page:
        page.goto(stack.url)                   # signed in at once, where all are admins
        page.get_by_role("link", name="Dags").click()
        shot(page, "dags-dark")                # docs/images/dags-dark.png, with ENOS_SCREENSHOTS=1 only
        assert complaints(page) == []          # what its console, its scripts and the server said
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Frame, Locator, Page, Response

IMAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "images"
TAKES_SHOTS = "ENOS_SCREENSHOTS" in os.environ
TOKEN_COOKIE = "_token"
"""Where Airflow 3 keeps who is signed in."""

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--force-color-profile=srgb")
_OF_AIRFLOW = {"BodyStreamBuffer was aborted"}
"""Errors of Airflow's own pages: 3.2 breaks off a stream of its grid when one leaves it."""
_LEFT_OUT_OF_AIRFLOW = "/static/wasm/"
"""What the pages of Airflow 3.3 ask for, and its package does not have: a parser to colour SQL with."""
_complaints: dict[int, list[str]] = {}


def program() -> str | None:
    """The browser of this machine; ``ENOS_CHROMIUM`` names another one."""
    return os.environ.get("ENOS_CHROMIUM") or next(filter(None, map(shutil.which, _PROGRAMS)), None)


def _why_not() -> str:
    if find_spec("playwright") is None:
        return "Playwright is not installed (the extra 'test' brings it)"
    return "" if program() else "no Chromium on this machine (Debian: apt-get install chromium)"


needs_browser = pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "there is a browser")


@contextmanager
def chromium() -> Iterator[Browser]:
    """One browser; start it once a module, since it takes a second or two."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(
    browser: Browser,
    *,
    dark: bool = False,
    width: int = 1280,
    height: int = 900,
    token: str | None = None,
    url: str | None = None,
    seconds: float = 30,
) -> Iterator[Page]:
    """A tab with cookies of its own. ``token`` and ``url``: signs in to the Airflow at this address.

    ``seconds``: how long it waits for what a test asks for.
    """
    context = browser.new_context(
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(seconds * 1000)
    if token is not None:
        context.add_cookies([{"name": TOKEN_COOKIE, "value": token, "url": url}])
    page = context.new_page()
    heard = _complaints[id(page)] = []
    page.on("console", lambda message: _read(message, heard))
    page.on("pageerror", lambda error: None if str(error) in _OF_AIRFLOW else heard.append(f"script: {error}"))
    page.on("response", lambda response: _listen(response, heard))
    try:
        yield page
    finally:
        del _complaints[id(page)]
        context.close()


def _read(message: ConsoleMessage, heard: list[str]) -> None:
    if message.type == "error" and _LEFT_OUT_OF_AIRFLOW not in message.location["url"]:
        heard.append(f"console: {message.text}")


def _listen(response: Response, heard: list[str]) -> None:
    if response.status >= 400 and _LEFT_OUT_OF_AIRFLOW not in response.url:
        heard.append(f"{response.status}: {response.url}")


def complaints(page: Page) -> list[str]:
    """The errors of this tab until now: of the console, of scripts, and replies of 400 and above."""
    return list(_complaints[id(page)])


def shot(what: Page | Locator, name: str, **options: Any) -> None:
    """Write ``docs/images/NAME.png`` if screenshots are wanted (``make screenshots``)."""
    if TAKES_SHOTS:
        IMAGES.mkdir(parents=True, exist_ok=True)
        what.screenshot(path=IMAGES / f"{name}.png", animations="disabled", **options)


def set_theme(page: Page, theme: str) -> None:
    """Set Airflow's pages of this tab to ``"dark"`` or ``"light"``, as their own switch does. Call it before
    ``goto``."""
    page.add_init_script(f"try {{ localStorage.setItem('theme', '{theme}') }} catch (error) {{}}")


def accessible(what: Page | Locator | Frame) -> str:
    """Return what a screen reader reads: roles and names, as indented lines."""
    locator = what if hasattr(what, "aria_snapshot") else what.locator("body")  # type: ignore[union-attr]
    return str(locator.aria_snapshot())
