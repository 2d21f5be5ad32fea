"""Many simulated devices in one process, each with a connection of its own, as at home.

>>> asyncio.run(run(DevicesSettings(families=("tasmota",), n=3), stop=stop))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from time import time
from typing import Annotated

import aiomqtt
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.simulated.device import Device, Message, device_kind
from broker.mqtt.backoff import Backoff, heed_cancellation
from broker.mqtt.client import new_client
from broker.mqtt.jobs import together
from broker.mqtt.settings import MqttSettings
from broker.signals import stop_on_signals
from meter_firmware.sensors.household import Household
from meter_firmware.simulate import allow_files

log = logging.getLogger(__name__)

FILES_BESIDES = 100
LONGEST_WAIT = 5.0
"""Seconds between two attempts to connect."""
SEED = 2
"""Of the households: other loads than those of our own simulated meters."""


class DevicesSettings(BaseSettings):
    """``n`` devices of each family; the same seed makes the same devices."""

    model_config = SettingsConfigDict(env_prefix="METER61850_DEVICES_", extra="forbid", frozen=True)

    families: tuple[str, ...]
    n: Annotated[int, Field(ge=1, le=10_000)] = 1
    seed: Annotated[int, Field(ge=0)] = SEED
    """Of their households."""
    interval: Annotated[float, Field(ge=0.05, le=3600)] = 10.0
    """Seconds between a device's messages."""
    mqtt: MqttSettings = Field(default_factory=MqttSettings)


def simulated_devices(settings: DevicesSettings) -> list[Device]:
    """The devices, family by family; ConfigurationError names an unknown family."""
    kinds = [device_kind(family) for family in settings.families]
    numbered = [(kind, number) for kind in kinds for number in range(1, settings.n + 1)]
    return [
        kind.make(Household(seed=settings.seed, number=place), number)
        for place, (kind, number) in enumerate(numbered, start=1)
    ]


def source_lines(family: str, *, interval: float, host: str, port: int) -> list[str]:
    """``[[source]]`` of an adapters.toml that hears all devices of this family at this broker."""
    options = [f'{key} = "{text}"' for key, text in device_kind(family).options.items()]
    return [
        *("[[source]]", f'name = "{family}"', f'family = "{family}"', f"interval = {interval}"),
        *(["[source.options]", *options] if options else []),
        *("[source.mqtt]", f'host = "{host}"', f"port = {port}"),
    ]


async def run(settings: DevicesSettings, *, stop: asyncio.Event | None = None) -> None:
    """Be the devices until SIGTERM or SIGINT (or ``stop``, if given)."""
    stop = stop or stop_on_signals()
    devices = simulated_devices(settings)
    allow_files(FILES_BESIDES + len(devices))
    step = settings.interval / len(devices)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_live(device, settings, offset=step * place), name=device.key)
            for place, device in enumerate(devices)
        ]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _live(device: Device, settings: DevicesSettings, *, offset: float) -> None:
    """One connection after the other."""
    backoff = Backoff(first=0.5, cap=LONGEST_WAIT)
    while True:
        try:
            async with new_client(
                settings.mqtt, identifier=f"sim-{device.key}", will=_will(device)
            ) as client:
                backoff.reset()
                await _serve(client, device, interval=settings.interval, offset=offset)
        except aiomqtt.MqttError as error:
            heed_cancellation()
            log.info("%s: %s", device.key, error)
        await asyncio.sleep(backoff.next())


def _will(device: Device) -> aiomqtt.Will | None:
    will = device.will()
    return aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain) if will else None


async def _serve(client: aiomqtt.Client, device: Device, *, interval: float, offset: float) -> None:
    for topic in device.subscriptions():
        await client.subscribe(topic, qos=1)
    await _publish(client, device.birth(time()))
    telling = _tell(client, device, interval=interval, offset=offset)
    await together({"tell": telling, "obey": _obey(client, device)})


async def _tell(client: aiomqtt.Client, device: Device, *, interval: float, offset: float) -> None:
    due = time() + (offset - time()) % interval
    while True:
        await asyncio.sleep(due - time())
        await _publish(client, device.messages(time()))
        due += interval * max(1, -(-(time() - due) // interval))


async def _obey(client: aiomqtt.Client, device: Device) -> None:
    async for message in client.messages:
        payload = message.payload if isinstance(message.payload, bytes) else b""
        await _publish(client, device.take(message.topic.value, payload, time()))


async def _publish(client: aiomqtt.Client, messages: Sequence[Message]) -> None:
    for message in messages:
        await client.publish(message.topic, message.payload, qos=1, retain=message.retain)
