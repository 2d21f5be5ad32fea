"""The pages never show what is not so: a server or a broker that is frozen, a meter that is away, ages."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver import Chrome

from tests.support.bridges import METER, Client, stamp
from tests.support.browser import opened, shows
from tests.support.played import Played
from tests.support.web import Web

pytest_plugins = ("tests.support.played",)

FEW_SECONDS = 20.0
"""Less than the 25 s that it took; the page knows after 6, by timers that a busy machine delays a little."""
AGE = re.compile(r"(\d+) s ago")
PLACES = {"/": f'#meters tr[data-meter="{METER}"]', f"/meters/{METER}": "#meter"}
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
def frozen(pid: int) -> Iterator[None]:
    """It does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
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
        shows(page, f"{place} [data-field=power]", "123.4".__eq__)
        for again in (False, True):
            if again:
                page = opened(chrome, web, path)
            text = shows(page, f"{place} [data-age]", lambda text: bool(AGE.fullmatch(text)))
            assert abs(time.time() - taken - int(text.split()[0])) < 5, "it is as old as it is"
    finally:
        chrome.execute_cdp_cmd(remove, given)
