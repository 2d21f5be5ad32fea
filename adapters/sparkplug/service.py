"""``meter61850 sparkplug run``: our meters as an edge node of Sparkplug B, on the same broker or another one.

It hears the meters on one connection and publishes on a second one, whose last will is NDEATH. bdSeq is
counted up and on the disk before each connection, so that a late NDEATH never ends a newer session.

>>> await serve(settings, stop, service=Service(settings))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from pathlib import Path

import aiomqtt
from aiomqtt import MqttError

from adapters.family import Outgoing
from adapters.sparkplug.edge_node import EdgeNode
from adapters.sparkplug.meters import FED, Mirror
from adapters.sparkplug.settings import SparkplugSettings
from broker import durable
from broker.contract.errors import ConfigurationError, reason
from broker.mqtt.backoff import Backoff, heed_cancellation
from broker.mqtt.client import new_client
from broker.mqtt.jobs import end, together
from broker.mqtt.receiver import GOOD_CONNECTION, Receiver

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks for meters that are stale or offline."""
WAITING = 20_000
"""Messages that may wait for the target; with more, all are dropped and the births come again."""
LAST_WORDS_SECONDS = 1.0


async def serve(settings: SparkplugSettings, stop: asyncio.Event, *, service: Service) -> None:
    """Until ``stop`` is set; the last message is NDEATH. ConfigurationError when bdSeq cannot be kept."""
    source = Receiver(
        settings.mqtt,
        service.take,
        topics=[settings.mqtt.topics.filter(kind) for kind in FED],
        connected=service.source,
        name="sparkplug",
    )
    tasks = [
        asyncio.create_task(source.run(), name="meters"),
        asyncio.create_task(service.keep_connected(), name="target"),
        asyncio.create_task(service.keep_looking(), name="ticks"),
    ]
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end((stopped, *tasks), again=LAST_WORDS_SECONDS)


class Service:
    """The mirror of our meters, and what waits to be published."""

    def __init__(self, settings: SparkplugSettings) -> None:
        self._settings = settings
        self.node = EdgeNode(
            settings.group, settings.node, host=settings.host, rebirth_seconds=settings.rebirth_seconds
        )
        self._mirror = Mirror(self.node, settings.mqtt.topics, stale_intervals=settings.stale_intervals)
        self._waiting: asyncio.Queue[Outgoing] = asyncio.Queue()
        self._refused = 0
        self.source_up = self.target_up = False
        self.sent = 0
        """Messages that the target broker has."""
        self.heard_at = 0.0
        """Time of the last message of a meter, in seconds since 1970; 0: none yet."""

    def take(self, name: str, payload: bytes, *, retained: bool) -> None:
        """A message of a meter."""
        self.heard_at = time.time()
        self._send(self._mirror.take(name, payload, retained=retained, now=time.monotonic(), ms=_ms()))

    def source(self, up: bool) -> None:
        """The connection to the meters stands, or is lost."""
        self.source_up = up
        self._mirror.source(up=up, now=time.monotonic())

    async def keep_looking(self) -> None:
        """Once a second: meters that are stale or offline, births that were asked for."""
        while True:
            await asyncio.sleep(TICK)
            self._send(self._mirror.due(now=time.monotonic(), ms=_ms()))
            self._tell_refusals()

    async def keep_connected(self) -> None:
        """One connection to the target after the other, exponential backoff with full jitter between them."""
        loop, backoff, target = asyncio.get_running_loop(), Backoff(), self._settings.target
        while True:
            started, why = loop.time(), "the primary host is offline"
            try:
                await self._connection()
            except (MqttError, OSError) as error:
                why = reason(error)
            heed_cancellation()
            if loop.time() - started > GOOD_CONNECTION:
                backoff.reset()
            pause = backoff.next()
            log.warning("broker %s:%d: %s; again in %.1f s", target.host, target.port, why, pause)
            await asyncio.sleep(pause)

    async def _connection(self) -> None:
        death = self.node.begin(next_bd_seq(self._settings.state))
        self._waiting = asyncio.Queue()
        will = aiomqtt.Will(death.topic, death.payload, qos=death.qos)
        async with new_client(self._settings.target, will=will) as client:
            for topic in self.node.subscriptions():
                await _subscribe(client, topic)
            self._send(self.node.connected(now=time.monotonic(), ms=_ms()))
            log.info("edge node %s stands", self.node.address.key)
            self.target_up = True
            try:
                await together({"out": self._publish(client), "in": self._listen(client)})
            finally:  # a clean DISCONNECT deletes the will
                self.target_up = False
                with contextlib.suppress(MqttError):
                    await _publish(client, self.node.death(), timeout=LAST_WORDS_SECONDS)

    async def _publish(self, client: aiomqtt.Client) -> None:
        while not self.node.wants_new_connection:
            await _publish(client, await self._waiting.get())
            self.sent += 1

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            told = self.node.take(message.topic.value, payload, now=time.monotonic(), ms=_ms())
            self._send(told)
            if self.node.wants_new_connection:
                return

    def _send(self, messages: list[Outgoing]) -> None:
        if self._waiting.qsize() + len(messages) > WAITING:
            log.warning("%d messages wait for the target broker: dropped, births follow", WAITING)
            self._waiting = asyncio.Queue()
            self.node.repeat()
            return
        for message in messages:
            self._waiting.put_nowait(message)

    @property
    def waiting(self) -> int:
        """Messages that the target broker does not have yet."""
        return self._waiting.qsize()

    def _tell_refusals(self) -> None:
        refused = self.node.counters["commands_refused"]
        if refused > self._refused:
            log.warning("%d commands refused: this edge node is read-only", refused - self._refused)
            self._refused = refused


async def _subscribe(client: aiomqtt.Client, topic: str) -> None:
    """MqttError if the broker refuses: without commands no host could ask for a birth."""
    granted = await client.subscribe(topic, qos=1)
    if any(getattr(code, "value", code) >= 0x80 for code in granted):
        raise MqttError(f"the broker refuses our subscription to {topic}")


async def _publish(client: aiomqtt.Client, one: Outgoing, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
    await client.publish(one.topic, one.payload, qos=one.qos, retain=one.retain, timeout=timeout)


def next_bd_seq(file: Path) -> int:
    """The bdSeq of a new connection, 0 to 255, kept in ``file``; ConfigurationError if that is impossible."""
    try:
        last = int(json.loads(file.read_text())["bdSeq"])
    except FileNotFoundError:
        last = -1
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f'{file}: {reason(error)}; its content is {{"bdSeq": N}}: put it right, or remove it'
        ) from error
    told = (last + 1) % 256
    try:
        durable.make_folder(file.parent)
        durable.replace(file, json.dumps({"bdSeq": told}).encode(), mode=durable.PUBLIC)
    except OSError as error:
        raise ConfigurationError(f"{file}: {reason(error)}; bdSeq must be kept there") from error
    return told


def _ms() -> int:
    return round(time.time() * 1000)
