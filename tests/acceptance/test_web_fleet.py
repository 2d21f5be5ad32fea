"""The fleet's page beside meters that we play: a thousand of them, filters that stay true, more tabs than
connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.support.bridges import TOPICS, Client, birth
from tests.support.browser import fetched, opened, said, same, shows, text_of
from tests.support.chain import until
from tests.support.played import Played
from tests.support.web import Web

pytest_plugins = ("tests.support.played",)

TOWN = 1050
TABS = 7
"""One more than a browser has connections to a host."""
SHOWN = "return document.getElementById('found').textContent"


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
    page = opened(chrome, web, "/")
    page.execute_script("document.querySelector('details').open = true")
    houses[1].name = "Cellar"
    houses[1].born(address_code="1030")
    shows(page, row(houses[1]), lambda text: "Cellar" in text and "1030" in text)
    assert rows(page) == ["Cellar", "House 1", "House 3"]
    shows(page, "#codes", lambda text: "1030" in text and "1020" not in text)
    assert same(page)


def test_no_address_code_is_one(chrome: Chrome, web: Web, houses: list[Played]) -> None:
    page = opened(chrome, web, "/")
    page.execute_script("document.querySelector('details').open = true")
    page.find_element(By.LINK_TEXT, "none").click()
    shows(page, "#link", "Live".__eq__)
    assert rows(page) == [houses[2].name]
    page.find_element(By.CSS_SELECTOR, '[name="address_code"] option').click()
    page.find_element(By.CSS_SELECTOR, "form.filters button").click()
    until(lambda: rows(page) == ["House 1", "House 2", "House 3"], why="the form's first choice is all")


def test_a_meter_that_goes_is_announced(chrome: Chrome, web: Web, houses: list[Played]) -> None:
    page = opened(chrome, web, "/")
    houses[0].online(False)
    shows(page, row(houses[0]), lambda text: "offline" in text)
    assert said(page) == "House 1: offline"


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
        page.find_element(By.CSS_SELECTOR, '[data-order="open"]').click()
        page.find_element(By.ID, "confirm-yes").click()
        shows(page, "#outcome", "Switch off: Refused: the meter is offline".__eq__)


@contextmanager
def tabs(page: Chrome, more: int) -> Iterator[str]:
    """So many tabs more, which are closed at the end; the first one."""
    first = page.current_window_handle
    page.set_page_load_timeout(20)
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
    for number in range(len(houses) + 1, TOWN + 1):
        topic = TOPICS.meter(meter_id(number), "birth")
        client.publish(topic, birth(name=f"Town {number}", interval=60), retain=True)
    until(lambda: web.json("/meters", limit=1)["total"] == TOWN, why="the town is there")
    page = opened(chrome, web, "/")
    assert text_of(page, '[data-sum="meters"]') == "1\u202f050"
    for power in ("1.0", "2.0", "3.0"):  # a summary each
        houses[0].read(power=float(power))
        shows(page, '[data-sum="power"]', power.__eq__)
    assert fetched(page) == 0
    assert same(page)


def test_a_page_goes_on_when_the_meter_before_it_is_gone(
    chrome: Chrome, web: Web, client: Client, houses: list[Played]
) -> None:
    page = opened(chrome, web, "/")
    last = rows(page)[-1]
    page.find_element(By.LINK_TEXT, "Next page").click()
    until(lambda: str(page.execute_script(SHOWN)).startswith("51 to 100"), why="the second page")
    shows(page, "#link", "Live".__eq__)
    Played(client, meter_id(int(last.split()[1])), last).retire()
    until(lambda: str(page.execute_script(SHOWN)).startswith("50 to 99 of 1\u202f049"), why="the same meters")
