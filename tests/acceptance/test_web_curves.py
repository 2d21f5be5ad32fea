"""The curves of a meter: spans, zoom, comparison, bands, limits, phases, marks, and files of what is seen."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from bridge.store.tables import HOUR_MS
from tests.support.bridges import METER, OTHER, Client, stamp
from tests.support.browser import DESKTOP, announced, complaints, opened, resize, same, shows, text_of
from tests.support.chain import until
from tests.support.curves import (
    DRAWN,
    ROWS,
    choose,
    energy,
    fits_a_phone,
    house_with_past,
    keep,
    last_month,
    neighbour_of,
    shown,
    span,
    used_hours,
)
from tests.support.feeder import FEEDER, feeder_of
from tests.support.played import Played
from tests.support.plots import PLOTS, before_every_page, plot
from tests.support.web import Web

pytest_plugins = ("tests.support.played",)

ZONE = "Pacific/Auckland"
"""Half a day from UTC: no day of the one is a day of the other."""
THIRD = "3f2504e0-4f89-41d3-9a0c-0305e82c3303"
OFFERED = 'return [...document.querySelectorAll("#found option")].map((one) => one.value)'
NEIGHBOUR = "Between 0.250 and 0.250 kW, 0.250 kW in the mean."
POINT = "plots.findLast((one) => one.root.parentNode?.id === 'curve').setCursor({ left: 100, top: 5 })"
TOGETHER = "Between 0.840 and 2.840 kW"
TOLD = "(one) => one !== null && one !== undefined"


@pytest.fixture(scope="module")
def hours() -> dict[int, float]:
    """Wh of each hour of some weeks until two hours ago, but for six hours of last month."""
    return used_hours(ZONE, days=70)


@pytest.fixture(scope="module")
def meter(web: Web, hours: dict[int, float]) -> Iterator[Played]:
    """House 7: three phases, some weeks, and readings of two days with an hour's outage."""
    with Client(web.chain.broker) as client:
        yield house_with_past(web, client, hours)


@pytest.fixture(scope="module")
def neighbour(web: Web, meter: Played, hours: dict[int, float]) -> Played:
    """House 9, on the same feeder."""
    return neighbour_of(web, meter, hours)


@pytest.fixture(scope="module", autouse=True)
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Before the bridge begins."""
    with feeder_of(tmp_path_factory.mktemp("topology"), "House 7", "House 9"):
        yield


@pytest.fixture
def page(chrome: Chrome, web: Web, meter: Played) -> Iterator[Chrome]:
    """Its page, in another zone."""
    meter.online(True)
    meter.read(power=640.0)
    chrome.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ZONE})
    with before_every_page(chrome, PLOTS):
        yield shown(opened(chrome, web, f"/meters/{METER}"), "Power of the last 24 hours, kW")
    chrome.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
    resize(chrome, DESKTOP, dark=False)


def test_a_month_is_the_viewers(page: Chrome, hours: dict[int, float]) -> None:
    choose(page, "span", "month")
    page.find_element(By.ID, "earlier").click()
    zone = ZoneInfo(ZONE)
    begin = last_month(datetime.now(zone))
    this = (begin + timedelta(days=32)).replace(day=1)
    shown(page, f"Power of {begin:%B %Y}, kW")
    assert span(page) == (begin.timestamp() * 1000, this.timestamp() * 1000)
    used: dict[str, float] = {}
    for start, wh in hours.items():
        day = datetime.fromtimestamp(start / 1000, zone)
        if begin <= day < this:
            used.setdefault(f"{day:%b} {day.day}, {day.year}", 0.0)
            used[f"{day:%b} {day.day}, {day.year}"] += wh
    expected = [[day, energy(wh)] for day, wh in reversed(used.items())]
    until(lambda: page.execute_script(ROWS) == expected, why="the energy of each of the viewer's days")
    keep(page, "meter-month-desktop")
    fits_a_phone(page)
    keep(page, "meter-month-phone-dark")
    shows(page, "#curve-words", lambda text: "1 time without readings, 6 h 0 min together." in text)
    choose(page, "span", "year")
    shows(page, "#energy-title", lambda text: text.startswith("Energy of each month of "))
    assert same(page)


def test_it_is_zoomed_and_moved_also_without_a_mouse(page: Chrome) -> None:
    choose(page, "span", "day")
    until(lambda: span(page)[0] % HOUR_MS == 0, why="a day, which begins at midnight")
    start, _ = span(page)
    page.find_element(By.ID, "earlier").click()
    until(lambda: span(page)[1] == start, why="the day before")
    page.find_element(By.ID, "closer").click()
    until(lambda: span(page) == (start - 18 * HOUR_MS, start - 6 * HOUR_MS), why="half of it")
    before = span(page)
    over = page.find_element(By.CSS_SELECTOR, "#curve .u-over")
    ActionChains(page).move_to_element_with_offset(over, -100, 0).click_and_hold().move_by_offset(
        200, 0
    ).release().perform()
    until(lambda: before[0] < span(page)[0] < span(page)[1] < before[1], why="what was drawn over")
    shows(page, "#curve-words", lambda text: "0.640 kW in the mean" in text)
    assert same(page)


def test_a_day_is_compared_with_the_day_before(page: Chrome) -> None:
    choose(page, "against", "before")
    shows(page, "#curve-keys", lambda text: "the day before" in text)
    until(lambda: plot(page, "curve", "series.length") == 3, why="both are drawn")
    compared = plot(page, "curve", f"data[2].filter({TOLD}).length")
    assert compared > 1000
    shows(page, "#curve-words", lambda text: "Beside it the day before: Between" in text)
    keep(page, "meter-compared-desktop")


def test_it_is_compared_with_another_meter(page: Chrome, neighbour: Played) -> None:
    choose(page, "against", "meter")
    other = page.find_element(By.ID, "other")
    until(lambda: page.execute_script(OFFERED) == [neighbour.name], why="what is there, but for itself")
    other.send_keys("nowhere", Keys.ENTER)
    shows(page, "#against-note", "No other meter is found.".__eq__)
    other.clear()
    other.send_keys("1020", Keys.ENTER)  # its address code
    shows(page, "#curve-keys", lambda text: text.startswith(f"this meter\n{neighbour.name}\n"))
    shows(page, "#curve-words", lambda text: f"Beside it {neighbour.name}: {NEIGHBOUR}" in text)
    assert text_of(page, "#against-note") == ""
    until(lambda: plot(page, "curve", f"data[2].findLast({TOLD})") == 0.25, why="its curve")
    page.execute_script(POINT)
    shows(page, "#curve-at", lambda text: text.endswith(f": 0.640 kW; {neighbour.name}: 0.250 kW"))
    keep(page, "meter-beside-another-desktop")
    fits_a_phone(page)
    keep(page, "meter-beside-another-phone-dark")
    choose(page, "against", "")
    until(lambda: plot(page, "curve", "data.length") == 2, why="it stands alone")
    assert not other.is_displayed()
    assert same(page)


def test_of_two_with_one_name_the_id_decides(page: Chrome, web: Web, neighbour: Played) -> None:
    """The third house has its name."""
    twin = Played(neighbour.client, THIRD, neighbour.name)
    twin.appear(web)
    choose(page, "against", "meter")
    until(lambda: page.execute_script(OFFERED) == [OTHER, THIRD], why="both, by their ids")
    other = page.find_element(By.ID, "other")
    other.send_keys(neighbour.name, Keys.ENTER)
    shows(page, "#against-note", "2 meters are found: choose one of the list.".__eq__)
    other.clear()
    other.send_keys(THIRD, Keys.ENTER)
    shows(page, "#curve-words", lambda text: f"Beside it {neighbour.name}: Nothing is stored" in text)
    assert same(page)
    twin.retire()
    until(lambda: web.json("/meters")["total"] == 2, why="it is gone")


def test_it_is_compared_with_its_feeder(page: Chrome, web: Web, neighbour: Played) -> None:
    until(lambda: web.json(f"/meters/{METER}")["feeder"] == FEEDER, why="the SCD with it")
    until(lambda: web.json(f"/meters/{OTHER}")["feeder"] == FEEDER, why="the SCD with its neighbour")
    page.refresh()
    choose(page, "against", "feeder")
    what = f"feeder {FEEDER}, sum of 2 meters"
    shows(page, "#curve-keys", lambda text: f"{what}, on the scale at the right" in text)
    shows(page, "#curve-words", lambda text: f"Beside it {what}: {TOGETHER}" in text)
    assert plot(page, "curve", "series[2].scale") == "sum"
    until(lambda: plot(page, "curve", f"data[2].find({TOLD})") == 0.84, why="its curve")
    assert plot(page, "curve", "scales.sum.min") == 0
    keep(page, "meter-beside-feeder-desktop")
    fits_a_phone(page)
    keep(page, "meter-beside-feeder-phone-dark")
    choose(page, "quantity", "voltage")
    shows(page, "#curve-words", lambda text: text.endswith("there is only the power, of up to 32 days."))
    until(lambda: plot(page, "curve", "data.length") == 2, why="it stands alone")
    assert complaints(page) == []


def test_a_week_has_its_band_and_a_voltage_its_limits(page: Chrome) -> None:
    choose(page, "span", "week")
    choose(page, "quantity", "voltage")
    this = shows(page, "#curve-title", lambda text: text.startswith("Voltage of the week"))
    page.find_element(By.ID, "earlier").click()
    shows(page, "#curve-title", lambda text: text.startswith("Voltage of the week") and text != this)
    assert text_of(page, "#curve-words").endswith("Limits: 207 and 253 V.")
    assert "Between 219.0 and 256.5 V" in text_of(page, "#curve-words")
    shows(page, "#curve-keys", lambda text: "lowest to highest" in text)
    until(lambda: plot(page, "curve", "data.length") == 4, why="mean, highest and lowest")
    assert plot(page, "curve", "data[2].findLast((one) => one !== null)") == 256.5
    assert plot(page, "curve", "data[3].findLast((one) => one !== null)") == 219.0
    assert plot(page, "curve", "scales.y.min") <= 207
    assert plot(page, "curve", "scales.y.max") >= 256.5
    keep(page, "meter-week-voltage-desktop")


def test_three_phases_have_three_colours_and_are_named(page: Chrome) -> None:
    choose(page, "quantity", "power_l1,power_l2,power_l3")
    shown(page, "Power of all phases of the last 24 hours, kW")
    strokes = [plot(page, "curve", f"series[{number}].stroke()") for number in (1, 2, 3)]
    assert len(set(strokes)) == 3
    shows(page, "#curve-keys", lambda text: text.split()[:3] == ["L1", "L2", "L3"])
    shows(page, "#curve-words", lambda text: "L2: Between 0.210 and 0.210 kW" in text)
    keep(page, "meter-phases-desktop")


def test_outages_and_switching_are_marked(page: Chrome) -> None:
    shows(page, "#curve-words", lambda text: "1 time without readings, 1 h" in text)
    shows(page, "#curve-keys", lambda text: "no readings" in text)
    items = [one.text for one in page.find_elements(By.CSS_SELECTOR, "#switchings li")]
    assert [text.split(": ", 1)[1] for text in items] == [
        "switched off by remote-control web administrator-program",
        "switched on by remote-control web administrator-program",
    ]
    keep(page, "meter-marks-desktop")


def test_what_is_seen_is_saved(page: Chrome, tmp_path: Path) -> None:
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for kind in ("csv", "png", "parquet"):
        page.find_element(By.ID, kind).click()
        until(lambda: list(tmp_path.glob(f"*.{kind}")), why=f"the {kind}")  # noqa: B023
    (csv,), (png,), (parquet,) = (list(tmp_path.glob(f"*.{kind}")) for kind in ("csv", "png", "parquet"))
    head, *rows = csv.read_text().splitlines()
    assert head.split(",")[:3] == ["ts", "epoch", "seq"]
    assert "power" in head.split(",")
    assert not {"voltage", "power_l1"} & set(head.split(","))
    assert len(rows) > 1000
    assert png.read_bytes().startswith(b"\x89PNG")
    assert parquet.read_bytes().startswith(b"PAR1")
    announced(page, "saved")
    assert complaints(page) == []


def test_a_reading_that_comes_is_drawn_and_the_pointer_reads_it(page: Chrome, meter: Played) -> None:
    meter.read(power=1234.0)
    until(lambda: plot(page, "curve", "data[1].at(-1)") == 1.234, why="the reading is drawn")
    page.execute_script(POINT.replace("100", "1e4"))
    over = page.find_element(By.CSS_SELECTOR, "#curve .u-over")
    ActionChains(page).move_to_element_with_offset(over, int(over.size["width"] / 2) - 1, 0).perform()
    last_two = ("1.234 kW", "0.640 kW")  # less than a pixel may be between them
    shows(page, "#curve-at", lambda text: text.endswith(last_two))


def is_past_day(page: Chrome) -> bool:
    """Whether what is drawn ends with a day of the page's zone."""
    end = span(page)[1] / 1000
    return end <= time.time() and f"{datetime.fromtimestamp(end, ZoneInfo(ZONE)):%H:%M:%S}" == "00:00:00"


def test_a_day_that_is_over_takes_no_reading(page: Chrome, meter: Played) -> None:
    choose(page, "span", "day")
    page.find_element(By.ID, "earlier").click()
    until(lambda: is_past_day(page) and page.execute_script(DRAWN), why="the day before")
    before: Any = plot(page, "curve", "data[0].length")
    meter.read(power=777.0, ts=stamp(seconds=0))
    shows(page, '[data-field="power"]', "0.777".__eq__)
    assert plot(page, "curve", "data[0].length") == before
    assert json.dumps(0.777) not in json.dumps(plot(page, "curve", "data[1]"))
