"""The single-line diagram of the SCL page: drawn from the published SCD, live, and usable for a town."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.axe import violations
from tests.support.bridges import Client
from tests.support.brokers import mosquitto
from tests.support.browser import (
    DESKTOP,
    PHONE,
    announced,
    logged_in,
    opened,
    resize,
    same,
    screenshot,
    shows,
    text_of,
)
from tests.support.chain import chain
from tests.support.played import Played
from tests.support.web import Web, served

TOWN = 130
TOPOLOGY = """
[[substation]]
name = "Mill"
desc = "Transformer house at the mill"
high_kv = 34.5
low_kv = 0.4

[[substation.transformer]]
name = "T1"
desc = "400 kVA"

[[substation.transformer.feeder]]
name = "F1"
desc = "Mill Lane"
meters = ["House 3"]
phase.A = ["House 1"]
phase.B = ["House 2"]

[[substation.transformer.feeder]]
name = "F2"
cable = true
meters = ["code:7530"]
"""
SEEN = """
return [...document.querySelectorAll("#diagram *")].filter((one) => one.checkVisibility()).filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width > 0 && (box.left < 0 || box.right > innerWidth + 1);
}).map((one) => one.textContent);
"""
"""What of the diagram is not in the window's width."""
BLADES = """
return [...document.querySelectorAll("#diagram .blade")].map((one) => getComputedStyle(one)).map((style) => ({
  open: style.transform !== "none", dashed: style.strokeDasharray !== "none",
}));
"""
"""The switches as they are drawn."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """The web beside a chain with a topology, without meters."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "topology.toml").write_text(TOPOLOGY)
    with (
        pytest.MonkeyPatch.context() as patch,
        mosquitto(folder) as broker,
    ):
        patch.setenv("METER61850_TOPOLOGY", str(folder / "topology.toml"))
        with chain(broker, folder) as running, served(running) as web:
            yield web


@pytest.fixture(scope="module")
def chrome(web: Web) -> Iterator[Chrome]:
    with logged_in(web) as driver:
        yield driver


@pytest.fixture(scope="module")
def client(web: Web) -> Iterator[Client]:
    with Client(web.chain.broker) as client:
        yield client


@pytest.fixture(scope="module")
def houses(web: Web, client: Client) -> list[Played]:
    """House 1 to 4; 3 has no relay, 4 is in no feeder."""
    found = [Played(client, meter_id(number), f"House {number}") for number in (1, 2, 3, 4)]
    for house in found:
        house.appear(web, relay=house.name != "House 3", interval=3600)
        house.read(power=1500.0)
    return found


def meter_id(number: int) -> str:
    """Of a meter."""
    return f"bbbbbbbb-0000-4000-8000-{number:012d}"


def point(house: Played) -> str:
    """Where the diagram has it."""
    return f'#diagram [data-meter="{house.meter_id}"]'


def key(name: str) -> str:
    """Where the diagram has a feeder."""
    return f'#diagram [data-key="{name}"]'


def words(page: Chrome, selector: str) -> list[str]:
    """The lines of its text."""
    return text_of(page, selector).split("\n")


def test_the_diagram_is_that_of_the_scd_and_follows_its_meters(
    chrome: Chrome, web: Web, houses: list[Played]
) -> None:
    page = opened(chrome, web, "/scl")
    for house in houses:  # the registry is read again after each revision
        shows(page, point(house), lambda text: "online" in text)
    assert words(page, f"{key('Mill')} h3") == ["Substation Mill Transformer house at the mill"]
    assert words(page, f"{key('T1')} .transformer") == [
        "Infeed 34.5 kV",
        "Transformer T1 400 kVA",
        "Busbar 0.4 kV",
    ]
    shows(
        page,
        f"{key('Mill/LV/T1_F1')} .head",
        "F1 Mill Lane overhead line 3 meters, 3 online, 4.500 kW".__eq__,
    )
    assert text_of(page, f"{key('Mill/LV/T1_F2')} .head") == "F2 cable 0 meters"
    phases = page.find_elements(By.CSS_SELECTOR, f"{key('Mill/LV/T1_F1')} .phase")
    assert [one.text.split("\n") for one in phases] == [
        ["Phase A", "House 1", "online", "on"],
        ["Phase B", "House 2", "online", "on"],
        ["All phases, or not known", "House 3", "online"],
    ]
    assert words(page, key("elsewhere"))[:2] == [
        "In no feeder 1 meter, 1 online, 1.500 kW",
        "All phases, or not known",
    ]
    houses[0].relay("open")
    shows(page, point(houses[0]), lambda text: text.endswith("off"))
    announced(page, "House 1: off")
    houses[1].online(False)
    shows(page, point(houses[1]), lambda text: "offline" in text and "on (last known)" in text)
    shows(
        page,
        f"{key('Mill/LV/T1_F1')} .counts",
        "3 meters, 2 online, 1 offline, 1 switched off, 3.000 kW".__eq__,
    )
    drawn = page.execute_script(BLADES)
    assert [one["open"] for one in drawn] == [True, False, False], "House 1, 2, 4: the symbol shows it"
    assert [one["dashed"] for one in drawn] == [False, True, False]
    screenshot(page, "scl-diagram-desktop")
    resize(page, DESKTOP, dark=True)
    screenshot(page, "scl-diagram-desktop-dark")
    resize(page, DESKTOP, dark=False)
    assert same(page)


def test_a_phone_shows_all_of_it(chrome: Chrome, web: Web, houses: list[Played]) -> None:
    page = opened(chrome, web, "/scl")
    resize(page, PHONE, dark=False)
    assert page.execute_script(SEEN) == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    page.execute_script("document.getElementById('single-line').scrollIntoView()")
    screenshot(page, "scl-diagram-phone")
    resize(page, PHONE, dark=True)
    screenshot(page, "scl-diagram-phone-dark")
    assert violations(page) == []
    resize(page, DESKTOP, dark=False)


def test_a_meter_is_reached_with_the_keyboard_and_the_focus_stays(
    chrome: Chrome, web: Web, houses: list[Played]
) -> None:
    page = opened(chrome, web, "/scl")
    link = page.find_element(By.CSS_SELECTOR, f"{point(houses[0])} a")
    page.execute_script("arguments[0].focus()", link)
    houses[1].online(True)
    shows(page, point(houses[1]), lambda text: "online" in text)
    houses[0].read(power=2500.0)  # what is counted changes; the list of meters does not
    shows(page, f"{key('Mill/LV/T1_F1')} .counts", lambda text: "5.500 kW" in text)
    assert page.switch_to.active_element == link
    link.send_keys(Keys.ENTER)
    shows(page, "h1 bdi", "House 1".__eq__)


def test_a_town_is_folded_searched_and_paged(
    chrome: Chrome, web: Web, client: Client, houses: list[Played]
) -> None:
    """The last test: the town stays."""
    for number in range(101, 101 + TOWN):
        town = Played(client, meter_id(number), f"Town {number}")
        town.born(address_code="7530", interval=3600)
        town.online(number != 103)
    page = opened(chrome, web, "/scl")
    shows(page, f"{key('Mill/LV/T1_F2')} .counts", f"{TOWN} meters, {TOWN - 1} stale, 1 offline".__eq__)
    assert page.find_elements(By.CSS_SELECTOR, "#diagram [data-meter]") == []
    screenshot(page, "scl-diagram-town-desktop")
    page.find_element(By.CSS_SELECTOR, f"{key('Mill/LV/T1_F2')} .head a").click()
    shows(page, "#feeder [data-key=part]", f"1 to 100 of {TOWN} · Next 100 · Close".__eq__)
    shows(page, "#link", "Live".__eq__)
    town = Played(client, meter_id(110), "Town 110")
    town.read(power=100.0)
    town.relay("open")
    shows(page, point(town), lambda text: text.endswith("off"))
    screenshot(page, "scl-diagram-town-feeder-desktop")
    assert violations(page) == []
    page.find_element(By.LINK_TEXT, "Next 100").click()
    shows(page, "#feeder [data-key=part]", f"101 to {TOWN} of {TOWN} · Previous 100 · Close".__eq__)
    assert words(page, "#feeder .taps li .name") == ["Town 201"]
    page.find_element(By.NAME, "search").send_keys("town 10", Keys.ENTER)
    shows(page, "#feeder [data-key=part]", "9 shown · Close".__eq__)
    page.get(f"{web.url}/scl?feeder=Mill/LV/T1_F2&state=offline")
    shows(page, "#feeder [data-key=part]", "1 shown · Close".__eq__)
    assert words(page, "#feeder .taps li")[0] == "Town 103"
    resize(page, PHONE)
    assert page.execute_script(SEEN) == []
    resize(page, DESKTOP)
