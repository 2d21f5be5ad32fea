"""Debian's Chromium, driven by its own ChromeDriver, and what a person does with it.

>>> with browser() as driver:  # doctest: +SKIP
...     log_in(driver, web, "operator")
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By

from tests.support.chain import until
from tests.support.project import ROOT
from tests.support.web import PASSWORD, Web

T = TypeVar("T")

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root has no sandbox, and in a container there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
DESKTOP, PHONE = (1366, 768), (360, 740)
ARTEFACTS = Path(os.environ.get("METER61850_SCREENSHOTS", ROOT / ".screenshots"))
"""Where screenshots are kept; `make test` leaves them there."""


@contextmanager
def browser(*, dark: bool = False, flags: tuple[str, ...] = ()) -> Iterator[Chrome]:
    """A browser of its own; AssertionError without Chromium (`make servers` installs it)."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary, "chromium is not installed: make servers"
    assert driver, "chromedriver is not installed: make servers"
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = binary
        for flag in (*FLAGS, *flags, f"--user-data-dir={profile}", *(["--force-dark-mode"] if dark else [])):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        chrome = Chrome(options=options, service=ChromeService(driver))
        try:
            resize(chrome, DESKTOP)
            yield chrome
        finally:
            chrome.quit()


def resize(driver: Chrome, size: tuple[int, int], *, dark: bool | None = None) -> None:
    """The viewport, which a window cannot make narrower than 500 pixels; and the colour scheme."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    if dark is not None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def log_in(driver: Chrome, web: Web, name: str = "operator") -> None:
    """Through the form, as a person does."""
    driver.get(web.url + "/")
    driver.find_element(By.ID, "name").send_keys(name)
    driver.find_element(By.ID, "password").send_keys(PASSWORD)
    driver.find_element(By.CSS_SELECTOR, "form.login button").click()
    until(lambda: text_of(driver, "h1") == "Meters", why="the fleet after the login")


@contextmanager
def logged_in(web: Web) -> Iterator[Chrome]:
    """A browser in which the operator is logged in."""
    with browser() as driver:
        log_in(driver, web)
        yield driver


def text_of(driver: Chrome, selector: str) -> str:
    """Text of the first element; empty when there is none, or it is just replaced."""
    try:
        return str(driver.find_element(By.CSS_SELECTOR, selector).text)
    except WebDriverException:
        return ""


def shows(driver: Chrome, selector: str, right: Callable[[str], bool], *, seconds: float = 60) -> str:
    """Wait until the text of an element is right; AssertionError with what it is."""
    told = [""]

    def asked() -> bool:
        told[0] = text_of(driver, selector)
        return right(told[0])

    try:
        until(asked, seconds=seconds)
    except AssertionError:
        page = driver.execute_script("return document.body.innerText")
        raise AssertionError(f"{selector} says {told[0]!r}; the page:\n{page}") from None
    return told[0]


def complaints(driver: Chrome) -> list[str]:
    """What the browser complains of: errors of scripts, refusals of the Content-Security-Policy."""
    found = driver.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in found if entry["level"] == "SEVERE"]


def opened(chrome: Chrome, web: Web, path: str) -> Chrome:
    """The page, live, and marked: who loads it anew loses the mark."""
    resize(chrome, DESKTOP)
    chrome.get(web.url + path)
    shows(chrome, "#link", "Live".__eq__)
    chrome.execute_script("window.mark = 1")
    complaints(chrome)
    return chrome


def same(page: Chrome) -> bool:
    """Whether the page was not loaded anew, and has complained of nothing."""
    return page.execute_script("return window.mark") == 1 and complaints(page) == []


def fetched(page: Chrome) -> int:
    """How often the page has fetched itself again."""
    script = (
        "return performance.getEntriesByType('resource').filter((one) => one.name === location.href).length"
    )
    return int(page.execute_script(script))


def said(page: Chrome) -> str:
    """What a screen reader is told, once something is."""
    script = "return document.getElementById('news').textContent"
    return until(lambda: str(page.execute_script(script)), why="news")


def announced(page: Chrome, text: str) -> None:
    """Wait until a screen reader is told ``text``, maybe beside other news."""
    until(lambda: text in said(page), why=f"{text!r} is announced")


def window(page: Chrome, state: str) -> None:
    """Minimize it, or bring it back."""
    number = page.execute_cdp_cmd("Browser.getWindowForTarget", {})["windowId"]
    page.execute_cdp_cmd("Browser.setWindowBounds", {"windowId": number, "bounds": {"windowState": state}})
    hidden = state == "minimized"
    until(lambda: page.execute_script("return document.hidden") is hidden, why=f"the window is {state}")


def screenshot(driver: Chrome, name: str) -> Path:
    """Keep what is seen as ``name``.png."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    file = ARTEFACTS / f"{name}.png"
    assert driver.save_screenshot(str(file))
    return file
