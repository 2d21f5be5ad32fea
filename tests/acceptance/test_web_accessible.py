"""axe-core finds nothing serious on any page, in light and dark, at a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.support.axe import violations
from tests.support.browser import DESKTOP, PHONE, logged_in, resize, shows
from tests.support.web import Web, beside_meters

PAGES = (
    "/",
    "/meter",
    "/alarms",
    "/commands",
    "/blocks",
    "/scl",
    "/supply",
    "/dead-letters",
    "/health",
    "/docs",
    "/nonsense",
    "/login",
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Two meters, of which one was refused a command, and the web beside them."""
    with beside_meters(tmp_path_factory.mktemp("web"), 2) as web:
        meter_id = web.wait_for_meters(2)[0]
        with web.program() as client:
            client.post(f"/meters/{meter_id}/relay", json={"position": "closed"})
        yield web


@pytest.fixture(scope="module")
def chrome(web: Web) -> Iterator[Chrome]:
    with logged_in(web) as driver:
        yield driver


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desk", "phone-dark"])
def test_no_serious_violation(chrome: Chrome, web: Web, path: str, size: tuple[int, int], dark: bool) -> None:
    resize(chrome, size, dark=dark)
    where = f"/meters/{web.wait_for_meters(2)[0]}" if path == "/meter" else path
    chrome.get(web.url + where)
    shows(chrome, "h1", bool)
    if path not in ("/docs", "/nonsense", "/login"):
        shows(chrome, "#link", "Live".__eq__)
    assert violations(chrome) == []


def test_axe_finds_what_is_wrong(chrome: Chrome, web: Web) -> None:
    """That the check can fail."""
    chrome.get(web.url)
    shows(chrome, "h1", bool)
    chrome.execute_script("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=x>')")
    assert [rule for rule, _ in violations(chrome)] == ["image-alt"]
