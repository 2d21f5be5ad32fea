"""The MMS bridge as a process: one event loop for MQTT, for every MMS socket and for the clock.

``asyncio.run(run(MmsSettings()))`` serves until SIGTERM or SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import uuid
from collections.abc import Coroutine

import aiomqtt
from aiomqtt import MqttError

from broker.contract.errors import reason
from broker.contract.roles import Role
from broker.contract.specs import METER_KINDS, SPECS, heard_by
from broker.descriptors import raise_limit
from broker.mqtt.backoff import Backoff, heed_cancellation
from broker.mqtt.client import new_client
from broker.mqtt.jobs import end, together
from broker.mqtt.receiver import GOOD_CONNECTION, Receiver
from broker.mqtt.settings import MqttSettings
from broker.signals import stop_on_signals
from broker.version import VERSION
from mms_bridge.gateway import Gateway
from mms_bridge.metrics import observed
from mms_bridge.mqtt.publisher import last_words, publish_outbox, publish_status, status, tell_the_rest
from mms_bridge.mqtt.queue import MessageQueue
from mms_bridge.mqtt.router import BrokerConnection, Router
from mms_bridge.settings import MmsSettings

log = logging.getLogger(__name__)

FED = tuple(
    kind for kind in heard_by(Role.MMS) if kind in METER_KINDS and SPECS[kind].retained and kind != "block"
)
"""What a town's meters publish, on a connection of its own; the bridge repeats a block on the other one."""
COMMANDED = tuple(kind for kind in heard_by(Role.MMS) if kind not in (*FED, "block"))
"""What else this process hears, beside the blocks."""
STOP_AGAIN = 2.0
"""Seconds: leaves time for the last words."""


async def run(settings: MmsSettings) -> None:
    """Serve until SIGTERM or SIGINT; then close the associations and say offline."""
    await serve(settings, stop_on_signals())


async def serve(settings: MmsSettings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set."""
    raise_limit()  # an IED takes three descriptors, an association three; over TLS four and five
    identity = ("meter61850", "MQTT meter gateway", VERSION)
    calm_collector()
    gateway = Gateway(settings, identity=identity)
    gateway.listeners.access_files.start()
    with observed(gateway, settings):
        await _serve(gateway, settings, stop)


def calm_collector() -> None:
    """Look for cycles seldom: a town's model lives long, and looking through it took a fifth of the time."""
    gc.set_threshold(50_000, 50, 50)


async def _serve(gateway: Gateway, settings: MmsSettings, stop: asyncio.Event) -> None:
    router = Router(gateway, settings.mqtt.topics)
    tasks = [
        asyncio.create_task(_keep_connected(gateway, router, settings.mqtt), name="mqtt"),
        asyncio.create_task(_receiver(router, settings.mqtt).run(), name="meters"),
        asyncio.create_task(_keep_ticking(gateway, settings), name="ticks"),
        asyncio.create_task(router.failure(), name="messages"),
    ]
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a task that ends by itself has failed: say why
    finally:
        gateway.control.stop()
        await end((stopped, *tasks), again=STOP_AGAIN)
        gateway.close()


def _receiver(router: Router, mqtt: MqttSettings) -> Receiver:
    topics = [mqtt.topics.filter(kind) for kind in FED]
    return Receiver(
        mqtt,
        router.take,
        topics=topics,
        connected=lambda up: router.connected(BrokerConnection.METERS, up=up),
    )


async def _keep_ticking(gateway: Gateway, settings: MmsSettings) -> None:
    """Every IED each tick; those with a command under way more often."""
    loop, due = asyncio.get_running_loop(), 0.0
    while True:
        gateway.wake.clear()
        if loop.time() >= due:
            due = loop.time() + settings.tick
            gateway.tick()
        else:
            gateway.tick_commands()
        pause = min(due - loop.time(), gateway.control.asked_in())
        if gateway.control.busy:
            pause = min(pause, settings.control_tick)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await gateway.wake.wait()


async def _keep_connected(gateway: Gateway, router: Router, mqtt: MqttSettings) -> None:
    """One connection after the other, exponential backoff with full jitter between them."""
    loop = asyncio.get_running_loop()
    backoff = Backoff()
    cause = Exception()
    while True:
        started = loop.time()
        try:
            await _connection(gateway, router, mqtt)
        except* (
            MqttError,
            OSError,  # CredentialError too, and no free file descriptor
        ) as errors:  # alone from the connect, in a group from a connection's tasks
            router.connected(BrokerConnection.COMMANDS, up=False)
            gateway.counters["disconnects"] += 1
            cause = errors.exceptions[0]
        heed_cancellation()
        if loop.time() - started > GOOD_CONNECTION:
            backoff.reset()
        pause = backoff.next()
        log.warning("broker %s:%d: %s; again in %.1f s", mqtt.host, mqtt.port, reason(cause), pause)
        await asyncio.sleep(pause)


async def _connection(gateway: Gateway, router: Router, mqtt: MqttSettings) -> None:
    session = uuid.uuid4().hex
    will = aiomqtt.Will(
        mqtt.topics.service_status(gateway.name),
        status(gateway, session, online=False).payload(),
        qos=1,
        retain=True,
    )
    gateway.blocks.begin()
    async with new_client(mqtt, will=will, queue_type=MessageQueue.made_for(router.take)) as client:
        router.connected(BrokerConnection.COMMANDS, up=True)
        for qos in (0, 1):  # 0 first: no window holds these back, so all that is retained comes now
            await _subscribe_to(client, mqtt.topics.filter("block"), qos=qos)
        gateway.blocks.settle()
        await _subscribe(client, mqtt)
        log.info("connected to %s:%d", mqtt.host, mqtt.port)
        jobs: dict[str, Coroutine[None, None, None]] = {
            "outbox": publish_outbox(gateway, client, mqtt),
            "status": publish_status(gateway, client, mqtt, session),
            "messages": _until_disconnected(client),
        }
        try:
            await together(jobs)
        except asyncio.CancelledError:
            await tell_the_rest(gateway, client, mqtt)
            offline = status(gateway, session, online=False)
            await last_words(client, mqtt.topics.service_status(gateway.name), offline)
            raise


async def _subscribe(client: aiomqtt.Client, mqtt: MqttSettings) -> None:
    for kind in COMMANDED:
        await _subscribe_to(client, mqtt.topics.filter(kind), qos=1)


async def _subscribe_to(client: aiomqtt.Client, topic: str, *, qos: int) -> None:
    """MqttError if the broker refuses: without one of these topics we would not know what we do not know."""
    granted = await client.subscribe(topic, qos=qos)
    if any(getattr(code, "value", code) >= 0x80 for code in granted):
        raise MqttError(f"the broker refuses our subscription to {topic}")


async def _until_disconnected(client: aiomqtt.Client) -> None:
    """MqttError when the connection breaks; the mailbox has taken every message before."""
    async for _ in client.messages:
        raise AssertionError("the mailbox keeps nothing")
