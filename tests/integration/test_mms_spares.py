"""Births take spare logical devices: a client that is away loses nothing, and one that is there stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from open61850.mms import MmsClient
from open61850.mms.errors import MmsError

from broker.contract.relay import Position
from tests.integration.test_mms_values import GOOD, INVALID, OFF, ON, position, read
from tests.support.bridges import BridgeProcess, bridge
from tests.support.brokers import Broker, free_port
from tests.support.cli import run
from tests.support.clients import CLIENTS, collect
from tests.support.generations import generations
from tests.support.mms import DrivenMeter, Scene, eventually, meter_id, scene
from tests.support.mms_control import CLOSING, Desk
from tests.support.scada import Told

pytest_plugins = ("tests.support.databases",)

DOMAINS = 9  # object class of GetNameList
POSITIONS = "SMGW001GW/LLN0.BR.brcbPos01"
MODE = 8  # AddCause blocked-by-mode


@dataclass
class Town:
    """A bridge that makes spare devices, the MMS bridge that serves them, and driven meters."""

    running: Scene
    bridge: BridgeProcess
    metrics_port: int

    async def born(self, number: int, **told: Any) -> DrivenMeter:
        """A meter joins and has measured; it gets the device of that number."""
        meter = await self.running.add_meter(number, **told)
        await meter.read(voltage=230.0 + number, power=200.0)
        return meter

    def generations(self) -> int:
        """How many configurations the MMS bridge has taken into service."""
        return generations(self.metrics_port)

    async def serves(self, devices: int) -> None:
        """Until a new association sees so many logical devices, the gateway's own included."""

        def seen() -> bool:
            with suppress(OSError, MmsError), self.running.connect() as client:
                return len(client.get_name_list(DOMAINS)) == devices
            return False

        await eventually(seen)


@asynccontextmanager
async def town(broker: Broker, url: str, *, spare: int = 10, **settings: Any) -> AsyncIterator[Town]:
    """Real Mosquitto, bridge and MMS bridge."""
    metrics_port = free_port()
    async with scene(broker, prefix="sm/v1", metrics_port=metrics_port) as running:
        with bridge(broker, url, mms_port=running.port, spare=spare, **settings) as process:
            yield Town(running, process, metrics_port)


def text(client: MmsClient, reference: str) -> str:
    """A text of a name plate."""
    value: Any = client.read(f"{reference}[DC]")
    return str(value.value)


def name_of(meter: DrivenMeter) -> str:
    """The house's name, as the birth says it."""
    return f"House {meter.meter_id[-4:]}"


async def is_served(client: MmsClient, meter: DrivenMeter) -> None:
    """Until the meter's device has its name and its position."""
    await eventually(lambda: text(client, f"{meter.domain}/LLN0.NamPlt.d") == name_of(meter))
    await eventually(lambda: position(client, meter, "XSWI1")[1] == GOOD)


async def test_ten_births_cost_a_client_that_is_away_nothing(broker: Broker, sqlite_url: str) -> None:
    async with town(broker, sqlite_url) as there:
        first = await there.born(1)
        await there.serves(12)
        with await there.running.associate() as stays:
            await is_served(stays, first)
            before = await asyncio.to_thread(listen, there.running.port)
            assert before.entry_id is not None
            published = []
            for number in range(2, 12):
                first.position = Position.OPEN if number % 2 == 0 else Position.CLOSED
                published.append(round((await first.relay(None)).timestamp() * 1000))
                meter = await there.born(number)
                await is_served(stays, meter)
            assert there.generations() == 1
            told = await asyncio.to_thread(come_back, there.running.port, before.entry_id)
            assert not any(one.overflow for one in told)
            assert [one.entries[0][2] for one in told if 0 in one.entries] == published
            joined = [index for one in told for index, value in one.entries.items() if index and joins(value)]
            assert joined == list(range(1, 11)), "each house is an entry: its position is known now"
            await first.read(voltage=240.0)
            await eventually(lambda: voltage(stays, first) == 240.0)


def joins(value: Any) -> bool:
    """A closed relay, and its position is good."""
    return bool(value[0] == "10" and value[1] == "0" * 13)


def voltage(client: MmsClient, meter: DrivenMeter) -> float:
    """In V."""
    return float(read(client, meter.domain, ("MMXN1.Vol", "mag.f", "MX")).value)


def listen(port: int) -> Told:
    """The last entry of the buffered block before its client goes."""
    with CLIENTS["open61850"](port) as client:
        client.enable(POSITIONS, interrogate=True)
        return collect(client, 1)[-1]


def come_back(port: int, entry_id: str) -> list[Told]:
    """All entries after ``entry_id``."""
    with CLIENTS["open61850"](port) as client:
        client.enable(POSITIONS, entry_id=entry_id)
        return collect(client, 20)


async def test_a_spare_device_is_off_and_moves_nothing_until_a_meter_has_it(
    broker: Broker, sqlite_url: str
) -> None:
    async with town(broker, sqlite_url, spare=2) as there:
        first = await there.born(1)
        await there.serves(4)
        to_come = DrivenMeter(there.running.client, first.topics, meter_id(2), number=2)
        refused = await there.running.refusals()
        with await there.running.associate() as client:
            await is_served(client, first)
            assert stands(client, "SMGW001M2/LLN0.Beh.stVal[ST]") == OFF
            assert stands(client, "SMGW001M2/CSWI1.Beh.stVal[ST]") == OFF
            assert position(client, to_come, "XSWI1") == ("intermediate", INVALID)
            assert read(client, "SMGW001M2", ("MMXN1.Vol", "mag.f", "MX")).quality == INVALID
            assert text(client, "SMGW001M2/LPHD1.PhyNam.mRID") == ""
            await eventually(lambda: stands(client, "SMGW001GW/GGIO1.IntIn1.stVal[ST]") == 1)
            assert await Desk(client, to_come).select(False) == MODE
            assert await Desk(client, to_come, CLOSING).operate(True) == MODE
            second = await there.born(2)
            await is_served(client, second)
            assert text(client, "SMGW001M2/LPHD1.PhyNam.mRID") == second.meter_id
            assert stands(client, "SMGW001M2/LLN0.Beh.stVal[ST]") == ON
            await eventually(lambda: voltage(client, second) == 232.0)
            await eventually(lambda: stands(client, "SMGW001GW/GGIO1.IntIn1.stVal[ST]") == 2)
            assert second.commands == [], "nothing has left the MMS bridge before"
            assert await Desk(client, second).select(False) is None
            assert await Desk(client, second).operate(False) is None
            await eventually(lambda: position(client, second, "XSWI1") == ("off", GOOD))
            assert len(second.commands) == 1
            assert refused.empty()
        assert there.generations() == 1


def stands(client: MmsClient, reference: str) -> Any:
    """The value of an attribute."""
    return getattr(client.read(reference), "value", None)


async def test_only_a_birth_without_a_spare_makes_a_generation(broker: Broker, sqlite_url: str) -> None:
    """A meter of another kind does, and a withdrawal; what a withdrawn meter had is nobody else's."""
    async with town(broker, sqlite_url, spare=2) as there:
        await there.born(1)
        await there.serves(4)
        second = await there.born(2)
        without = await there.born(4, has_relay=False)
        await there.serves(6)
        await second.publish("birth", b"")
        await there.serves(5)
        third = await there.born(3)
        with await there.running.associate() as client:
            await is_served(client, third)
            await eventually(lambda: voltage(client, without) == 234.0)
            assert there.generations() == 3
            await is_served(client, await there.born(5))
            assert there.generations() == 3
            await there.born(6)
            await there.serves(8)
            assert there.generations() == 4
            names = client.get_name_list(DOMAINS)
        assert sorted(names) == ["SMGW001GW", "SMGW001M1", "SMGW001M3", "SMGW001M4", "SMGW001M5"]


def exported(file: Path, mqtt: str, house: str) -> bool:
    """Whether the SCD has the house: the MMS bridge may hear of it before the SCD is made."""
    run("scl", "export", "-o", str(file), "--mqtt", mqtt)
    return house in file.read_text()


async def test_file_and_server_are_the_same_through_births(
    broker: Broker, sqlite_url: str, tmp_path: Path
) -> None:
    async with town(broker, sqlite_url, spare=3) as there:
        await there.born(1)
        await there.serves(5)
        for number in (2, 3):
            with await there.running.associate() as client:
                await is_served(client, await there.born(number))
            file, mqtt = tmp_path / f"{number}.scd", f"{broker.host}:{broker.port}"
            await eventually(partial(exported, file, mqtt, f'desc="House {number:04x}"'))
            await asyncio.to_thread(run, "scl", "check", str(file))
            done = await asyncio.to_thread(run, "mms", "compare", str(file), "--all")
            assert (done.stdout, "5 logical devices" in done.stderr) == ("", True)


@pytest.mark.parametrize("names", ["number", "meter_id"])
async def test_names_decide_whether_there_are_spares(broker: Broker, sqlite_url: str, names: str) -> None:
    async with town(broker, sqlite_url, spare=3, ld_names=names) as there:
        await there.born(1)
        await there.serves(5 if names == "number" else 2)
