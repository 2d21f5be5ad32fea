"""The pages that are tables renew themselves: nothing is loaded anew, the focus stays, hidden tabs wait."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from tests.support.bridges import METER, READING, TOPICS, Client, birth, not_at_midnight, reading
from tests.support.browser import (
    DESKTOP,
    announced,
    fetched,
    logged_in,
    opened,
    resize,
    same,
    shows,
    text_of,
    window,
)
from tests.support.chain import until
from tests.support.web import Web, limited
from web.auth.accounts import Role

MOST = 10
OFF = '[data-order="open"]'
IN_VAIN = """
const [id, times, done] = arguments, found = [];
const token = document.querySelector('meta[name="csrf-token"]').content;
const headers = { "Content-Type": "application/json", "X-CSRF-Token": token };
const body = '{"position":"closed"}';
const order = () => fetch(`/api/v1/meters/${id}/relay`, { method: "POST", headers, body });
(async () => {
  while (found.length < times) found.push((await order()).status);
  done(found);
})();
"""
"""Orders of the page's account that change nothing."""
STRANGER = "00000000-0000-4000-8000-0000000000dd"
"""No meter that we know."""
HEIGHT = (DESKTOP[0], 160)
"""So low that every page has to be scrolled."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with limited(tmp_path_factory.mktemp("web"), MOST) as web:
        yield web


@pytest.fixture(scope="module")
def chrome(web: Web) -> Iterator[Chrome]:
    with logged_in(web) as driver:
        yield driver


@pytest.fixture
def bystander(web: Web) -> Iterator[Client]:
    """Somebody else on the broker."""
    with Client(web.chain.broker) as client:
        yield client


def house(web: Web) -> str:
    """The meter_id of House 1."""
    return str(web.json("/meters", search="House 1")["meters"][0]["meter_id"])


def order(web: Web, position: str) -> None:
    """A command of another account, to its end."""
    meter_id = house(web)
    with web.program(Role.ADMINISTRATOR) as client:
        answer = client.post(f"/meters/{meter_id}/relay", json={"position": position})
        assert answer.status_code == 202, answer.text
        client.get(answer.headers["location"].removeprefix("/api/v1"), params={"wait": 10})


def test_health_follows_the_services_and_the_broker(chrome: Chrome, web: Web) -> None:
    page = opened(chrome, web, "/health")
    bridge = 'tr[data-key="service bridge"] .state'
    page.find_element(By.CSS_SELECTOR, 'tr[data-key="service bridge"] summary').click()
    counters = shows(page, 'tr[data-key="service bridge"] .counters', bool)
    shows(page, 'tr[data-key="service bridge"] .counters', lambda text: text not in ("", counters))
    process = web.chain.processes.pop("bridge")
    process.kill()
    process.wait()
    shows(page, bridge, "offline".__eq__)
    announced(page, "bridge: offline")
    shows(page, 'tr[data-key="service bridge"]', lambda text: "Look at this:" in text)
    shows(page, "#verdict", lambda text: text.startswith("Look at"))
    web.chain.start_bridge()
    shows(page, bridge, "online".__eq__)
    assert page.find_element(By.CSS_SELECTOR, 'tr[data-key="service bridge"] .counters').is_displayed()
    web.chain.broker.stop()
    try:
        shows(page, 'tr[data-key="broker"] .state', "offline".__eq__)
    finally:
        web.chain.broker.start()
    shows(page, 'tr[data-key="broker"] .state', "online".__eq__)
    shows(page, bridge, "online".__eq__)
    assert same(page)


def test_a_dead_letter_appears_and_nothing_moves(chrome: Chrome, web: Web, bystander: Client) -> None:
    page = opened(chrome, web, "/dead-letters")
    assert "none" in text_of(page, "#rows")
    resize(page, HEIGHT)
    page.execute_script("document.querySelector('.scroll').focus(); window.scrollTo(0, 60)")
    bystander.publish(TOPICS.meter(STRANGER, "reading"), "rubbish")
    shows(page, "#rows", lambda text: STRANGER in text)
    announced(page, STRANGER)
    assert page.find_element(By.ID, "news").get_attribute("role") == "status"
    assert page.switch_to.active_element == page.find_element(By.CSS_SELECTOR, ".scroll")
    assert page.execute_script("return window.scrollY") == 60
    row = page.find_element(By.CSS_SELECTOR, "#rows tr")
    bystander.publish(TOPICS.meter(STRANGER, "relay"), "rubbish, too")
    shows(page, "#rows", lambda text: text.count(STRANGER) == 2)
    assert STRANGER in row.text  # the very element: it was not made anew
    web.chain.cli("dead-letters", "purge", "--all", "--database", web.chain.url)
    shows(page, "#rows", "none".__eq__)
    assert same(page)


def test_the_focus_stays_on_its_row_when_others_come(chrome: Chrome, web: Web) -> None:
    order(web, "open")
    page = opened(chrome, web, "/commands")
    # Done: a row whose outcome still changes is another element then.
    shows(page, "#rows tr:first-child", lambda text: "switch off" in text and "done" in text)
    link = page.find_element(By.CSS_SELECTOR, "#rows a")
    page.execute_script("arguments[0].focus()", link)
    order(web, "closed")
    shows(page, "#rows tr:first-child", lambda text: "switch on" in text and "done" in text)
    announced(page, "House 1, switch on: ")
    assert page.switch_to.active_element == link
    assert "switch off" in link.find_element(By.XPATH, "ancestor::tr").text
    assert same(page)


def test_a_command_that_comes_late_into_the_ledger_is_shown(chrome: Chrome, web: Web) -> None:
    """The page was opened after the command's last event, and nothing else happens."""
    bridge = web.chain.processes.pop("bridge")
    bridge.terminate()
    bridge.wait()
    try:
        order(web, "open")
        page = opened(chrome, web, "/commands")
        before = page.execute_script("return document.querySelectorAll('#rows tr').length")
        first = text_of(page, "#rows tr:first-child")
    finally:
        web.chain.start_bridge()
    shows(
        page, "#rows tr:first-child", lambda text: text != first and "switch off" in text and "done" in text
    )
    assert page.execute_script("return document.querySelectorAll('#rows tr').length") == before + 1
    order(web, "closed")
    assert same(page)


def test_a_row_that_changes_keeps_the_focus(chrome: Chrome, web: Web) -> None:
    """The element is another one, at the same place."""
    order(web, "open")
    order(web, "closed")
    page = opened(chrome, web, "/commands")
    shows(page, "#rows tr:first-child", lambda text: "switch on" in text and "done" in text)
    script = "window.old = document.querySelector('#rows tr'); old.cells[5].textContent = 'x'"
    page.execute_script(f"{script}; old.querySelector('a').focus()")
    order(web, "open")
    until(lambda: page.execute_script("return !window.old.isConnected"), why="the row is made anew")
    shows(page, "#rows tr:first-child", lambda text: "switch off" in text)
    second = "return document.activeElement === document.querySelector('#rows tr:nth-child(2) a')"
    assert page.execute_script(second)
    order(web, "closed")
    assert same(page)


def test_a_hidden_tab_waits_until_it_is_looked_at(chrome: Chrome, web: Web, bystander: Client) -> None:
    page = opened(chrome, web, "/dead-letters")
    until(lambda: fetched(page) >= 2, why="it renews itself")
    window(page, "minimized")
    try:
        assert page.execute_script("return document.hidden")
        before = fetched(page)
        bystander.publish(TOPICS.meter(STRANGER, "status"), "rubbish while nobody looks")
        time.sleep(12)  # more than two intervals
        assert fetched(page) <= before + 1  # one may have been under way
        assert STRANGER not in hidden_text(page)
    finally:
        window(page, "normal")
    shows(page, "#rows", lambda text: STRANGER in text)
    assert same(page)


def hidden_text(page: Chrome) -> str:
    """Of the rows."""
    return str(page.execute_script("return document.getElementById('rows').textContent"))


def test_a_new_revision_changes_the_whole_scl_page(chrome: Chrome, web: Web) -> None:
    page = opened(chrome, web, "/scl")
    before = int(shows(page, "#published strong", bool))
    page.execute_script("document.querySelector('details').open = true")
    web.chain.simulate(1, first=2)
    shows(page, "#published", lambda text: f"Revision {before + 1}: 2 meters in 1 IEDs" in text)
    shows(page, f'tr[data-key="{before + 1}"]', lambda text: "1 meter added" in text)
    announced(page, f"Revision {before + 1}: 1 meter added")
    assert page.find_element(By.CSS_SELECTOR, "#cids a").is_displayed()
    assert same(page)


def test_too_many_commands_are_told_in_words(chrome: Chrome, web: Web) -> None:
    meter_id = house(web)
    page = opened(chrome, web, f"/meters/{meter_id}")
    assert page.execute_async_script(IN_VAIN, meter_id, MOST) == MOST * [409]
    page.find_element(By.CSS_SELECTOR, OFF).click()
    page.find_element(By.ID, "confirm-yes").click()
    shows(
        page,
        "#outcome",
        lambda text: text.startswith(f"Switch off: Refused: more than {MOST} commands of operator"),
    )
    button = page.find_element(By.CSS_SELECTOR, OFF)
    until(lambda: button.get_attribute("aria-disabled") == "false", why="it can be given again")


def test_todays_energy_grows_by_itself(chrome: Chrome, web: Web, bystander: Client) -> None:
    until(not_at_midnight, seconds=70, why="a day that does not end within the test")
    bystander.publish(TOPICS.meter(METER, "birth"), birth(name="House E"), retain=True)
    for seq, energy in enumerate((1000, 1005), start=1):
        bystander.publish(READING, reading(seq, energy=energy, power=1), retain=True)
    until(lambda: web.chain.rows("SELECT 1 FROM reading WHERE energy = 1005"), why="they are stored")
    page = opened(chrome, web, f"/meters/{METER}")
    shows(page, "#today", "0.005".__eq__)
    Select(page.find_element(By.ID, "span")).select_by_value("week")
    shows(page, "#energy-words", "Together 0.005 kWh.".__eq__)
    page.execute_script("document.querySelector('details').open = true")
    shows(page, "#energies", lambda text: text.endswith(", until now 0.005 kWh"))
    bystander.publish(READING, reading(3, energy=1011, power=1), retain=True)
    shows(page, "#today", "0.011".__eq__)
    shows(page, "#energies", lambda text: text.endswith(", until now 0.011 kWh"))
    assert same(page)
