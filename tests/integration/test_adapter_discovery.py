"""ESPHome and zigbee2mqtt on a real Mosquitto: their topics are found, read, and their relays switched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from adapters.family import Available, Point, Step, Switched, Values
from adapters.settings import SourceSettings
from adapters.simulated.program import DevicesSettings, run, simulated_devices
from adapters.simulated.zigbee2mqtt import SOURCE
from adapters.source import Source
from broker.contract.relay import Position
from broker.mqtt.settings import MqttSettings
from tests.support.brokers import Broker
from tests.support.mms import eventually

OPTIONS = {"homeassistant": {}, "zigbee2mqtt": SOURCE}


@dataclass
class Heard:
    """What a source has told."""

    steps: list[Step] = field(default_factory=list)

    def take(self, source: Source, step: Step) -> None:
        self.steps.append(step)

    def has(self, wanted: Step) -> bool:
        return wanted in self.steps

    def of(self, kind: type[Step]) -> bool:
        return any(isinstance(step, kind) for step in self.steps)


@asynccontextmanager
async def running(*jobs: asyncio.Task[None]) -> AsyncIterator[None]:
    """The tasks, until the end of the block."""
    try:
        yield
        assert not any(job.done() for job in jobs), jobs
    finally:
        for job in jobs:
            job.cancel()
            with suppress(asyncio.CancelledError):
                await job


@pytest.mark.parametrize("name", OPTIONS)
async def test_a_simulated_device_is_found_read_and_switched(name: str, broker: Broker) -> None:
    mqtt = MqttSettings(host=broker.host, port=broker.port)
    devices = DevicesSettings(families=(name,), n=2, interval=1.0, mqtt=mqtt)
    first, second = (device.key for device in simulated_devices(devices))
    heard = Heard()
    source = Source(SourceSettings(name="s", family=name, options=OPTIONS[name]), mqtt, heard.take)
    stop = asyncio.Event()
    simulation = asyncio.create_task(run(devices, stop=stop))
    async with running(asyncio.create_task(source.run())):
        await eventually(lambda: heard.of(Values))
        await eventually(lambda: heard.has(Available(second, True)))
        keys = {step.key for step in heard.steps if isinstance(step, Point)}
        assert keys == {first, second}
        heard.steps.clear()
        assert source.switch(first, Position.OPEN, token="c1") == ""
        await eventually(
            lambda: any(
                isinstance(step, Switched) and step.confirmed and step.position is Position.OPEN
                for step in list(heard.steps)
            )
        )
        await eventually(
            lambda: any(
                isinstance(step, Values) and step.key == first and step.measured["power"] == 0
                for step in list(heard.steps)
            )
        )
        assert not any(source.aside.counts.values()), source.aside.counts
    stop.set()
    await simulation
