"""The page in a real browser: live values, a relay that is switched, a meter that falls silent, a broken
link."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.browser import (
    DESKTOP,
    PHONE,
    browser,
    complaints,
    log_in,
    resize,
    screenshot,
    shows,
    text_of,
)
from tests.support.chain import until
from tests.support.web import Web, beside_meters, start
from web.auth.accounts import Role

PAGES = ("/", "/alarms", "/commands", "/blocks", "/scl", "/dead-letters", "/health", "/docs")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Four meters, of which two can be stopped by themselves, and the web beside them."""
    with beside_meters(tmp_path_factory.mktemp("web"), 3, 1) as web:
        yield web


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    """One browser for all tests: starting it takes a second."""
    with browser() as driver:
        yield driver


@pytest.fixture
def page(chrome: Chrome, web: Web) -> Chrome:
    """A browser in which the operator is logged in, on the fleet."""
    chrome.delete_all_cookies()
    resize(chrome, DESKTOP, dark=False)
    log_in(chrome, web)
    shows(chrome, "#link", "Live".__eq__)
    complaints(chrome)  # of the test before
    return chrome


def row(meter_id: str, field: str) -> str:
    """Where the fleet shows a field of a meter."""
    return f'tr[data-meter="{meter_id}"] [data-field="{field}"]'


def test_the_fleet_appears_and_its_values_change_by_themselves(page: Chrome, web: Web) -> None:
    meter_id = web.wait_for_meters(4)[0]
    before = shows(page, row(meter_id, "power"), lambda power: power not in ("", "–"))
    shows(page, row(meter_id, "power"), lambda power: power not in ("", "–", before))
    shows(page, '[data-sum="online"]', "4".__eq__)
    shows(page, row(meter_id, "state"), "online".__eq__)
    screenshot(page, "fleet-desktop")
    assert complaints(page) == []


def test_a_relay_is_switched_after_a_question_and_its_outcome_shown(page: Chrome, web: Web) -> None:
    meter_id = web.wait_for_meters(4)[0]
    page.get(f"{web.url}/meters/{meter_id}")
    shows(page, "#link", "Live".__eq__)
    page.find_element(By.CSS_SELECTOR, '[data-order="open"]').click()
    shows(page, "#confirm-text", lambda text: "House 1 will be without power" in text)
    page.find_element(By.CSS_SELECTOR, '#confirm button[value="no"]').click()
    assert text_of(page, "#outcome") == ""
    assert web.json(f"/meters/{meter_id}/latest")["relay"] == "closed"
    page.find_element(By.CSS_SELECTOR, '[data-order="open"]').click()
    page.find_element(By.ID, "confirm-yes").click()
    shows(page, "#outcome", "Switch off: Done.".__eq__)
    shows(page, 'p [data-field="relay"]', "off".__eq__)
    shows(page, "#switched", lambda text: "Switched off by remote-control web operator" in text)
    shows(page, '[data-field="power"]', "0.000".__eq__)
    screenshot(page, "meter-desktop")
    page.find_element(By.CSS_SELECTOR, '[data-order="open"]').click()
    assert not page.find_element(By.ID, "confirm").is_displayed(), "it is off: that button changes nothing"
    with web.program(Role.OPERATOR) as client:
        assert client.post(f"/meters/{meter_id}/relay", json={"position": "open"}).status_code == 409
    page.find_element(By.CSS_SELECTOR, '[data-order="closed"]').click()
    page.find_element(By.ID, "confirm-yes").click()
    shows(page, "#outcome", "Switch on: Done.".__eq__)
    assert complaints(page) == []
    page.get(f"{web.url}/commands")
    shows(page, "#rows", lambda text: "switch off refused" in text and "it is off already" in text)
    assert "open" not in text_of(page, "#rows"), "open and closed are words of the SCL"


def test_the_relay_by_keyboard_alone(page: Chrome, web: Web) -> None:
    meter_id = web.wait_for_meters(4)[1]
    page.get(f"{web.url}/meters/{meter_id}")
    shows(page, "#link", "Live".__eq__)
    focus(page, '[data-order="open"]')
    page.switch_to.active_element.send_keys(Keys.ENTER)
    shows(page, "#confirm-title", "Switch off?".__eq__)
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    until(lambda: not page.find_element(By.ID, "confirm").is_displayed(), why="the question is gone")
    assert web.json(f"/meters/{meter_id}/latest")["relay"] == "closed"


def focus(page: Chrome, selector: str) -> None:
    """With the tabulator, as somebody without a mouse does."""
    wanted = page.find_element(By.CSS_SELECTOR, selector)
    body = page.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    for _ in range(60):
        if page.switch_to.active_element == wanted:
            return
        page.switch_to.active_element.send_keys(Keys.TAB)
    raise AssertionError(f"{selector} is not reached with the tabulator")


def test_an_observer_sees_no_switch(chrome: Chrome, web: Web) -> None:
    chrome.delete_all_cookies()
    log_in(chrome, web, "observer")
    chrome.get(f"{web.url}/meters/{web.wait_for_meters(4)[0]}")
    shows(chrome, "#link", "Live".__eq__)
    assert chrome.find_elements(By.CSS_SELECTOR, "[data-order]") == []


def test_a_stopped_meter_turns_stale_and_a_dead_one_offline(page: Chrome, web: Web) -> None:
    meter_id = web.wait_for_meters(4)[3]
    meters = web.chain.processes["meters4"]
    meters.send_signal(signal.SIGSTOP)
    shows(page, row(meter_id, "state"), "stale".__eq__)
    shows(page, '[data-sum="stale"]', "1".__eq__)
    meters.send_signal(signal.SIGCONT)
    shows(page, row(meter_id, "state"), "online".__eq__)
    meters.kill()
    shows(page, row(meter_id, "state"), "offline".__eq__)
    web.chain.simulate(1, first=4)
    shows(page, row(meter_id, "state"), "online".__eq__)


def test_a_meter_that_joins_appears_by_itself(page: Chrome, web: Web) -> None:
    shows(page, "#found", "4 meters".__eq__)
    extra = web.chain.simulate(1, first=5)
    shows(page, "#meters", lambda text: "House 5" in text)
    shows(page, "#found", "5 meters".__eq__)
    meter_id = web.json("/meters", search="House 5")["meters"][0]["meter_id"]
    before = shows(page, row(meter_id, "power"), lambda power: power not in ("", "–"))
    shows(page, row(meter_id, "power"), lambda power: power not in ("", before))
    extra.terminate()
    extra.wait()
    until(lambda: web.json(f"/meters/{meter_id}/latest")["state"] == "offline", why="House 5 is offline")
    with web.program() as client:
        assert client.delete(f"/meters/{meter_id}").status_code == 204
    shows(page, "#found", "4 meters".__eq__)


def test_a_broker_that_is_away_is_told_and_makes_everything_old(page: Chrome, web: Web) -> None:
    meter_id = web.wait_for_meters(4)[0]
    web.chain.broker.stop()
    try:
        shows(page, "#link", lambda text: text.startswith("The broker is away"))
        shows(page, row(meter_id, "state"), "stale".__eq__)
    finally:
        web.chain.broker.start()
    shows(page, "#link", "Live".__eq__)
    shows(page, row(meter_id, "state"), "online".__eq__)


def test_a_broken_connection_is_told_and_mends_itself(page: Chrome, web: Web) -> None:
    """The process is killed and comes back on the same port; the login is gone with it, and asked for
    again."""
    process = web.chain.processes.pop("web")
    process.send_signal(signal.SIGSTOP)  # the kernel still accepts: only silence tells
    shows(page, "#link", lambda text: text.startswith("Connection lost"))
    process.send_signal(signal.SIGCONT)
    shows(page, "#link", "Live".__eq__)
    meter_id = web.wait_for_meters(4)[0]
    before = shows(page, row(meter_id, "power"), bool)
    shows(page, row(meter_id, "power"), lambda power: power not in ("", before))
    process.kill()
    process.wait()
    shows(page, "#link", lambda text: text.startswith("Connection lost"))
    start(web.chain, web)
    shows(page, "h1", "Log in".__eq__)
    log_in(page, web)
    shows(page, "#link", "Live".__eq__)


@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_a_phone(page: Chrome, web: Web, path: str) -> None:
    resize(page, PHONE)
    page.get(web.url + path)
    shows(page, "h1", bool)
    script = "return document.documentElement.scrollWidth"
    assert page.execute_script(script) <= PHONE[0]
    screenshot(page, f"{path.strip('/') or 'fleet'}-phone")


def test_no_word_of_a_table_is_broken_on_a_phone(page: Chrome, web: Web) -> None:
    resize(page, PHONE)
    page.get(f"{web.url}/health")
    shows(page, 'tr[data-key="broker"] th', "broker".__eq__)
    script = """
    const range = document.createRange();
    range.selectNodeContents(document.querySelector('tr[data-key="broker"] th'));
    return range.getClientRects().length;
    """
    assert page.execute_script(script) == 1


def test_a_meter_on_a_phone_in_the_dark(page: Chrome, web: Web) -> None:
    resize(page, PHONE, dark=True)
    page.get(f"{web.url}/meters/{web.wait_for_meters(4)[0]}")
    shows(page, "#link", "Live".__eq__)
    shows(page, "#curve-words", lambda text: "in the mean" in text)
    until(lambda: page.find_elements(By.CSS_SELECTOR, "#curve canvas"), why="the curve")
    script = "return document.documentElement.scrollWidth"
    assert page.execute_script(script) <= PHONE[0]
    screenshot(page, "meter-phone-dark")
    assert complaints(page) == []


def test_times_are_the_viewers_and_utc_on_hover(page: Chrome, web: Web) -> None:
    page.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Africa/Johannesburg"})
    try:
        page.get(f"{web.url}/meters/{web.wait_for_meters(4)[0]}")
        element = page.find_element(By.CSS_SELECTOR, ".facts time")
        utc_hour = int((element.get_attribute("datetime") or "")[11:13])
        hour = (utc_hour + 2) % 24
        assert f" {(hour + 11) % 12 + 1}:" in element.text  # en-US: 3:12:05 AM
        assert f" {utc_hour:02d}:" in (element.get_attribute("title") or "")
        assert (element.get_attribute("title") or "").endswith("UTC")
    finally:
        page.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_an_scl_file_is_compared(page: Chrome, web: Web) -> None:
    page.get(f"{web.url}/scl")
    shows(page, "#link", "Live".__eq__)
    with web.program() as client:
        other = client.get("/scl/scd").content.replace(b"House 2", b"Haus 2")
    file = web.chain.folder / "other.scd"
    file.write_bytes(other)
    page.find_element(By.ID, "file").send_keys(str(file))
    page.find_element(By.CSS_SELECTOR, "#diff button").click()
    shows(page, "#differences", lambda text: "House 2" in text)
