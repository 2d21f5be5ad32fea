"""The readings' own connection: every one, in order, with its retain flag, also after the broker was away."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiomqtt
import pytest

from broker.mqtt import receiver
from broker.mqtt.receiver import Receiver
from broker.mqtt.settings import MqttSettings
from mms_bridge.run import FED
from tests.support.brokers import Broker
from tests.support.mms import DEADLINE, eventually, meter_id


@dataclass
class Seen:
    """What a feed has handed over."""

    messages: list[tuple[str, bytes, bool]] = field(default_factory=list)
    links: list[bool] = field(default_factory=list)

    def take(self, name: str, payload: bytes, *, retained: bool) -> None:
        """Remember one message."""
        self.messages.append((name, payload, retained))

    @property
    def payloads(self) -> list[bytes]:
        """The payloads in the order in which they came."""
        return [payload for _, payload, _ in self.messages]


def settings(broker: Broker, *, keepalive: int = 60) -> MqttSettings:
    """The broker, with a topic prefix of the test's own."""
    prefix = f"f{uuid.uuid4().hex[:8]}"
    return MqttSettings(host=broker.host, port=broker.port, prefix=prefix, keepalive=keepalive)


@asynccontextmanager
async def fed(mqtt: MqttSettings) -> AsyncIterator[Seen]:
    """A running feed."""
    seen = Seen()
    topics = [mqtt.topics.filter(kind) for kind in FED]
    running = asyncio.create_task(Receiver(mqtt, seen.take, topics=topics, connected=seen.links.append).run())
    try:
        yield seen
        assert not running.done(), running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def published(client: aiomqtt.Client, mqtt: MqttSettings, number: int, payload: bytes) -> None:
    """One retained reading, as a meter publishes it."""
    await client.publish(mqtt.topics.meter(meter_id(number), "reading"), payload, qos=1, retain=True)


async def heard(seen: Seen, client: aiomqtt.Client, mqtt: MqttSettings) -> None:
    """Return when the feed's subscription stands."""

    async def probe() -> None:
        while not seen.messages:
            await published(client, mqtt, 0, b"probe")
            await asyncio.sleep(0.05)

    await asyncio.wait_for(probe(), DEADLINE)


async def test_a_flood_arrives_whole_and_in_order(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "ENOUGH", 50)  # the socket is left unread again and again
    mqtt = settings(broker)
    async with aiomqtt.Client(broker.host, broker.port, timeout=60) as client, fed(mqtt) as seen:
        await heard(seen, client, mqtt)
        seen.messages.clear()
        payloads = [b"%d" % number for number in range(3000)]
        await asyncio.gather(*(published(client, mqtt, 1, payload) for payload in payloads))

        def own() -> list[bytes]:
            return [payload for name, payload, _ in list(seen.messages) if meter_id(1) in name]

        await eventually(lambda: len(own()) >= len(payloads))
        assert own() == payloads
        assert not any(retained for name, _, retained in seen.messages if meter_id(1) in name)


async def test_an_old_reading_says_that_it_is_old(broker: Broker) -> None:
    mqtt = settings(broker)
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await published(client, mqtt, 1, b"old")
        async with fed(mqtt) as seen:
            await eventually(lambda: bool(seen.messages))
            await published(client, mqtt, 1, b"new")
            await eventually(lambda: len(seen.messages) == 2)
    assert [(payload, retained) for _, payload, retained in seen.messages] == [
        (b"old", True),
        (b"new", False),
    ]


async def test_it_comes_back_after_the_broker(broker: Broker) -> None:
    mqtt = settings(broker)
    async with fed(mqtt) as seen:
        async with aiomqtt.Client(broker.host, broker.port) as client:
            await heard(seen, client, mqtt)
        broker.kill()
        broker.start()
        seen.messages.clear()
        async with aiomqtt.Client(broker.host, broker.port) as client:
            await heard(seen, client, mqtt)
        assert seen.links[0] is True
        assert seen.links[-2:] == [False, True]


async def test_a_broker_that_is_silent_is_left(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """A stopped broker holds the connection: keepalive finds it out."""
    mqtt = settings(broker, keepalive=2)
    async with fed(mqtt) as seen:
        async with aiomqtt.Client(broker.host, broker.port) as client:
            await heard(seen, client, mqtt)
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            await eventually(lambda: "silent for more than 3 s" in caplog.text)
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        seen.messages.clear()
        async with aiomqtt.Client(broker.host, broker.port) as client:
            await heard(seen, client, mqtt)


async def test_a_broker_that_was_not_listened_to_is_not_silent(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The socket was left unread for long, and the next ping is due just when it is read again."""
    monkeypatch.setattr(receiver, "ENOUGH", 0)
    receive, late = receiver._Connection.data_received, []

    def receive_and_be_late(connection: receiver._Connection, data: bytes) -> None:
        receive(connection, data)
        if b"work" in data:
            late.append(connection)
            connection._session._heard -= 3600
            time.sleep(1.1)  # the event loop's: the ping of each second is due

    monkeypatch.setattr(receiver._Connection, "data_received", receive_and_be_late)
    mqtt = settings(broker, keepalive=2)
    async with aiomqtt.Client(broker.host, broker.port) as client, fed(mqtt) as seen:
        await heard(seen, client, mqtt)
        await published(client, mqtt, 1, b"work")
        await eventually(lambda: b"work" in seen.payloads)
        await published(client, mqtt, 1, b"after")
        await eventually(lambda: b"after" in seen.payloads)
    assert len(late) == 1
    assert "silent" not in caplog.text
    assert seen.links == [True, False]


async def test_a_refusal_is_told(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """A broker that wants a password: the reason is in the log, and we try again."""
    password = broker.config.with_name("passwords")
    password.write_text("")
    broker.stop()
    text = broker.config.read_text().replace(
        "allow_anonymous true", f"allow_anonymous false\npassword_file {password}"
    )
    broker.config.write_text(text)
    broker.start()
    async with fed(settings(broker)):
        await eventually(lambda: "refused us: not authorized" in caplog.text)
