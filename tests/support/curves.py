"""The curves of a meter's page: what a person does with them, and what there is to be seen.

>>> choose(page, "span", "month")  # doctest: +SKIP
>>> shown(page, "Power of November 2026, kW")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from bridge.store.tables import HOUR_MS, at_ms
from tests.support.bridges import METER, OTHER, Client
from tests.support.browser import PHONE, resize, screenshot, shows
from tests.support.chain import until
from tests.support.past import Past
from tests.support.played import Played
from tests.support.plots import plot
from tests.support.web import Web

ROWS = """
return [...document.querySelectorAll("#energies tr")].map(
  (row) => [...row.cells].map((cell) => cell.textContent));
"""
COLOUR = "return getComputedStyle(document.documentElement).getPropertyValue('--curve').trim()"
DRAWN = "const it = document.getElementById('curve'); return it.className === '' && it.firstChild !== null"
PHASES = [f"{name}_l{phase}" for name in ("voltage", "power") for phase in (1, 2, 3)]
MINUTE_MS = 60_000
DONE = "SELECT 1 FROM command WHERE outcome = 'done'"


def last_month(now: datetime) -> datetime:
    """Where it began."""
    midnight = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (midnight - timedelta(days=1)).replace(day=1)


def used_hours(zone: str, *, days: int) -> dict[int, float]:
    """Wh of each hour of so many days until two hours ago, but for six hours of last month."""
    now = at_ms(datetime.now(UTC))
    last = now - now % HOUR_MS - HOUR_MS
    begins = range(last - days * 24 * HOUR_MS, last, HOUR_MS)
    begin = last_month(datetime.now(ZoneInfo(zone)))
    noon = at_ms(begin.replace(day=10, hour=12))
    gone = range(noon, noon + 6 * HOUR_MS)
    return {start: 300.0 + place % 24 * 50 for place, start in enumerate(begins) if start not in gone}


def house_with_past(web: Web, client: Client, hours: Mapping[int, float]) -> Played:
    """House 7: three phases, these hours, and readings of two days with an hour's outage."""
    house = Played(client, METER, "House 7", seq=1000)
    house.appear(web, interval=60, quantities=["power", "voltage", "energy", *PHASES])
    past = Past(web.chain.url, METER)
    past.hours(hours, power=(280.0, 900.0), voltage=(219.0, 256.5))
    now = at_ms(datetime.now(UTC))
    out = range(now - 4 * HOUR_MS, now - 3 * HOUR_MS)
    times = [at for at in range(now - 48 * HOUR_MS, now - MINUTE_MS, MINUTE_MS) if at not in out]
    values = {"power": 640.0, "voltage": 231.0, **dict.fromkeys(PHASES, 230.0)}
    past.readings(times, **values | {"power_l2": 210.0, "power_l3": 190.0})
    house.read(power=640.0)
    switched_twice(web, house)
    return house


def neighbour_of(web: Web, house: Played, hours: Iterable[int]) -> Played:
    """House 9: 250 W all the time, but for 2250 W in each of the last eight of these hours."""
    other = Played(house.client, OTHER, "House 9")
    other.appear(web, address_code="1020", interval=60)
    past, now = Past(web.chain.url, OTHER), at_ms(datetime.now(UTC))
    begins = sorted(hours)
    past.hours(dict.fromkeys(begins[:-8], 250.0), power=(250.0,))
    past.hours(dict.fromkeys(begins[-8:], 2250.0), power=(2250.0,))
    past.readings(range(now - 30 * HOUR_MS, now - MINUTE_MS, MINUTE_MS), power=250.0)
    return other


def switched_twice(web: Web, house: Played) -> None:
    """It is switched off and on, and that is in the ledger."""
    for position, number in (("open", 1), ("closed", 2)):
        known = len(house.commands())
        with web.program() as client:
            assert (
                client.post(f"/meters/{house.meter_id}/relay", json={"position": position}).status_code == 202
            )
        until(lambda: len(house.commands()) > known, why="the command")  # noqa: B023
        house.relay(position, operations=number, command_id=house.commands()[-1])
        house.answer(house.commands()[-1])
        until(lambda: len(web.chain.rows(DONE)) == number, why="the ledger")  # noqa: B023


def shown(page: Chrome, title: str) -> Chrome:
    """Wait for a curve with that title to be drawn."""
    shows(page, "#curve-title", title.__eq__)
    until(lambda: page.execute_script(DRAWN), why="the curve")
    return page


def choose(page: Chrome, what: str, value: str) -> None:
    """In one of the page's lists."""
    Select(page.find_element(By.ID, what)).select_by_value(value)


def energy(wh: float) -> str:
    """As the page shows it."""
    return f"{wh / 1000:.2f}\u00a0kWh" if wh >= 9999.5 else f"{wh / 1000:.3f}\u00a0kWh"


def span(page: Chrome) -> tuple[float, float]:
    """From when to when is drawn, in ms."""
    return plot(page, "curve", "scales.x.min"), plot(page, "curve", "scales.x.max")


def keep(page: Chrome, name: str) -> None:
    """A screenshot of the curve."""
    page.execute_script("document.getElementById('curve-title').scrollIntoView()")
    screenshot(page, name)


def fits_a_phone(page: Chrome) -> None:
    """In the dark, too: what is drawn has the other colours, and nothing is wider than the page."""
    resize(page, PHONE, dark=True)
    until(lambda: page.execute_script(COLOUR) == plot(page, "curve", "series[1].stroke()"), why="it is dark")
    assert page.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
