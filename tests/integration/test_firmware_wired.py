"""Wired meters with a broker: several of one bus in one process, and simulated ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from broker.contract.errors import ConfigurationError
from broker.mqtt.settings import MqttSettings
from meter_firmware import run, simulate
from meter_firmware.identity import kept_meter_id
from meter_firmware.sensors.kinds import kind
from meter_firmware.sensors.modbus.registration import MODELS
from meter_firmware.settings import HardwareSettings, RelaySettings, SensorSettings, SimulateSettings
from tests.support.brokers import Broker
from tests.support.firmware_rig import DEADLINE, meter_settings
from tests.support.modbus import Slaves, image

Heard = dict[str, dict[str, Any]]
"""The newest message of each meter, of the kind that was listened to."""


async def heard(mqtt: MqttSettings, topic: str, enough: Callable[[Heard], bool]) -> Heard:
    """Listen to one kind of messages until what was heard is enough."""
    found: Heard = {}
    async with aiomqtt.Client(mqtt.host, mqtt.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(f"{mqtt.prefix}/+/{topic}", qos=1)
        async with asyncio.timeout(DEADLINE):
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                found[str(message.topic).split("/")[-2]] = json.loads(message.payload)
                if enough(found):
                    return found
    raise AssertionError("the broker went away")


def all_have(meters: set[str], name: str, found: Heard) -> bool:
    """Whether each meter has told this."""
    return all(name in found.get(meter, {}) for meter in meters)


async def test_meters_of_one_bus_run_in_one_process(broker: Broker, tmp_path: Path) -> None:
    device = MODELS["sdm120"].device
    units = {
        unit: image(4, device.encode({"voltage": 230.0 + unit, "frequency": 50.0, "power": 0.0}))
        for unit in (1, 2)
    }
    with Slaves(tmp_path, units) as slaves:
        meters = [
            meter_settings(
                broker,
                tmp_path,
                sensor=SensorSettings(kind="sdm120", port=slaves.port, address=unit),
                hardware=HardwareSettings(serial=f"S-{unit}"),
                relay=RelaySettings(kind="none"),
                data_dir=tmp_path / f"meter{unit}",
                mqtt=MqttSettings(host=broker.host, port=broker.port, prefix=f"w{tmp_path.name[-12:]}"),
            )
            for unit in (1, 2)
        ]
        ids = {kept_meter_id(settings.data_dir): 231.0 + place for place, settings in enumerate(meters)}
        stop = asyncio.Event()
        running = asyncio.create_task(run.run(*meters, stop=stop))
        told = await heard(meters[0].mqtt, "reading", partial(all_have, set(ids), "voltage"))
        stop.set()
        await asyncio.wait_for(running, DEADLINE)
    assert {meter: told[meter]["voltage"] for meter in ids} == ids


async def test_two_meters_need_two_data_folders(broker: Broker, tmp_path: Path) -> None:
    settings = meter_settings(broker, tmp_path)
    with pytest.raises(ConfigurationError, match=r"data_dir .*/meter: 2 meters have it"):
        await run.run(settings, settings)


async def test_simulated_wired_meters_are_read_over_their_wires(broker: Broker, tmp_path: Path) -> None:
    mqtt = MqttSettings(host=broker.host, port=broker.port, prefix=f"w{tmp_path.name[-12:]}")
    settings = SimulateSettings(n=2, interval=0.5, kind="sdm630", solar=True, data_dir=tmp_path, mqtt=mqtt)
    meters = set(simulate.meter_ids(settings))
    assert not meters & set(simulate.meter_ids(SimulateSettings(n=2))), (
        "they are others than those without a wire"
    )
    stop = asyncio.Event()
    running = asyncio.create_task(simulate.run(settings, stop=stop))
    births = await heard(mqtt, "birth", partial(all_have, meters, "quantities"))
    readings = await heard(mqtt, "reading", partial(all_have, meters, "power_l3"))
    stop.set()
    await asyncio.wait_for(running, DEADLINE)
    for meter in meters:
        assert births[meter]["quantities"] == list(kind("sdm630").measures)
        assert births[meter]["hardware"]["model"] == "simulated sdm630"
        assert births[meter]["relay"] is False
        assert readings[meter]["power_l3"] < 0 < readings[meter]["power_l1"]
