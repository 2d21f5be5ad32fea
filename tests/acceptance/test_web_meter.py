"""A meter's page beside a meter that we play: who switched it, outcomes that nobody knows, its curves."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from tests.support.bridges import METER, OTHER, Client, stamp
from tests.support.browser import PHONE, announced, opened, resize, same, shows, text_of
from tests.support.chain import until
from tests.support.played import Played
from tests.support.plots import PLOTS, before_every_page, plot
from tests.support.web import Web

pytest_plugins = ("tests.support.played",)

OPEN, CLOSED = '[data-order="open"]', '[data-order="closed"]'
HURRY = """
const slow = window.setTimeout;
window.setTimeout = (action, ms, ...more) => slow(action, ms >= 20000 ? 500 : ms, ...more);
"""
"""Half a second instead of minutes."""
DUMB = """
const Real = window.EventSource;
let first = true;
window.EventSource = function (url) {
  if (!first) return new Real(url);
  first = false;
  return { readyState: 0, addEventListener() {}, close() {} };
};
"""
"""The first stream says nothing, and is not broken."""


@pytest.fixture(scope="module")
def meter(web: Web) -> Iterator[Played]:
    """House 7."""
    with Client(web.chain.broker) as client:
        house = Played(client, METER, "House 7")
        house.appear(web, interval=60)
        house.read()
        yield house


@pytest.fixture
def page(chrome: Chrome, web: Web, meter: Played) -> Chrome:
    """Its page, live; its relay closed."""
    meter.relay("closed")
    return opened(chrome, web, f"/meters/{METER}")


def order(page: Chrome, selector: str = OPEN) -> None:
    """Click, and say yes."""
    page.find_element(By.CSS_SELECTOR, selector).click()
    page.find_element(By.ID, "confirm-yes").click()


def test_who_switched_it_last_is_told_also_by_hand(page: Chrome, meter: Played) -> None:
    order(page)
    command_id = until(meter.commands, why="the command")[-1]
    meter.answer(command_id)
    shows(page, "#outcome", lambda text: "waiting for its relay" in text)
    meter.relay("open", operations=4, command_id=command_id)
    shows(page, "#outcome", "Switch off: Done.".__eq__)
    shows(page, "#switched", lambda text: text.startswith("Switched off by remote-control web operator,"))
    shows(page, "#facts", lambda text: "Relay operations\n4" in text)
    announced(page, "House 7: off")
    meter.relay("closed", operations=5)
    shows(page, "#switched", lambda text: text.startswith("Switched on at the meter,"))
    shows(page, "#facts", lambda text: "Relay operations\n5" in text)
    assert same(page)


def test_local_control_is_told_and_switches_nothing(page: Chrome, web: Web, meter: Played) -> None:
    button = page.find_element(By.CSS_SELECTOR, OPEN)
    for again in (False, True):
        meter.relay("closed", local=True)
        shows(page, "#local", "It can be switched only at the meter.".__eq__)
        button.click()
        assert not page.find_element(By.ID, "confirm").is_displayed()
        if not again:
            page = opened(page, web, f"/meters/{METER}")
            button = page.find_element(By.CSS_SELECTOR, OPEN)
    meter.relay("closed")
    shows(page, "#local", "".__eq__)
    button.click()
    shows(page, "#confirm-title", "Switch off?".__eq__)


def test_an_outcome_that_nobody_knows_is_not_refused(page: Chrome, web: Web, meter: Played) -> None:
    """The broker says nothing for the time that the web waits; later the meter does."""
    os.kill(web.chain.broker.pid, signal.SIGSTOP)
    try:
        order(page)
        shows(
            page, "#outcome", lambda text: text.startswith("Switch off: Not known: the broker disconnected")
        )
    finally:
        os.kill(web.chain.broker.pid, signal.SIGCONT)
    known: dict[str, str] = until(
        lambda: next((one for one in web.json("/commands")["commands"] if one["reason"]), {}),
        why="the ledger",
    )
    assert known["origin"] == "remote-control web operator"
    shows(page, "#link", "Live".__eq__)
    meter.relay("open", command_id=known["command_id"])
    meter.answer(known["command_id"])
    shows(page, "#outcome", "Switch off: Done.".__eq__)


def test_an_order_that_waits_too_long_is_never_sent(page: Chrome, web: Web, meter: Played) -> None:
    """Other streams hold the browser's six connections."""
    before = len(meter.commands())
    page.execute_script(
        "window.held = [...Array(6)].map(() => new EventSource('/api/v1/stream?kind=broker'));"
        "return held.length"
    )
    until(lambda: page.execute_script("return held.filter((one) => one.readyState === 1).length") == 5)
    order(page)
    shows(page, "#outcome", lambda text: text.startswith("Switch off: Not known: no answer within 5 s"))
    page.execute_script("held.forEach((one) => one.close())")
    script = "const done = arguments[0]; fetch('/api/v1/meters?limit=1').then((one) => done(one.status))"
    assert page.execute_async_script(script) == 200  # whatever waited for a connection had one
    meter.read()
    shows(page, "#link", "Live".__eq__)
    assert len(meter.commands()) == before
    assert web.json(f"/meters/{METER}/latest")["relay"] == "closed"


def test_the_focus_stays_where_the_order_was_given(page: Chrome, meter: Played) -> None:
    known = len(meter.commands())
    order(page)
    button = page.find_element(By.CSS_SELECTOR, OPEN)
    shows(page, "#outcome", lambda text: "waiting for the meter" in text)
    assert page.switch_to.active_element == button
    assert button.get_attribute("aria-disabled") == "true"
    command_id = until(lambda: meter.commands()[known:], why="the command")[0]
    meter.answer(command_id, "failed")
    shows(page, "#outcome", lambda text: "Failed" in text)
    until(lambda: button.get_attribute("aria-disabled") == "false", why="it can be given again")
    assert page.switch_to.active_element == button


def test_a_meter_that_goes_and_comes_is_announced(page: Chrome, meter: Played) -> None:
    meter.online(False)
    shows(page, "h1 .state", "offline".__eq__)
    announced(page, "House 7: offline")
    meter.online(True)
    meter.read()
    announced(page, "House 7: online")


def test_a_retired_meter_that_is_born_again_is_in_service(chrome: Chrome, web: Web, meter: Played) -> None:
    other = Played(meter.client, OTHER, "House 8")
    other.appear(web)
    page = opened(chrome, web, f"/meters/{OTHER}")
    other.retire()
    shows(page, ".complaint", lambda text: text.startswith("Out of service"))
    shows(page, "#link", "Live".__eq__)
    other.appear(web)
    until(lambda: page.find_elements(By.CSS_SELECTOR, OPEN), why="it can be switched")
    assert page.find_elements(By.CSS_SELECTOR, ".complaint") == []


def test_a_stream_that_never_says_anything_is_opened_again(page: Chrome, web: Web) -> None:
    with before_every_page(page, HURRY, DUMB):
        opened(page, web, f"/meters/{METER}")


def test_no_line_bridges_what_was_not_measured(page: Chrome, web: Web, meter: Played) -> None:
    other = Played(meter.client, "3f2504e0-4f89-41d3-9a0c-0305e82c3304", "House 9", seq=1000)
    other.appear(web, interval=1)
    for second in range(300, 295, -1):
        other.read(ts=stamp(seconds=-second), power=123456.7)
    until(lambda: web.chain.rows("SELECT 1 FROM reading WHERE seq = ?", other.seq), why="they are stored")
    with before_every_page(page, PLOTS, HURRY):
        page = opened(page, web, f"/meters/{other.meter_id}")
        until(lambda: plot(page, "curve", "data"), why="the curve")
        before = plot(page, "curve", "data[1].filter((one) => one === null).length")
        other.read(power=7.0)
        until(lambda: plot(page, "curve", "data[1].at(-1)") == 0.007, why="the reading is drawn")
        assert plot(page, "curve", "data[1].filter((one) => one === null).length") > before
        page.find_element(By.ID, "wider").click()
        shows(page, "#curve-words", lambda text: text.startswith("Between 0.007 and 123.5 kW"))


def test_the_curves_are_of_the_quantity_that_is_chosen(page: Chrome, web: Web, meter: Played) -> None:
    until(lambda: web.chain.rows("SELECT 1 FROM reading WHERE seq = ?", meter.seq), why="it is stored")
    with before_every_page(page, PLOTS):
        page = opened(page, web, f"/meters/{METER}")
        shows(page, "#curve-title", "Power of the last 24 hours, kW".__eq__)
        Select(page.find_element(By.ID, "quantity")).select_by_visible_text("Voltage")
        shows(page, "#curve-title", "Voltage of the last 24 hours, V".__eq__)
        until(lambda: plot(page, "curve", "data[1].at(-1)") == 231.2, why="the voltage is drawn")
        meter.read(voltage=229.5, power=7.0)
        until(lambda: plot(page, "curve", "data[1].at(-1)") == 229.5, why="and goes on")
        assert 0.007 not in plot(page, "curve", "data[1]")


def test_a_name_neither_widens_the_page_nor_turns_the_question(
    chrome: Chrome, web: Web, meter: Played
) -> None:
    """U+202E turns what follows it, unless the name is isolated."""
    other = Played(meter.client, "3f2504e0-4f89-41d3-9a0c-0305e82c3303", "House \u202e" + 57 * "W")
    other.appear(web, address_code=200 * "7")
    resize(chrome, PHONE)
    script = "return document.documentElement.scrollWidth"
    for path in ("/", "/commands", f"/meters/{other.meter_id}"):
        chrome.get(web.url + path)
        shows(chrome, "#link", "Live".__eq__)
        assert chrome.execute_script(script) <= PHONE[0], path
    chrome.find_element(By.CSS_SELECTOR, OPEN).click()
    text = text_of(chrome, "#confirm-text")
    assert text.endswith("will be without power until it is switched on again.")
    assert chrome.execute_script("return document.querySelector('#confirm-text').firstChild.tagName") == "BDI"
    assert chrome.execute_script("return document.querySelector('#confirm').scrollWidth") <= PHONE[0]


def test_what_is_not_heard_any_more_is_not_good(page: Chrome, web: Web, meter: Played) -> None:
    """The last test: the web is away after it."""

    def good(text: str) -> bool:
        meter.read()  # again and again: it is stale soon, and the machine may be busy
        return text == "good"

    shows(page, '[data-field="quality"]', good)
    process = web.chain.processes.pop("web")
    process.kill()
    process.wait()
    shows(page, "#link", lambda text: text.startswith("Connection lost"))
    shows(page, '[data-field="quality"]', "old".__eq__)
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    script = "return document.getElementById('link').getBoundingClientRect().top"
    assert page.execute_script(script) == 0
    script = "return getComputedStyle(document.querySelector('h1 .state')).fontStyle"
    assert page.execute_script(script) == "italic"
