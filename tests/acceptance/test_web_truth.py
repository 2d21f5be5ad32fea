"""The pages never show what is not so: a server or a broker that is frozen, a meter that is away, ages."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from selenium.webdriver import Chrome

from tests.support.bridges import METER, Client, stamp
from tests.support.browser import opened, shows
from tests.support.chain import until
from tests.support.delayed import Proxy, delayed
from tests.support.played import Played
from tests.support.web import Web

pytest_plugins = ("tests.support.played",)

FEW_SECONDS = 45.0
"""The page says it within 5 s (tests/unit/test_web_pages.py), by timers that a busy machine delays."""
AGE = re.compile(r"(\d+) s ago")
PLACES = {"/": f'#meters tr[data-meter="{METER}"]', f"/meters/{METER}": "#meter"}
HEARD = """
window.heard = [];
const link = document.getElementById("link");
new MutationObserver(() => heard.push(link.textContent)).observe(link, { childList: true });
"""
"""What the line says, one after the other."""
AHEAD = "const real = Date.now; Date.now = () => real() + 3600000;"
BEHIND = "const real = Date.now; Date.now = () => real() - 3600000;"
GREEN = """
const probe = document.createElement("span");
probe.style.color = "var(--good)";
document.body.append(probe);
const green = getComputedStyle(probe).color;
probe.remove();
return getComputedStyle(document.querySelector(arguments[0])).color === green;
"""


@pytest.fixture
def meter(web: Web) -> Iterator[Played]:
    """House 7, online, with a reading."""
    with Client(web.chain.broker) as client:
        house = Played(client, METER, "House 7", seq=int(time.time()))
        house.appear(web, interval=60)
        house.read()
        yield house


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """They do nothing."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("path", [*PLACES, "/commands", "/health", "/scl", "/dead-letters"])
def test_a_frozen_server_is_noticed_within_seconds(
    chrome: Chrome, web: Web, meter: Played, path: str
) -> None:
    page = opened(chrome, web, path)
    with frozen(web.chain.processes["web"].pid):
        began = time.monotonic()
        shows(page, "#link", lambda text: text.startswith("Connection lost"))
        assert time.monotonic() - began < FEW_SECONDS
        if path in PLACES:
            assert not page.execute_script(GREEN, f"{PLACES[path]} [data-field=state]")
            assert not page.execute_script(GREEN, f"{PLACES[path]} [data-field=relay]")
        if path == "/health":
            assert not page.execute_script(GREEN, 'tr[data-key="broker"] .state')
    shows(page, "#link", "Live".__eq__)


def test_a_frozen_broker_is_noticed_within_seconds(chrome: Chrome, web: Web, meter: Played) -> None:
    page = opened(chrome, web, "/")
    with frozen(web.chain.broker.pid):
        began = time.monotonic()
        shows(page, "#link", lambda text: text.startswith("The broker is away"))
        assert time.monotonic() - began < FEW_SECONDS
        shows(page, f"{PLACES['/']} [data-field=state]", "stale".__eq__)
        assert not page.execute_script(GREEN, f"{PLACES['/']} [data-field=relay]")
    shows(page, "#link", "Live".__eq__, seconds=60)


@pytest.mark.parametrize("clock", [0, 3600], ids=["right", "an hour ahead"])
@pytest.mark.parametrize("path", PLACES)
def test_an_offline_meter_is_neither_green_nor_fresh(
    chrome: Chrome, web: Web, meter: Played, path: str, clock: int
) -> None:
    """As it happens, and after the page is loaded again."""
    place = PLACES[path]
    page = opened(chrome, web, path)
    shows(page, f"{place} [data-field=relay]", "on".__eq__)
    assert page.execute_script(GREEN, f"{place} [data-field=relay]")
    taken = time.time()
    meter.read(ts=stamp(seconds=clock))
    meter.online(False)
    for again in (False, True):
        if again:
            page = opened(chrome, web, path)
        shows(page, f"{place} [data-field=state]", "offline".__eq__)
        shows(page, f"{place} [data-field=relay]", "on (last known)".__eq__)
        for field in ("state", "relay"):
            assert not page.execute_script(GREEN, f"{place} [data-field={field}]")
        shows(page, f"{place} [data-age]", lambda text: honest(text, taken, clock))


def honest(text: str, taken: float, clock: int) -> bool:
    """Whether the page does not say that a reading is younger than it is; one from ahead has no age."""
    found = AGE.fullmatch(text)
    if clock:
        return found is None and text != ""
    return found is not None and int(found[1]) >= int(time.time() - taken) - 2


def as_old_as_it_is(text: str, taken: float) -> bool:
    """Whether that is the age now of a reading of then, but for a few seconds."""
    found = AGE.fullmatch(text)
    return found is not None and abs(time.time() - taken - int(found[1])) < 5


@pytest.mark.parametrize("script", ["", AHEAD, BEHIND], ids=["right", "ahead", "behind"])
@pytest.mark.parametrize("path", PLACES)
def test_an_age_is_the_readings_own_whatever_the_viewers_clock(
    chrome: Chrome, web: Web, meter: Played, path: str, script: str
) -> None:
    """A reading that was taken 70 s ago and comes now is 70 s old."""
    place, taken = PLACES[path], time.time() - 70
    add, remove = (f"Page.{verb}ScriptToEvaluateOnNewDocument" for verb in ("add", "remove"))
    given = chrome.execute_cdp_cmd(add, {"source": script})
    try:
        page = opened(chrome, web, path)
        meter.read(ts=stamp(seconds=-70), power=123.4)
        shows(page, f"{place} [data-field=power]", "0.123".__eq__)
        for again in (False, True):
            if again:
                page = opened(chrome, web, path)
            shows(page, f"{place} [data-age]", lambda text: as_old_as_it_is(text, taken))
    finally:
        chrome.execute_cdp_cmd(remove, given)


def behind(proxy: Proxy, path: str = "/") -> str:
    """Where a browser reaches the page through the proxy; the session is the same."""
    return f"http://127.0.0.1:{proxy.port}{path}"


def test_a_proxy_that_keeps_everything_is_noticed_within_seconds(
    chrome: Chrome, web: Web, meter: Played
) -> None:
    with delayed(web.port) as proxy:
        chrome.get(behind(proxy))
        shows(chrome, "#link", "Live".__eq__)
        proxy.seconds = 3600.0
        began = time.monotonic()
        shows(chrome, "#link", lambda text: text.startswith("Connection lost"))
        assert time.monotonic() - began < FEW_SECONDS
        proxy.seconds = 0.0
        shows(chrome, "#link", "Live".__eq__)


def test_what_a_proxy_delivers_late_is_not_live(chrome: Chrome, web: Web, meter: Played) -> None:
    """The stream stands, and says something all the time."""
    with delayed(web.port) as proxy:
        chrome.get(behind(proxy))
        shows(chrome, "#link", "Live".__eq__)
        proxy.seconds = 6.0
        shows(
            chrome,
            "#link",
            lambda text: re.fullmatch(r"Delayed: what is shown is \d+ s old", text) is not None,
        )
        assert not chrome.execute_script(GREEN, f"{PLACES['/']} [data-field=state]")
        proxy.seconds = 0.0
        shows(chrome, "#link", "Live".__eq__)


def test_a_machine_that_slept_is_not_live(chrome: Chrome, web: Web, meter: Played) -> None:
    """Its browser stood still, and the server is gone meanwhile."""
    page = opened(chrome, web, "/")
    page.execute_script(HEARD)
    page.execute_script("const real = Date.now; Date.now = () => real() + 3600000")
    until(lambda: "Connection lost: values are old, trying again …" in page.execute_script("return heard"))
    shows(page, "#link", "Live".__eq__)
    assert not any("3600" in text for text in page.execute_script("return heard")), "nothing is an hour old"
    chromium = psutil.Process(page.service.process.pid).children(recursive=True)
    with frozen(*(one.pid for one in chromium)):
        time.sleep(6)
        os.kill(web.chain.processes["web"].pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        shows(page, "#link", lambda text: text.startswith("Connection lost"))
        assert time.monotonic() - began < FEW_SECONDS
    finally:
        os.kill(web.chain.processes["web"].pid, signal.SIGCONT)
    shows(page, "#link", "Live".__eq__)
