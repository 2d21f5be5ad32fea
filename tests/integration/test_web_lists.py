"""What the page asks of the API: orders, searches, some quantities, hours of all, the ledger of a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bridge.store.tables import HOUR_MS, at_ms, moment
from broker.contract.messages import format_ts
from tests.support.bridges import METER, OTHER, Client, not_at_midnight
from tests.support.brokers import mosquitto
from tests.support.chain import chain, until
from tests.support.feeder import FEEDER, feeder_of
from tests.support.past import Past
from tests.support.played import Played
from tests.support.web import Web, served

THIRD = "3f2504e0-4f89-41d3-9a0c-0305e82c3303"
HOUSES = {METER: ("House 2", 300.0), OTHER: ("House 10", -50.0), THIRD: ("House 1", None)}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Three houses that we play, two of them on a feeder; the last one has told no power."""
    folder = tmp_path_factory.mktemp("web")
    with (
        feeder_of(folder, "House 10", "House 1"),
        mosquitto(folder) as broker,
        chain(broker, folder) as running,
        served(running) as web,
        Client(broker) as client,
    ):
        for number, (meter_id, (name, power)) in enumerate(HOUSES.items()):
            house = Played(client, meter_id, name)
            hardware = {"vendor": "Peacefair", "model": "PZEM-004T", "serial": f"Z-{number}9"}
            address = f"{number} Acacia Street"
            house.appear(web, address=address, address_code=f"10{number}", hardware=hardware, interval=3600)
            if power is not None:
                house.read(power=power)
        until(lambda: web.json("/meters/order", sort="power")["meter_ids"][0] == METER, why="the readings")
        yield web


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("name", [THIRD, METER, OTHER]),
        ("power", [METER, OTHER, THIRD]),
        ("address_code", [METER, OTHER, THIRD]),
        ("alarms", [THIRD, METER, OTHER]),
        ("state", [THIRD, METER, OTHER]),
    ],
)
def test_the_order_of_the_meters(web: Web, sort: str, expected: list[str]) -> None:
    """House 1 is stale: it has told no reading."""
    assert web.json("/meters/order", sort=sort)["meter_ids"] == expected


@pytest.mark.parametrize("wanted", ["house 10", "1 ACACIA", "101", "z-19", OTHER[-12:]])
def test_a_meter_is_found_by_what_people_know_of_it(web: Web, wanted: str) -> None:
    found = [meter["meter_id"] for meter in web.json("/meters", search=wanted)["meters"]]
    assert OTHER in found
    assert THIRD not in found or wanted == OTHER[-12:]
    assert web.json("/meters/order", search=wanted)["meter_ids"] == found


def test_some_meters_are_asked_for_by_their_ids(web: Web) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    found = web.json("/meters/latest", meter=[THIRD, METER, unknown])["meters"]
    assert {meter["meter_id"] for meter in found} == {THIRD, METER}


def test_some_quantities_in_each_format(web: Web) -> None:
    until(lambda: web.chain.rows("SELECT 1 FROM reading"), why="it is stored")
    path = f"/meters/{METER}/readings"
    (reading,) = web.json(path, quantity="power", resolution="raw")["readings"]
    assert reading["power"] == 300.0
    assert "voltage" not in reading
    columns = web.json(path, quantity=["power", "voltage"], layout="columns")["columns"]
    assert {"ts", "power", "voltage"} <= columns.keys()
    assert "energy" not in columns
    with web.program(Accept="text/csv") as client:
        head, row = client.get(path, params={"quantity": "energy"}).text.splitlines()
    assert head.startswith("ts,epoch,seq,")
    assert "power" not in head
    assert "1000.0" in row.split(",")


def test_the_energy_of_all_hour_by_hour(web: Web) -> None:
    start = at_ms(datetime.now(UTC)) // HOUR_MS * HOUR_MS - 30 * HOUR_MS
    Past(web.chain.url, METER).hours({start + n * HOUR_MS: 100.0 + n for n in range(3)}, power=(1.0, 2.0))
    Past(web.chain.url, OTHER).hours({start + HOUR_MS: 0.5}, power=(1.0,))
    span = {"start": format_ts(moment(start)), "end": format_ts(moment(start + 3 * HOUR_MS))}
    columns = web.json("/energy/hours", **span)["columns"]
    assert columns == {
        "start": [start + n * HOUR_MS for n in range(3)],
        "energy_used": [100.0, 101.5, 102.0],
        "power": [1.5, 2.5, 1.5],
        "meters": [1, 2, 1],
    }
    with web.program() as client:
        long = {"start": format_ts(moment(start) - timedelta(days=40))}
        assert client.get("/energy/hours", params=long).status_code == 422
    hours = web.json(
        f"/meters/{METER}/readings", quantity="power", layout="columns", resolution="hour", **span
    )
    assert hours["columns"]["power_max"] == [2.0, 2.0, 2.0]
    assert hours["columns"]["energy_used"] == [100.0, 101.0, 102.0]
    assert "voltage_max" not in hours["columns"]


def test_the_feeder_of_a_meter_and_its_sum_hour_by_hour(web: Web) -> None:
    until(lambda: web.json(f"/meters/{OTHER}")["feeder"] == FEEDER, why="the SCD with all of them")
    until(lambda: web.json(f"/meters/{THIRD}")["feeder"] == FEEDER, why="the SCD with all of them")
    assert web.json(f"/meters/{METER}")["feeder"] is None
    start = at_ms(datetime.now(UTC)) // HOUR_MS * HOUR_MS - 50 * HOUR_MS
    begins = [start + n * HOUR_MS for n in range(3)]
    Past(web.chain.url, METER).hours(dict.fromkeys(begins, 500.0), power=(500.0,))
    Past(web.chain.url, OTHER).hours(dict.fromkeys(begins[:2], 20.0), power=(10.0, 30.0))
    Past(web.chain.url, THIRD).hours(dict.fromkeys(begins[1:], 7.0), voltage=(230.0,))
    span = {"start": format_ts(moment(start)), "end": format_ts(moment(start + 3 * HOUR_MS))}
    assert web.json("/energy/hours", feeder=FEEDER, **span)["columns"] == {
        "start": begins,
        "energy_used": [20.0, 27.0, 7.0],
        "power": [20.0, 20.0, None],
        "meters": [1, 2, 1],
    }
    assert web.json("/energy/hours", **span)["columns"]["power"] == [520.0, 520.0, 500.0], (
        "no mix-up of answers"
    )
    with web.program() as client:
        unknown = client.get("/energy/hours", params={"feeder": "Mill/LV/T1_F9", **span})
    assert unknown.status_code == 404
    assert "Mill/LV/T1_F9" in unknown.json()["detail"]


def test_the_energy_of_the_viewers_day(web: Web) -> None:
    """Yesterday's hours count where the day begins with them; an hour that is not full does not."""
    until(not_at_midnight, seconds=70, why="a day that does not end within the test")
    now = at_ms(datetime.now(UTC))
    hour = now // HOUR_MS * HOUR_MS - 27 * HOUR_MS
    Past(web.chain.url, THIRD).hours({hour: 7.0, hour + HOUR_MS: 5.0}, power=(1.0,))
    path = f"/meters/{THIRD}/today"
    for start, used in ((hour, 12.0), (hour + 1, 5.0), (hour + HOUR_MS, 5.0), (hour + 2 * HOUR_MS, None)):
        assert web.json(path, start=format_ts(moment(start)))["energy_used"] == used
    with web.program() as client:
        early = {"start": format_ts(moment(now) - timedelta(days=3))}
        assert client.get(path, params=early).status_code == 422


def test_the_ledger_of_a_time(web: Web) -> None:
    before = datetime.now(UTC)
    with web.program() as client:
        assert client.post(f"/meters/{METER}/relay", json={"position": "closed"}).status_code == 409
    until(lambda: web.json("/commands", meter_id=METER)["commands"], why="the ledger")
    late = format_ts(datetime.now(UTC) + timedelta(seconds=1))
    assert (
        len(web.json("/commands", start=format_ts(before - timedelta(seconds=1)), end=late)["commands"]) == 1
    )
    assert web.json("/commands", start=late)["commands"] == []
    assert web.json("/commands", end=format_ts(before - timedelta(minutes=1)))["commands"] == []
