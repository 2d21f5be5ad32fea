"""A meter's load profile: marks, carpet, registers, tariffs; a day of 25 hours; keyboard; the page Supply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from sqlalchemy import insert, select
from sqlmodel import col

from bridge.store import database
from bridge.store.intervals import Mark
from bridge.store.profile_format import Day
from bridge.store.tables import DAY_MS, HOUR_MS, LoadProfile, Meter, at_ms
from bridge.store.tariffs import EXAMPLE
from tests.support.axe import violations
from tests.support.bridges import METER, Client
from tests.support.browser import DESKTOP, PHONE, announced, opened, resize, same, screenshot, shows, text_of
from tests.support.chain import until
from tests.support.curves import choose
from tests.support.past import Past
from tests.support.played import Played
from tests.support.plots import PLOTS, before_every_page, plot
from tests.support.web import Web

pytest_plugins = ("tests.support.played",)

QUARTER_MS = 900_000
first = itemgetter(0)
LONG_DAY = f"/meters/{METER}/profile?span=day&date=2026-10-25"
CELLS = """
return [...document.querySelectorAll(arguments[0])].map(
  (row) => [...row.cells].map((cell) => cell.textContent));
"""
ANSWERS = """
const real = window.fetch, answers = %s;
window.fetch = (path, options) => {
  const asked = new URL(path, location.href), told = answers[asked.pathname.replace("/api/v1/", "")];
  if (!told) return real(path, options);
  window.asked = [...(window.asked ?? []), decodeURIComponent(asked.search)];
  return Promise.resolve(new Response(JSON.stringify(told), { status: told.detail ? 503 : 200 }));
};
"""
"""Puts the documents of parts that this service may not have in place of its answers."""
PIXELS = """
const canvas = document.querySelector("#carpet canvas"), ctx = canvas.getContext("2d");
const data = ctx.getImageData(0, 0, canvas.width, canvas.height).data;
return new Set(new Uint32Array(data.buffer)).size;
"""


def local(text: str) -> int:
    """ms of a time with its offset."""
    return at_ms(datetime.fromisoformat(text))


ODD = {
    local("2026-10-25T02:00+02:00"): (30, Mark.INTERPOLATED),
    local("2026-10-25T02:00+01:00"): (50, Mark.ESTIMATED),
    local("2026-10-25T04:00+01:00"): (None, Mark.MISSING),
    local("2026-10-25T18:15+01:00"): (700, Mark.MEASURED),
}
"""Wh and marks of some intervals; all others have 100 Wh and are measured."""


@pytest.fixture(scope="module", autouse=True)
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Before the web begins: tariffs, and the zone of the utility, which is not the browser's."""
    file = tmp_path_factory.mktemp("tariffs") / "tariffs.toml"
    file.write_text(EXAMPLE.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METER61850_TARIFFS", str(file))
        patch.setenv("METER61850_TIME_ZONE", "Europe/Zurich")
        yield


@pytest.fixture(scope="module")
def house(web: Web) -> Iterator[None]:
    """House 7 with the intervals of October, but for its 5th, and registers at three midnights."""
    with Client(web.chain.broker) as client:
        Played(client, METER, "House 7").appear(web, interval=60)
        past = Past(web.chain.url, METER)
        for day, energy in ((24, 1000.0), (25, 2000.0)):
            past.readings([local(f"2026-10-{day}T00:00+02:00")], energy=energy)
        past.readings([local("2026-10-26T00:00+01:00")], energy=12_500.0)
        engine = database.connect(web.chain.url)
        with engine.begin() as connection:
            key = connection.scalar(select(col(Meter.key)).where(col(Meter.meter_id) == METER))
            days = range(local("2026-09-30T00:00+00:00"), local("2026-11-01T00:00+00:00"), DAY_MS)
            gone = local("2026-10-05T00:00+00:00")
            connection.execute(insert(LoadProfile), [stored(key, day) for day in days if day != gone])
        engine.dispose()
        yield


def stored(meter: int | None, start: int) -> dict[str, Any]:
    """A day of the house, in UTC."""
    day = Day(start, 15)
    for place, at in enumerate(range(start, start + DAY_MS, QUARTER_MS)):
        wh, mark = ODD.get(at, (100, Mark.MEASURED))
        values = {"power_mean": 4000, "power_min": 3900, "power_max": 4100, "energy_import_mark": int(mark)}
        day.put(place, values | ({} if wh is None else {"energy_import": wh * 1000}))
    return {"meter": meter, "start": start, "minutes": 15, "data": day.encoded()}


@pytest.fixture
def page(chrome: Chrome, web: Web, house: None) -> Iterator[Chrome]:
    """The day of 25 hours, in a browser on the other side of the earth."""
    chrome.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Pacific/Auckland"})
    with before_every_page(chrome, PLOTS):
        opened(chrome, web, LONG_DAY)
        shows(chrome, "#curve-words", lambda text: "intervals:" in text)
        yield chrome
    chrome.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
    resize(chrome, DESKTOP, dark=False)


def test_a_day_of_25_hours_with_its_marks_demand_and_tariffs(page: Chrome) -> None:
    words = text_of(page, "#curve-words")
    assert words.startswith("100 intervals: 97 measured, 1 interpolated, 1 estimated, 1 missing.")
    assert words.endswith("This day has 25 hours: the clocks change.")
    assert text_of(page, "#curve-title").startswith("Energy import, ")
    assert text_of(page, "#curve-title").endswith(", kW")
    keys = [one.text for one in page.find_elements(By.CSS_SELECTOR, "#curve-keys li")]
    assert keys == ["interpolated", "estimated", "missing", "T2 Low", "T3 Weekend"]
    assert text_of(page, "#sum") == "10.38 kWh"
    assert text_of(page, "#demand").startswith("2.800 kW\n")
    assert "18:15" in text_of(page, "#demand") or "6:15" in text_of(page, "#demand")
    assert plot(page, "curve", "data[0].length") == 102
    assert plot(page, "curve", "data[1].filter((one) => one === null).length") == 1
    begin, end = plot(page, "curve", "scales.x.min"), plot(page, "curve", "scales.x.max")
    assert (begin, end - begin) == (local("2026-10-25T00:00+02:00"), 25 * HOUR_MS)
    assert same(page)


def test_the_table_has_both_hours_that_the_clock_shows(page: Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "#rows summary").click()
    rows = until(lambda: page.execute_script(CELLS, "#rows tbody tr"), why="the rows")
    assert len(rows) == 100
    two = [row for row in rows if row[4] in ("interpolated", "estimated")]
    assert [row[1] for row in two] == ["0.030\u00a0kWh", "0.050\u00a0kWh"]
    assert two[0][0] != two[1][0], "the zone tells which hour it is"
    assert [row[1:6] for row in rows if row[4] == "missing"] == [["–", "–\u00a0kW", "–", "missing", "T3"]]
    assert {row[5] for row in rows} == {"T2", "T3"}
    assert same(page)


def test_the_carpet_with_the_keyboard_and_as_a_table(page: Chrome) -> None:
    shows(page, "#carpet-title", lambda text: text.startswith("Energy import, ") and "2026" in text)
    assert page.execute_script(PIXELS) > 5, "values, patterns and axes"
    carpet = page.find_element(By.ID, "carpet")
    carpet.send_keys(Keys.ARROW_RIGHT)
    shows(page, "#carpet-at", lambda text: text.endswith(": 0.400 kW, measured"))
    carpet.send_keys(*[Keys.ARROW_RIGHT] * 4)
    shows(page, "#carpet-at", lambda text: text.endswith("measured"))
    carpet.send_keys(Keys.END, *[Keys.ARROW_UP] * 4)
    shows(page, "#carpet-at", lambda text: text.endswith(": missing"))
    page.find_element(By.CSS_SELECTOR, "#carpet-rows summary").click()
    rows = until(lambda: page.execute_script(CELLS, "#carpet-rows tbody tr"), why="the rows")
    assert (len(rows), {len(row) for row in rows}) == (96, {32})
    (two,) = (row for row in rows if row[0] == "02:00")
    assert two[25] == "0.120i / 0.200e"
    carpet.send_keys(Keys.ENTER)
    shows(page, "#curve-words", "96 intervals: 8 measured, 88 missing.".__eq__)
    assert page.find_element(By.ID, "date").get_property("value") == "2026-10-05"
    assert same(page)


def test_registers_of_days_and_months(page: Chrome) -> None:
    rows = until(lambda: page.execute_script(CELLS, "#registers tbody tr"), why="the rows")
    head = page.execute_script(CELLS, "#registers thead tr")[0]
    found = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert sorted(found) == [f"2026-10-{day}" for day in range(24, 32)], "none before it was heard first"
    assert found["2026-10-25"]["Energy"] == "10.50\u00a0kWh"
    assert found["2026-10-25"]["Register at end"] == "12.50\u00a0kWh"
    assert found["2026-10-25"]["Maximum demand"].startswith("2.800\u00a0kW, ")
    assert found["2026-10-25"]["Intervals"] == "97 measured, 1 interpolated, 1 estimated, 1 missing"
    assert "T3 Weekend" in head
    choose(page, "by", "month")
    until(lambda: "2026-10" in map(first, page.execute_script(CELLS, "#registers tbody tr")), why="months")
    assert same(page)


def test_a_month_a_measured_quantity_and_steps(page: Chrome) -> None:
    choose(page, "quantity", "power")
    shows(page, "#curve-title", lambda text: text.startswith("Power, "))
    assert plot(page, "curve", "data.length") == 4, "mean, highest and lowest"
    choose(page, "span", "month")
    shows(page, "#curve-words", lambda text: text.startswith("2980 intervals: 2884 measured, 96 missing"))
    page.find_element(By.ID, "later").click()
    shows(page, "#curve-words", "4 intervals: 4 measured.".__eq__)  # the last hour of UTC
    page.find_element(By.ID, "later").click()
    shows(page, "#carpet-at", "Nothing is stored of this month.".__eq__)
    page.find_element(By.ID, "earlier").click()
    shows(page, "#curve-words", "4 intervals: 4 measured.".__eq__)
    assert same(page)


def test_what_is_seen_is_saved(page: Chrome, tmp_path: Path) -> None:
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for what in ("profile", "periods"):
        for kind in ("csv", "parquet"):
            page.find_element(By.CSS_SELECTOR, f'[data-save="{what}"][data-kind="{kind}"]').click()
            until(lambda: list(tmp_path.glob(f"*-{what}-*.{kind}")), why=f"{what} as {kind}")  # noqa: B023
    (csv,) = tmp_path.glob("*-profile-*.csv")
    assert len(csv.read_text().splitlines()) == 101
    announced(page, "saved")
    assert same(page)


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desk", "phone-dark"])
def test_no_serious_violation(page: Chrome, size: tuple[int, int], dark: bool) -> None:
    resize(page, size, dark=dark)
    for name in ("curve-title", "carpet-title", "registers-title"):
        page.execute_script("document.getElementById(arguments[0]).scrollIntoView()", name)
        screenshot(page, f"profile-{name}{'-phone-dark' if dark else ''}")
    for summary in page.find_elements(By.CSS_SELECTOR, "#rows summary, #carpet-rows summary"):
        summary.click()
    until(lambda: page.execute_script(CELLS, "#carpet-rows tbody tr"), why="the tables")
    until(lambda: page.execute_script(CELLS, "#registers tbody tr"), why="the registers")
    assert violations(page) == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]


ACCOUNT = {
    "meter_id": METER, "name": "House 7", "state": "low", "balance": "4.20", "currency": "EUR",
    "days_left": 2.5, "prepaid": True, "lifeline": False, "waiting": 3,
    "booked_until": "2026-11-23T00:00:00.000Z", "exhausted_since": None, "warned_at": None, "cut_at": None,
}  # fmt: skip
ENTRY = {
    "at": "2026-11-22T10:00:00.000Z", "kind": "top-up", "amount": "20.00", "reference": "MPESA-1",
    "value_at": "2026-11-22T10:00:00.000Z", "reason": "", "who": "shop",
}  # fmt: skip
INDEX = {
    "feeder": "total", "customers": 2, "outages": 1, "momentary": 0, "saidi": 12.5, "saifi": 0.5,
    "caidi": 25.0, "doubtful": 0,
}  # fmt: skip


def test_supply_of_a_meter(chrome: Chrome, web: Web, house: None) -> None:
    quality = {"readings": 7, "voltage_judgement": "met", "within_10": 99.5}
    documents = {
        f"meters/{METER}/credit": ACCOUNT | {"entries": [ENTRY]},
        f"meters/{METER}/quality": {"quality": quality},
    }
    with before_every_page(chrome, ANSWERS % json.dumps(documents)):
        opened(chrome, web, f"/supply?meter={METER}")
        shows(chrome, "#quality-facts", lambda text: "99.50 %" in text)
        assert text_of(chrome, "h1") == "Supply of House 7"
        assert "4.20 EUR" in text_of(chrome, "#account-facts")
        (row,) = chrome.execute_script(CELLS, "#ledger tbody tr")
        assert row[1:3] == ["top-up", "20.00"]
        assert text_of(chrome, "#nothing") == ""
        week = text_of(chrome, "#time")
        chrome.find_element(By.ID, "earlier").click()
        shows(chrome, "#time", lambda text: text.startswith("Week ") and text != week)
        until(lambda: f"week={text_of(chrome, '#time')[5:]}" in str(asked(chrome)), why="the week before")
        assert violations(chrome) == []
        assert same(chrome)


def asked(chrome: Chrome) -> list[str]:
    """The queries of the documents."""
    return list(chrome.execute_script("return window.asked"))


def test_supply_of_all(chrome: Chrome, web: Web, house: None) -> None:
    """An error is said, and the other parts are shown."""
    documents = {
        "credit": {"accounts": [ACCOUNT]},
        "suspicions": {"detail": "the database is away"},
        "reliability": {"feeders": [INDEX], "outages": []},
    }
    with before_every_page(chrome, ANSWERS % json.dumps(documents)):
        opened(chrome, web, "/supply")
        shows(chrome, "#nothing", "Worth a look: the database is away".__eq__)
        assert not chrome.find_element(By.ID, "suspicions").is_displayed()
        assert not chrome.find_element(By.ID, "balance").is_displayed(), "there is no feeder"
        assert "12.5 min" in text_of(chrome, "#reliability-rows")
        assert violations(chrome) == []
        chrome.find_element(By.LINK_TEXT, "House 7").click()
        shows(chrome, "h1", "Supply of House 7".__eq__)


def test_supply_without_any_of_it(chrome: Chrome, web: Web, house: None) -> None:
    opened(chrome, web, f"/supply?meter={METER}")
    shows(chrome, "#nothing", lambda text: text.startswith("Nothing of this is set up"))
    assert not chrome.find_element(By.ID, "account").is_displayed()


def test_a_meter_links_to_it(page: Chrome, web: Web) -> None:
    opened(page, web, f"/meters/{METER}")
    page.find_element(By.LINK_TEXT, "Load profile, registers and demand").click()
    shows(page, "h1", "Load profile of House 7".__eq__)
    shows(page, "#zone", "Europe/Zurich".__eq__)
