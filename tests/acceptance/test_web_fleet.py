"""The fleet's page beside meters that we play: a thousand of them, filters that stay true, more tabs than
connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from bridge.store import database
from bridge.store.alarms import Raised, note
from bridge.store.audit import now_ms
from tests.support.bridges import Client
from tests.support.browser import (
    DESKTOP,
    PHONE,
    announced,
    complaints,
    fetched,
    opened,
    resize,
    same,
    screenshot,
    shows,
    text_of,
)
from tests.support.chain import until
from tests.support.played import Played
from tests.support.web import Web

pytest_plugins = ("tests.support.played",)

TOWN = 1050
BROKEN = """
return [...document.querySelectorAll(".value")].filter((one) => one.offsetParent !== null).filter((one) => {
  const range = document.createRange(), box = one.closest("td, dd").getBoundingClientRect();
  range.selectNodeContents(one);
  const lines = [...range.getClientRects()].filter((line) => line.width > 0);
  const apart = Math.max(...lines.map((line) => line.top)) - Math.min(...lines.map((line) => line.top));
  return apart > 12 || lines.some((line) => line.right > box.right + 1);
}).map((one) => one.textContent);
"""
"""Numbers that are seen on two lines, or not as a whole."""
ALARMS = """
const rows = [...document.querySelectorAll("#meters tr[data-meter]")];
return rows.map((row) => row.textContent.includes("alarm:"));
"""
"""Row by row, whether it has an alarm."""
TABS = 7
"""One more than a browser has connections to a host."""


@pytest.fixture(scope="module")
def client(web: Web) -> Iterator[Client]:
    with Client(web.chain.broker) as client:
        yield client


@pytest.fixture
def houses(web: Web, client: Client) -> list[Played]:
    """House 1 to 3, online, of which the last has no address code."""
    found = [Played(client, meter_id(number), f"House {number}") for number in (1, 2, 3)]
    for house, code in zip(found, ("1010", "1020", ""), strict=True):
        house.appear(web, address_code=code)
    return found


def meter_id(number: int) -> str:
    """Of a meter."""
    return f"aaaaaaaa-0000-4000-8000-{number:012d}"


def row(house: Played) -> str:
    """Where the fleet shows it."""
    return f'#meters tr[data-meter="{house.meter_id}"]'


def rows(page: Chrome) -> list[str]:
    """The names that are shown."""
    script = "return [...document.querySelectorAll('#meters th')].map((one) => one.textContent)"
    return [str(name) for name in page.execute_script(script)]


def test_a_fleet_of_one_state_follows_it(chrome: Chrome, web: Web, houses: list[Played]) -> None:
    page = opened(chrome, web, "/?state=offline")
    assert rows(page) == []
    houses[0].online(False)
    until(lambda: rows(page) == ["House 1"], why="it is in the list")
    houses[0].online(True)
    until(lambda: rows(page) == [], why="it is not in the list any more")
    assert same(page)


def test_names_and_address_codes_follow(chrome: Chrome, web: Web, houses: list[Played]) -> None:
    page = opened(chrome, web, "/?sort=name")
    page.execute_script("document.querySelector('details').open = true")
    houses[1].name = "Cellar"
    houses[1].born(address_code="1030")
    shows(page, row(houses[1]), lambda text: "Cellar" in text and "1030" in text)
    until(lambda: rows(page) == ["Cellar", "House 1", "House 3"], why="the order of names")
    shows(page, "#codes", lambda text: "1030" in text and "1020" not in text)
    assert same(page)


def test_no_address_code_is_one(chrome: Chrome, web: Web, houses: list[Played]) -> None:
    page = opened(chrome, web, "/")
    page.execute_script("document.querySelector('details').open = true")
    page.find_element(By.LINK_TEXT, "none").click()
    until(lambda: rows(page) == [houses[2].name], why="those without an address code")
    page.find_element(By.CSS_SELECTOR, '[name="address_code"] option').click()
    Select(page.find_element(By.NAME, "sort")).select_by_value("name")
    page.find_element(By.CSS_SELECTOR, "form.filters button").click()
    until(lambda: rows(page) == ["House 1", "House 2", "House 3"], why="the form's first choice is all")


def test_a_meter_that_goes_is_announced(chrome: Chrome, web: Web, houses: list[Played]) -> None:
    page = opened(chrome, web, "/")
    houses[0].online(False)
    shows(page, row(houses[0]), lambda text: "offline" in text)
    announced(page, "House 1: offline")


def test_more_tabs_than_connections(chrome: Chrome, web: Web, houses: list[Played]) -> None:
    """Those that nobody sees hold none, and go on where they were."""
    page = opened(chrome, web, f"/meters/{houses[0].meter_id}")
    with tabs(page, TABS - 1) as first:
        for tab in page.window_handles:
            if tab != first:
                page.switch_to.window(tab)
                opened(page, web, f"/meters/{houses[1].meter_id}")
        page.switch_to.window(first)
        shows(page, "#link", "Live".__eq__)
        houses[0].online(False)
        shows(page, "h1 .state", "offline".__eq__)
        shows(page, "#local", "It is offline: it cannot be switched now.".__eq__)
        page.find_element(By.CSS_SELECTOR, '[data-order="open"]').click()
        assert not page.find_element(By.ID, "confirm").is_displayed()


@contextmanager
def tabs(page: Chrome, more: int) -> Iterator[str]:
    """So many tabs more, which are closed at the end; the first one."""
    first = page.current_window_handle
    page.set_page_load_timeout(60)
    for _ in range(more):
        page.switch_to.new_window("tab")
    try:
        yield first
    finally:
        for tab in page.window_handles:
            page.switch_to.window(tab)
            if tab != first:
                page.close()
        page.switch_to.window(first)


def test_a_town_is_not_fetched_again_and_again(
    chrome: Chrome, web: Web, client: Client, houses: list[Played]
) -> None:
    """By name: of the houses, which are read seldom, one may get an alarm meanwhile, or lose it."""
    for number in range(len(houses) + 1, TOWN + 1):
        town = Played(client, meter_id(number), f"Town {number}")
        town.born(interval=3600)
        town.online(True)
    until(lambda: web.json("/meters", limit=1)["total"] == TOWN, why="the town is there")
    page = opened(chrome, web, "/?sort=name")
    assert text_of(page, '[data-sum="meters"]') == "1\u202f050"
    for power in ("0.001", "0.002", "0.003"):  # a summary each
        houses[0].read(power=1000 * float(power))
        shows(page, '[data-sum="power"]', power.__eq__)
    assert fetched(page) == 0
    assert same(page)


def test_of_a_town_only_the_rows_that_are_seen_are_there(
    chrome: Chrome, web: Web, client: Client, houses: list[Played]
) -> None:
    """After the test of the town."""
    page = opened(chrome, web, "/?sort=name")
    shows(page, "#found", "1\u202f050 meters".__eq__)
    last = f"Town {TOWN}"

    def ends() -> bool:
        page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
        return rows(page)[-1] == last

    until(ends, why="the end of the list")
    assert len(rows(page)) <= 150
    shows(page, "#link", "Live".__eq__)
    town = Played(client, meter_id(TOWN), last)
    for power in ("0.007", "0.008"):  # it is live
        town.read(power=1000 * float(power))
        shows(page, row(town), lambda text: f"{power} kW" in text)  # noqa: B023
    assert (
        page.execute_script("return arguments[0].getAttribute('aria-rowindex')", element(page, town))
        == "1051"
    )
    screenshot(page, "fleet-town-end-desktop")
    page.execute_script("window.scrollTo(0, 0)")
    until(lambda: rows(page)[0] == "House 1", why="its begin")
    assert same(page)


def element(page: Chrome, house: Played) -> WebElement:
    """Its row."""
    return page.find_element(By.CSS_SELECTOR, row(house))


def test_a_town_is_searched_and_sorted(chrome: Chrome, web: Web, houses: list[Played]) -> None:
    houses[2].read(power=9000.0)
    page = opened(chrome, web, "/?sort=power")
    until(lambda: rows(page)[0] == "House 3", why="the highest power")
    page.find_element(By.NAME, "search").send_keys("1020")
    page.find_element(By.CSS_SELECTOR, "form.filters button").click()
    until(lambda: set(rows(page)) == {"House 2", "Town 1020"}, why="by its address code, and by its name")
    assert Select(page.find_element(By.NAME, "sort")).first_selected_option.text == "power, highest first"
    screenshot(page, "fleet-search-desktop")


def test_many_are_switched_after_a_question_each_with_its_outcome(
    chrome: Chrome, web: Web, houses: list[Played]
) -> None:
    houses[2].online(False)
    page = opened(chrome, web, "/?search=House&sort=name")
    shows(page, row(houses[2]), lambda text: "offline" in text)
    assert not page.find_element(By.ID, "picked").is_displayed()
    page.find_element(By.ID, "pick-all").click()
    shows(page, "#picked-count", "3 meters chosen".__eq__)
    page.find_element(By.CSS_SELECTOR, '#picked [data-order="open"]').click()
    shows(page, "#confirm-title", "Switch off 3 meters?".__eq__)
    assert text_of(page, "#confirm-list").split("\n") == ["House 1", "House 2", "House 3"]
    assert text_of(page, "#confirm-time").startswith("It takes about 2 s")
    screenshot(page, "fleet-switch-many-desktop")
    before = [len(house.commands()) for house in houses]
    page.find_element(By.CSS_SELECTOR, '#confirm button[value="no"]').click()
    assert not page.find_element(By.ID, "orders").is_displayed()
    page.find_element(By.CSS_SELECTOR, '#picked [data-order="open"]').click()
    page.find_element(By.ID, "confirm-yes").click()
    sent = []
    for house, known in zip(houses[:2], before, strict=False):
        command_id = until(lambda: house.commands()[known:], why="its command")[0]  # noqa: B023
        sent.append(datetime.fromisoformat(web.json(f"/commands/{command_id}")["issued_at"]))
        house.relay("open", command_id=command_id, operations=1)
        house.answer(command_id)
    assert sent[1] - sent[0] > timedelta(seconds=0.49), "two in a second"
    shows(page, "#orders-words", "3 of 3: 2 done, 1 refused.".__eq__)
    assert [one.text for one in page.find_elements(By.CSS_SELECTOR, "#outcomes tr")] == [
        "House 1 switch off Done.",
        "House 2 switch off Done.",
        "House 3 switch off Refused the meter is offline",
    ]
    assert len(houses[2].commands()) == before[2]
    screenshot(page, "fleet-switched-many-desktop")
    assert [one for one in complaints(page) if "409" not in one] == []


def test_the_fleet_on_a_phone_in_the_dark(chrome: Chrome, web: Web, houses: list[Played]) -> None:
    page = opened(chrome, web, "/?sort=name")
    resize(page, PHONE, dark=True)
    shows(page, row(houses[0]), bool)
    broken = page.execute_script(BROKEN)
    assert broken == [], "a number is broken over two lines, or cut"
    assert page.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    screenshot(page, "fleet-phone-dark")
    resize(page, DESKTOP, dark=False)


def test_with_an_alarm_it_is_among_the_first(
    chrome: Chrome, web: Web, client: Client, houses: list[Played]
) -> None:
    """The last test: the alarm lasts. The houses may have one too: they were not read for a while."""
    town = Played(client, meter_id(TOWN), f"Town {TOWN}")
    page = opened(chrome, web, "/")
    assert town.name not in rows(page), "it is not seen"
    engine = database.connect(web.chain.url)
    with engine.begin() as connection:
        (key,) = web.chain.rows("SELECT key FROM meter WHERE meter_id = ?", town.meter_id)[0]
        note(connection, [(key, Raised(town.meter_id, "twin", "two of them"))], now=now_ms())
    engine.dispose()

    def first() -> bool:
        found = page.execute_script(ALARMS)
        return town.name in rows(page)[: len(houses) + 1] and found == sorted(found, reverse=True)

    until(first, why="those with an alarm are the first", seconds=90)
    shows(page, row(town), lambda text: "twin" in text)
    assert same(page)
