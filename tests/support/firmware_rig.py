"""A meter under test: a PZEM-004T on a pseudo-terminal, a real broker, and somebody who listens.

>>> async with Rig.on(broker, tmp_path) as rig:  # doctest: +SKIP
...     await rig.heard("reading", lambda reading: reading.get("voltage") == 231.0)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiomqtt

from broker.contract.messages import utc_now
from broker.contract.reading import Stored
from broker.contract.relay import Command, Origin, OriginCategory, Position
from broker.mqtt.settings import MqttSettings
from meter_firmware import run
from meter_firmware.identity import kept_meter_id
from meter_firmware.settings import (
    HardwareSettings,
    Identity,
    MeterSettings,
    OutboxSettings,
    RelaySettings,
    SensorSettings,
)
from tests.support.brokers import Broker
from tests.support.pzem import Pzem

DEADLINE = 60.0


def anything(_payload: dict[str, Any]) -> bool:
    """Wanted: any message."""
    return True


@dataclass(frozen=True)
class Heard:
    """One message of the meter's."""

    meter_id: str
    kind: str
    payload: dict[str, Any]
    retained: bool


@dataclass
class Rig:
    """The meter's settings, its sensor, and a client beside it."""

    settings: MeterSettings
    pzem: Pzem
    meter_id: str
    client: aiomqtt.Client
    messages: list[Heard] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def on(cls, broker: Broker, tmp_path: Path, **settings: Any) -> AsyncIterator[Rig]:
        """Sensor and listener, but no meter yet."""
        made = meter_settings(broker, tmp_path, **settings)
        with Pzem(tmp_path) as pzem:
            async with cls.listening(made, pzem) as rig:
                yield rig

    @classmethod
    @asynccontextmanager
    async def listening(cls, settings: MeterSettings, pzem: Pzem) -> AsyncIterator[Rig]:
        """A listener on a connection of its own, also for a meter that runs already."""
        mqtt = settings.mqtt
        async with aiomqtt.Client(mqtt.host, mqtt.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            rig = cls(settings, pzem, kept_meter_id(settings.data_dir), client)
            await client.subscribe(mqtt.topics.everything, qos=1)
            task = asyncio.create_task(rig._listen())
            try:
                yield rig
            finally:
                task.cancel()

    @asynccontextmanager
    async def meter(self) -> AsyncIterator[asyncio.Event]:
        """The meter runs meanwhile; it must end cleanly when it is told to."""
        stop = asyncio.Event()
        running = asyncio.create_task(run.run(self.settings, stop=stop))
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.wait_for(running, DEADLINE)

    async def heard(
        self, kind: str, wanted: Callable[[dict[str, Any]], bool] = anything, *, since: int = 0
    ) -> dict[str, Any]:
        """The first message of ``kind`` from index ``since`` on that is ``wanted``; waits for it."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for message in self.messages[since:]:
                    if message.kind == kind and wanted(message.payload):
                        return message.payload
                self.arrived.clear()
                await self.arrived.wait()

    def so_far(self, kind: str) -> list[dict[str, Any]]:
        """All messages of ``kind`` that were heard."""
        return [message.payload for message in self.messages if message.kind == kind]

    def topic(self, kind: str) -> str:
        """The meter's topic."""
        return self.settings.mqtt.topics.meter(self.meter_id, kind)

    async def retained(self, meter_id: str | None = None) -> dict[str, dict[str, Any]]:
        """What the broker keeps of the meter (ours, if not told otherwise): kind → payload."""
        meter_id = meter_id or self.meter_id
        found: dict[str, dict[str, Any]] = {}
        async with aiomqtt.Client(self.settings.mqtt.host, self.settings.mqtt.port) as client:
            # The broker sends retained messages in the order of subscriptions: "end" comes last.
            await client.publish(f"end/{meter_id}", "{}", qos=1, retain=True)
            await client.subscribe(f"{self.settings.mqtt.prefix}/{meter_id}/#", qos=1)
            await client.subscribe(f"end/{meter_id}", qos=1)
            async with asyncio.timeout(DEADLINE):
                async for message in client.messages:
                    if message.topic.value.startswith("end/"):
                        return found
                    if message.retain:
                        found[_words(message)[-1]] = _json(message)
        raise AssertionError("the broker did not answer")

    async def command(self, payload: bytes, *, retain: bool = False) -> None:
        """Publish on the meter's command topic."""
        await self.client.publish(self.topic("command"), payload, qos=1, retain=retain)

    async def confirm(self, epoch: int, first: int, seq: int) -> None:
        """Say what the bridge would say."""
        await self.client.publish(self.topic("stored"), Stored(epoch=epoch, first=first, seq=seq).payload())

    async def _listen(self) -> None:
        with suppress(aiomqtt.MqttError):  # a test killed the broker
            async for message in self.client.messages:
                self.messages.append(
                    Heard(_words(message)[-2], _words(message)[-1], _json(message), message.retain)
                )
                self.arrived.set()


def meter_settings(broker: Broker, tmp_path: Path, **changes: Any) -> MeterSettings:
    """A quick meter below a topic prefix of its own."""
    quick: dict[str, Any] = {
        "identity": Identity(name="Kitchen", owner="A. Example", address="1 Street", address_code="7530"),
        "hardware": HardwareSettings(vendor="Peacefair", model="PZEM-004T v3", serial="P-1"),
        "sensor": SensorSettings(port=str(tmp_path / "ttyPZEM")),
        "relay": RelaySettings(kind="simulated"),
        "outbox": OutboxSettings(resend_after=0.5),
        "interval": 0.1,
        "clock_wait": 0.0,
        "data_dir": tmp_path / "meter",
        "mqtt": MqttSettings(host=broker.host, port=broker.port, prefix=f"t{uuid4().hex[:8]}"),
    }
    return MeterSettings(**{**quick, **changes})


def command(
    command_id: str, position: Position = Position.OPEN, *, age: float = 0, valid: float = 30
) -> bytes:
    """A command's payload, issued ``age`` seconds ago and valid for ``valid`` seconds."""
    issued_at = utc_now() - timedelta(seconds=age)
    return Command(
        command_id=command_id,
        position=position,
        issued_at=issued_at,
        expires_at=issued_at + timedelta(seconds=valid),
        origin=Origin(category=OriginCategory.REMOTE_CONTROL, identifier="test"),
    ).payload()


def _words(message: aiomqtt.Message) -> list[str]:
    return message.topic.value.split("/")


def _json(message: aiomqtt.Message) -> dict[str, Any]:
    assert isinstance(message.payload, bytes)
    try:
        parsed = json.loads(message.payload)
    except (ValueError, RecursionError):  # what a test itself sent
        return {}
    return parsed if isinstance(parsed, dict) else {}
