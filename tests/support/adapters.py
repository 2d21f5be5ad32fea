"""An adapter under test: made-up devices on a real broker, and somebody who listens to the meters.

>>> async with rig(broker, tmp_path) as town:  # doctest: +SKIP
...     await town.tell("d1", "info", {"switch": True})
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiomqtt

from adapters.adapter import Adapter
from adapters.points import meter_id_of
from adapters.settings import AdapterSettings
from broker.contract.messages import utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position
from tests.support import made_up
from tests.support.brokers import Broker

DEADLINE = 60.0
Message = tuple[str, dict[str, Any]]


def settings(broker: Broker, folder: Path, **others: Any) -> AdapterSettings:
    """One made-up source on this broker; every device is accepted, and may be switched."""
    told: dict[str, Any] = {
        "source": [{"name": "home", "family": made_up.NAME, "interval": 30}],
        "accept": [{"family": made_up.NAME, "switch": True}],
        "data_dir": folder / "adapter",
        "mqtt": {"host": broker.host, "port": broker.port},
        "outbox": {"resend_after": 1},
        "clock_synchronized": True,
    }
    return AdapterSettings.model_validate(told | others)


def toml(broker: Broker, folder: Path) -> Path:
    """The same as a file, for a process of its own."""
    file = folder / "adapters.toml"
    file.write_text(
        f'data_dir = "{folder}/adapter"\nclock_synchronized = true\n'
        f'[[source]]\nname = "home"\nfamily = "{made_up.NAME}"\ninterval = 30\n'
        f'[[accept]]\nfamily = "{made_up.NAME}"\nswitch = true\n'
        f"[outbox]\nresend_after = 1\n[mqtt]\nport = {broker.port}\n"
    )
    return file


@dataclass
class Town:
    """Devices on one side, what the meters say on the other."""

    client: aiomqtt.Client
    heard: list[Message] = field(default_factory=list)
    answers: dict[str, Callable[[dict[str, Any]], list[Message]]] = field(default_factory=dict)
    """Key → what the device says to a request."""
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def tell(self, key: str, kind: str, told: Any, *, retain: bool = False) -> None:
        """A device publishes."""
        payload = json.dumps(told) if told != "" else ""
        await self.client.publish(f"{made_up.NAME}/{key}/{kind}", payload, qos=1, retain=retain)

    async def command(self, key: str, position: Position, *, valid: float = 30) -> str:
        """Somebody commands the meter; the command's id."""
        now = utc_now()
        wanted = Command(
            command_id=uuid4().hex[:16],
            position=position,
            issued_at=now,
            expires_at=now + timedelta(seconds=valid),
            origin=Origin(category=OriginCategory.REMOTE_CONTROL, identifier="test"),
        )
        topic = f"sm/v1/{meter_id_of(made_up.NAME, key)}/command"
        await self.client.publish(topic, wanted.payload(), qos=1)
        return wanted.command_id

    async def meter(
        self, key: str, kind: str, wanted: Callable[[dict[str, Any]], bool] = bool, *, since: int = 0
    ) -> dict[str, Any]:
        """What the device's meter says that is ``wanted``, from index ``since`` on; waits for it."""
        topic = f"sm/v1/{meter_id_of(made_up.NAME, key)}/{kind}"
        return await self.said(topic, wanted, since=since)

    async def said(
        self, topic: str, wanted: Callable[[dict[str, Any]], bool] = bool, *, since: int = 0
    ) -> dict[str, Any]:
        """The first message on ``topic`` that is ``wanted``."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for name, told in self.heard[since:]:
                    if name == topic and wanted(told):
                        return told
                self._arrived.clear()
                await self._arrived.wait()

    async def listen(self) -> None:
        """Take what is published, and let devices answer."""
        async for message in self.client.messages:
            payload = bytes(message.payload) if isinstance(message.payload, bytes) else b""
            told = json.loads(payload) if payload[:1] == b"{" else {}
            self.heard.append((str(message.topic), told))
            self._arrived.set()
            _, _, rest = str(message.topic).partition(f"{made_up.NAME}/")
            key, _, kind = rest.partition("/")
            if kind in ("set", "get") and f"{key}/{kind}" in self.answers:
                for what, answer in self.answers[f"{key}/{kind}"](told):
                    await self.tell(key, what, answer)


@asynccontextmanager
async def town(broker: Broker) -> AsyncIterator[Town]:
    """Devices and a listener, without an adapter."""
    async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        made = Town(client)
        await client.subscribe("#", qos=1)
        listening = asyncio.create_task(made.listen())
        try:
            yield made
        finally:
            listening.cancel()


@asynccontextmanager
async def rig(broker: Broker, folder: Path, **others: Any) -> AsyncIterator[Town]:
    """With an adapter that runs meanwhile, and ends cleanly."""
    stop = asyncio.Event()
    async with town(broker) as made:
        running = asyncio.create_task(Adapter(settings(broker, folder, **others)).run(stop))
        try:
            await made.said(f"{made_up.NAME}/all/announce", lambda _: True)
            yield made
        finally:
            stop.set()
            await asyncio.wait_for(running, DEADLINE)
