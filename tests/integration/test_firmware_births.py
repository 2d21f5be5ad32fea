"""Meters with telegrams are born with what these give, and with nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meter_firmware import run, simulate
from meter_firmware.sensors.kinds import kind
from meter_firmware.settings import MeterSettings, RelaySettings, SimulateSettings
from tests.support.brokers import Broker
from tests.support.firmware_rig import DEADLINE, Rig, meter_settings
from tests.support.pzem import Pzem
from tests.support.telegrams import EXPECTED


@asynccontextmanager
async def running(settings: MeterSettings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run.run(settings, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, DEADLINE)


async def test_birth_and_readings_have_the_quantities_of_the_telegrams(
    broker: Broker, tmp_path: Path
) -> None:
    simulated = kind("p1").simulated
    assert simulated is not None
    async with simulated(lambda: dict(EXPECTED)) as sensor:
        settings = meter_settings(broker, tmp_path, sensor=sensor, relay=RelaySettings(kind="none"))
        async with Rig.listening(settings, Pzem(tmp_path)) as rig:
            async with running(settings):
                birth = await rig.heard("birth")
                reading = await rig.heard("reading", lambda reading: "power" in reading)
                assert set(birth["quantities"]) == set(EXPECTED)
                assert {name: reading[name] for name in EXPECTED} == EXPECTED
            silent = settings.model_copy(update={"sensor": sensor.model_copy(update={"port": "/dev/none"})})
            since = len(rig.messages)
            async with running(silent):  # the head has fallen off: it is the same meter, without values
                assert (await rig.heard("birth", since=since))["quantities"] == birth["quantities"]
                await rig.heard("reading", lambda reading: "power" not in reading, since=since)


@pytest.mark.parametrize("name", ["p1", "mbus"])
async def test_a_simulated_meter_of_a_kind_is_born_with_what_it_gives(
    broker: Broker, tmp_path: Path, name: str
) -> None:
    settings = meter_settings(broker, tmp_path)
    simulated = SimulateSettings(
        n=1, kind=name, solar=True, interval=1.0, data_dir=tmp_path, mqtt=settings.mqtt
    )
    async with Rig.listening(settings, Pzem(tmp_path)) as rig:
        stop = asyncio.Event()
        task = asyncio.create_task(simulate.run(simulated, stop=stop))
        birth = await rig.heard("birth")
        reading = await rig.heard("reading", lambda reading: "power" in reading)
        stop.set()
        await asyncio.wait_for(task, DEADLINE)
    assert set(birth["quantities"]) == set(EXPECTED)
    assert set(EXPECTED) <= set(reading)
    assert reading["power_l3"] < 0 < reading["power_l1"]
