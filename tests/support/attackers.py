"""What attackers use: connections with an identity, commands, and an ear for the meters' answers.

>>> async with listening(houses) as desk:  # doctest: +SKIP
...     await desk.send("anna", houses.late, order())
...     await desk.unheard(command_id, houses.late)
"""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiomqtt
from open61850.mms import MmsClient

from admin.mms.tls_client import ClientCertificate, connect_tls
from broker.contract.messages import utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position
from broker.contract.result import Outcome, Result
from broker.contract.status import Status
from broker.mqtt.identity import CA, CERTIFICATE, KEY
from broker.mqtt.settings import MqttSettings
from tests.support.houses import TOPICS, Street

ANSWER_SECONDS = 60.0


def order(
    position: Position = Position.OPEN, *, issued: float = 0.0, valid: float = 20.0, command_id: str = ""
) -> Command:
    """A command, issued so many seconds from now and valid for so many."""
    at = utc_now() + timedelta(seconds=issued)
    return Command(
        command_id=command_id or uuid.uuid4().hex,
        position=position,
        issued_at=at,
        expires_at=at + timedelta(seconds=valid),
        origin=Origin(category=OriginCategory.REMOTE_CONTROL, identifier="otto"),
    )


@asynccontextmanager
async def client(settings: MqttSettings, **options: Any) -> AsyncIterator[aiomqtt.Client]:
    """A plain MQTT client with this identity, MQTT 5 unless told otherwise."""
    protocol = options.pop("protocol", aiomqtt.ProtocolVersion.V5)
    async with aiomqtt.Client(
        settings.host, settings.port, tls_context=settings.tls(), timeout=60, protocol=protocol, **options
    ) as connected:
        yield connected


@dataclass
class Desk:
    """Hears every result and everything that meters tell; sends as anybody."""

    houses: Street
    heard: list[aiomqtt.Message] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def listen(self, connected: aiomqtt.Client) -> None:
        """For ever."""
        async for message in connected.messages:
            async with self._news:
                self.heard.append(message)
                self._news.notify_all()

    async def send(
        self, name: str, meter: str, command: Command | bytes, *, kind: str = "command", **options: Any
    ) -> None:
        """Publish as ``name``; returns when the broker has acknowledged, also of what it drops."""
        payload = command if isinstance(command, bytes) else command.payload()
        async with client(self.houses.site.settings(name)) as sender:
            await sender.publish(TOPICS.meter(meter, kind), payload, qos=1, **options)

    async def result(self, command_id: str, *, before: int = 0) -> Result:
        """The meter's answer to this command after the first ``before`` messages; AssertionError in time."""
        await self._until(lambda: self._answers(command_id, before), why=f"answer to {command_id}")
        return self._answers(command_id, before)[0]

    async def refused(self, command_id: str, *, count: int = 1) -> Result:
        """The ``count``-th refusal of this command; the meter may say again what it did before."""

        def found() -> list[Result]:
            return [one for one in self._answers(command_id, 0) if one.outcome is Outcome.REFUSED]

        await self._until(lambda: len(found()) >= count, why=f"refusal of {command_id}")
        return found()[count - 1]

    async def online(self, meter: str, *, before: int) -> None:
        """Until the meter says so after the first ``before`` messages; what is retained may be old."""
        topic = TOPICS.meter(meter, "status")

        def told(message: aiomqtt.Message) -> bool:
            live = message.topic.value == topic and not message.retain
            return live and Status.model_validate_json(_bytes(message)).online

        await self._until(lambda: any(map(told, self.heard[before:])), why=f"{meter} online")

    async def obeyed(self, meter: str, command: Command) -> Result:
        """Send as the issuer; the answer."""
        before = len(self.heard)
        await self.send("otto", meter, command)
        return await self.result(command.command_id, before=before)

    async def unheard(self, command_id: str, meter: str) -> None:
        """AssertionError if the meter answered; what was sent before has reached it, if it ever will."""
        late = await self.obeyed(meter, order(issued=-60.0))
        assert late.outcome is Outcome.EXPIRED
        assert not self._answers(command_id, 0)

    def told(self, topic: str, payload: bytes) -> bool:
        """Whether exactly this was heard there."""
        return any(message.topic.value == topic and message.payload == payload for message in self.heard)

    async def _until(self, question: Callable[[], object], *, why: str) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._news:
                await self._news.wait_for(question)
        except TimeoutError:
            raise AssertionError(f"not heard in {ANSWER_SECONDS:g} s: {why}") from None

    def _answers(self, command_id: str, before: int) -> list[Result]:
        results = [m for m in self.heard[before:] if m.topic.value.endswith("/result")]
        parsed = [Result.model_validate_json(_bytes(message)) for message in results]
        return [result for result in parsed if result.command_id == command_id]


def _bytes(message: aiomqtt.Message) -> bytes:
    return message.payload if isinstance(message.payload, bytes) else b""


def rows(houses: Street, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Of the bridge's database."""
    with closing(sqlite3.connect(houses.url.removeprefix("sqlite:///"))) as connection:
        return connection.execute(query, values).fetchall()


def associate(houses: Street, name: str) -> MmsClient:
    """MMS over TLS with the certificate of ``name``; MmsError or OSError when it is refused."""
    folder = houses.site.deployment.identity_folder(name)
    identity = ClientCertificate(folder / CERTIFICATE, folder / KEY, folder / CA)
    return connect_tls("127.0.0.1", houses.mms_tls_port, identity, timeout=60.0)


@asynccontextmanager
async def listening(houses: Street) -> AsyncIterator[Desk]:
    """With the administrator's ear, who may read everything."""
    async with client(houses.site.settings("admin")) as connected:
        await connected.subscribe("sm/v1/#", qos=1)
        desk = Desk(houses)
        task = asyncio.create_task(desk.listen(connected))
        try:
            yield desk
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
