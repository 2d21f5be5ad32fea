"""``up`` without processes: what it starts, how it compares, what its table shows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from admin.chain.live import Line, live_table
from admin.chain.parts import Chain
from admin.chain.supervisor import Part, Supervisor
from admin.chain.up import NotReadyError, Up, compared
from admin.chain.watch import ChainWatch
from admin.mms.meter_values import Told, names_of, same, worst_quality
from admin.options import BrokerKind
from bridge.store.pack_format import NOTHING
from bridge.store.queries import MeterState
from bridge.store.tables import Meter, at_ms
from broker.contract.birth import Birth
from broker.contract.relay import Position
from tests.support.bridges import birth

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
VALUES = {
    "voltage": 231.0,
    "current": 0.191,
    "power": 21.3,
    "power_factor": 0.48,
    "frequency": 50.0,
    "energy": 98_414.4,
}


def stored(**changed: Any) -> MeterState:
    """The meter with its latest reading in the database."""
    meter = Meter(meter_id=ID, name="House 1", ied="SMGW001", relay="closed")
    fields = {"epoch": 1, "seq": 9, "ts": at_ms(NOW), "alarm": None, **VALUES, **changed}
    return MeterState(meter, NOTHING._replace(**fields))


def told(**changed: Told) -> dict[str, Told]:
    """The same over MMS: 32-bit floats in their shortest form, whole Wh."""
    values = {name: Told(value, "good", NOW) for name, value in VALUES.items()}
    return (
        values | {"energy": Told(98_414, "good", NOW), "relay": Told(Position.CLOSED, "good", NOW)} | changed
    )


def test_equal_readings_are_the_same() -> None:
    row = compared(ID, stored(), told())
    assert row["same"]
    assert row["name"] == "House 1"
    assert row["database"]["seq"] == 9
    assert row["mms"]["quality"] == "good"


def test_quality_is_told_but_does_not_make_a_difference() -> None:
    offline = {name: replace(one, quality="questionable,old-data") for name, one in told().items()}
    row = compared(ID, stored(), offline)
    assert row["same"]
    assert row["mms"]["quality"] == "questionable,old-data"


@pytest.mark.parametrize("field", [*VALUES, "relay"])
def test_any_other_value_is_a_difference(field: str) -> None:
    other = Told(Position.OPEN if field == "relay" else 7, "good", NOW)
    assert not compared(ID, stored(), told(**{field: other}))["same"]


@pytest.mark.parametrize("field", VALUES)
def test_another_reading_with_the_same_value_is_a_difference(field: str) -> None:
    later = replace(told()[field], ts=NOW + timedelta(milliseconds=2))
    assert not compared(ID, stored(), told(**{field: later}))["same"]


def test_absent_quantity_is_the_same_only_when_mms_says_invalid() -> None:
    absent = stored(current=None)
    assert not compared(ID, absent, told())["same"]
    assert compared(ID, absent, told(current=Told(0.0, "invalid,failure", NOW)))["same"]


@pytest.mark.parametrize(("state", "values"), [(None, told()), (stored(), None), (None, None)])
def test_missing_side_is_a_difference(state: MeterState | None, values: dict[str, Told] | None) -> None:
    assert compared(ID, state, values)["same"] is False


def test_float_is_compared_as_32_bits() -> None:
    assert same("power", 21.3, Told(21.299999237060547, "good", NOW))
    assert not same("power", 21.3, Told(21.300003, "good", NOW))


def test_every_quantity_is_read_with_quality_and_time() -> None:
    names = names_of(tuple(VALUES), relay=True)
    assert [*names] == [*VALUES, "relay"]
    for value, quality, moment in names.values():
        assert (quality.path[-1], moment.path[-1]) == ("q", "t")
        assert value.path[0] == quality.path[0] == moment.path[0]
    assert names["energy"][0].mms[1] == "MMTN1$ST$TotWh$actVal"


def test_a_meter_with_three_phases_is_read_where_its_values_are() -> None:
    given = ("power", "power_l1", "power_l2", "power_l3", "energy_import", "energy_export")
    names = names_of(given, relay=False)
    assert [*names] == [*given]
    assert names["power"][0].mms[1] == "MMXU1$MX$TotW$mag$f"
    assert names["power_l2"][0].mms[1] == "MMXU1$MX$W$phsB$cVal$mag$f"
    assert names["energy_export"][0].mms[1] == "MMTR1$ST$SupWh$actVal"
    summed = names_of(("power_l1", "power_l2", "power_l3"), relay=False)
    assert "power" not in summed, "what is made of several quantities is in no reading"


def test_worst_quality_is_the_first_that_is_not_good() -> None:
    assert worst_quality(told()) == "good"
    assert worst_quality(told(power=Told(0.0, "invalid", NOW))) == "invalid"


def test_chain_starts_the_broker_first_and_stops_within_five_seconds() -> None:
    parts = Chain(plain=True).parts(BrokerKind.MOSQUITTO)
    assert [part.name for part in parts] == ["broker", "bridge", "mms", "web", "meters"]
    assert sum(part.seconds for part in parts) < 5


def test_what_cuts_is_started_where_there_is_credit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER61850_CREDIT", "credit.toml")
    parts = Chain(plain=True).parts(BrokerKind.MOSQUITTO)
    assert [part.arguments[:2] for part in parts if part.name == "credit"] == [("credit", "run")]
    assert sum(part.seconds for part in parts) < 5


def test_embedded_broker_is_spoken_to_in_its_own_protocol() -> None:
    chain = Chain(plain=True)
    assert chain.mqtt(BrokerKind.EMBEDDED).version == 4
    for part in chain.parts(BrokerKind.EMBEDDED)[1:]:
        assert part.arguments[part.arguments.index("--mqtt-version") + 1] == "4"


@pytest.mark.parametrize(("meters", "ports"), [(1, 1), (50, 1), (51, 2), (100, 2), (101, 3)])
def test_one_mms_port_for_each_fifty_meters(meters: int, ports: int) -> None:
    assert Chain(meters=meters, mms_port=10102).mms_ports == range(10102, 10102 + ports)


def shown(*lines: Line, more: int = 0) -> str:
    """The live table as text."""
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(live_table(lines, now=NOW + timedelta(seconds=3), more=more))
    return capture.get()


def test_table_shows_each_quantity_relay_quality_and_age() -> None:
    heading, row, *_ = shown(Line("House 1", told())).splitlines()
    assert heading.split() == ["meter", "V", "A", "W", "PF", "Hz", "Wh", "relay", "quality", "age", "s"]
    assert row.split() == [
        "House",
        "1",
        "231.0",
        "0.191",
        "21.3",
        "0.48",
        "50.00",
        "98414",
        "closed",
        "good",
        "3",
    ]


def test_table_says_what_cannot_be_read_and_what_has_no_room() -> None:
    text = shown(Line("House 1", None), more=7)
    assert "not served" in text
    assert "7 more" in text


class SlowUp(Up):
    """Meters that can be read only at the third look."""

    looks = 0

    async def read(self, meter_ids: Iterable[str]) -> dict[str, dict[str, Told]]:
        """Nothing yet, or everything."""
        self.looks += 1
        return {meter_id: told() for meter_id in meter_ids} if self.looks > 2 else {}


async def test_meters_are_waited_for_however_long_the_parts_took_to_start(tmp_path: Path) -> None:
    """A start of 100 s on a loaded machine leaves the meters their whole time."""
    chain = Chain(meters=2, plain=True, data_dir=tmp_path)
    watch = ChainWatch(chain.mqtt(BrokerKind.MOSQUITTO))
    up = SlowUp(chain, BrokerKind.MOSQUITTO, Supervisor(tmp_path), watch, began=time.monotonic() - 100)
    await up.wait_ready()
    assert up.looks == 3
    assert up.ready_seconds > 100


@pytest.mark.parametrize(("born", "part"), [(False, "meters"), (True, "bridge")])
async def test_part_at_which_the_meters_have_got_stuck_is_named(
    born: bool, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin.chain.up.READY_SECONDS", -10.0)
    chain = Chain(meters=1, plain=True, data_dir=tmp_path)
    watch = ChainWatch(chain.mqtt(BrokerKind.MOSQUITTO))
    watch.births = dict.fromkeys(chain.meter_ids(), Birth.model_validate_json(birth())) if born else {}
    async with Supervisor(tmp_path) as supervisor:
        for name in ("bridge", "mms", "meters"):
            await supervisor.start(Part(name, ("--version",), 1.0))
        with pytest.raises(NotReadyError, match=f"not served; {tmp_path}/{part}.log says:"):
            await SlowUp(chain, BrokerKind.MOSQUITTO, supervisor, watch).wait_ready()
