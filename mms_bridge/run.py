"""The MMS bridge as a process: one event loop for MQTT, for every MMS socket and for the clock.

``asyncio.run(run(MmsSettings()))`` serves until SIGTERM or SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import signal
import uuid
from collections.abc import Collection, Coroutine, Mapping
from importlib.metadata import version
from typing import Any

import aiomqtt
from aiomqtt import MqttError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.errors import ContractError
from broker.messages import Block, Command, Message, Refusal, ServiceStatus, utc_now
from broker.settings import NO_DELAY, MqttSettings
from broker.topics import Topic
from mms_bridge.gateway import Gateway, Outgoing
from mms_bridge.mailbox import Mailbox, Take
from mms_bridge.observe import observed
from mms_bridge.settings import MmsSettings

log = logging.getLogger(__name__)

KINDS = ("birth", "status", "reading", "relay", "result")
MAX_ROUTES = 200_000
"""Topics remembered: the kinds of more than 20,000 meters, and a bound for invented ones."""
STATUS_INTERVAL = 10.0
CANCEL_AGAIN = 0.05
LAST_WORDS_SECONDS = 0.5
STOP_AGAIN = 2.0
"""Seconds: leaves time for the last words."""
BACKOFF_CAP = 60.0
GOOD_CONNECTION = 30.0
"""Seconds after which a connection counts as good and the backoff starts anew."""


async def run(settings: MmsSettings) -> None:
    """Serve until SIGTERM or SIGINT; then close the associations and say offline."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    await serve(settings, stop)


async def serve(settings: MmsSettings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set."""
    identity = ("meter61850", "MQTT meter gateway", version("meter61850"))
    calm_collector()
    gateway = Gateway(settings, identity=identity)
    with observed(gateway, settings):
        await _serve(gateway, settings, stop)


def calm_collector() -> None:
    """Look for cycles seldom: a town's model lives long, and looking through it took a fifth of the time."""
    gc.set_threshold(50_000, 50, 50)


async def _serve(gateway: Gateway, settings: MmsSettings, stop: asyncio.Event) -> None:
    tasks = [
        asyncio.create_task(_keep_connected(gateway, settings.mqtt), name="mqtt"),
        asyncio.create_task(_keep_ticking(gateway, settings), name="ticks"),
    ]
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a task that ends by itself has failed: say why
    finally:
        await _end((stopped, *tasks), again=STOP_AGAIN)
        gateway.close()


async def _together(jobs: Mapping[str, Coroutine[None, None, None]]) -> None:
    """Run ``jobs`` until the first one ends; raises its error."""
    tasks = [asyncio.create_task(job, name=name) for name, job in jobs.items()]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks, again=CANCEL_AGAIN)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise error


async def _end(tasks: Collection[asyncio.Task[Any]], *, again: float) -> None:
    """Cancel until they have ended.

    Once is not enough, which is why this is no TaskGroup: in Python 3.11, wait_for (aiomqtt waits for
    every PUBACK with it) swallows a cancellation that comes together with its result.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=again)


async def _keep_ticking(gateway: Gateway, settings: MmsSettings) -> None:
    while True:
        gateway.wake.clear()
        gateway.tick()
        pause = settings.tick
        if gateway.control.busy:
            pause = min(settings.control_tick, gateway.control.asked_in())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await gateway.wake.wait()


async def _keep_connected(gateway: Gateway, mqtt: MqttSettings) -> None:
    """One connection after the other, exponential backoff with full jitter between them."""
    loop = asyncio.get_running_loop()
    attempt = 0
    cause: Exception | None = None
    while True:
        started = loop.time()
        try:
            await _connection(gateway, mqtt)
        except* MqttError as errors:  # alone from the connect, in a group from a connection's tasks
            gateway.set_broker(up=False)
            gateway.counters["disconnects"] += 1
            cause = errors.exceptions[0]
        attempt = 0 if loop.time() - started > GOOD_CONNECTION else attempt + 1
        pause = random.uniform(0, min(BACKOFF_CAP, 0.5 * 2**attempt))
        log.warning("broker %s:%d: %s; again in %.1f s", mqtt.host, mqtt.port, cause, pause)
        await asyncio.sleep(pause)


async def _connection(gateway: Gateway, mqtt: MqttSettings) -> None:
    session = uuid.uuid4().hex
    will = aiomqtt.Will(
        mqtt.topics.service_status(gateway.name),
        _status(gateway, session, online=False).payload(),
        qos=1,
        retain=True,
    )
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gateway.blocks.begin()
    async with _client(mqtt, will, Mailbox.made_for(_taker(gateway, mqtt), failed)) as client:
        gateway.set_broker(up=True)
        for qos in (0, 1):  # 0 first: no window holds these back, so all that is retained comes now
            await client.subscribe(mqtt.topics.meter("+", "block"), qos=qos)
        gateway.blocks.settle()
        await _subscribe(client, mqtt)
        log.info("connected to %s:%d", mqtt.host, mqtt.port)
        jobs: dict[str, Coroutine[None, None, None]] = {
            "outbox": _publish_outbox(gateway, client, mqtt),
            "status": _publish_status(gateway, client, mqtt, session),
            "messages": _until_disconnected(client),
            "handling": _result(failed),
        }
        try:
            await _together(jobs)
        except asyncio.CancelledError:
            await _tell_the_rest(gateway, client, mqtt)
            offline = _status(gateway, session, online=False)
            await _last_words(client, mqtt.topics.service_status(gateway.name), offline)
            raise


async def _subscribe(client: aiomqtt.Client, mqtt: MqttSettings) -> None:
    topics = mqtt.topics
    for topic in (*(topics.meter("+", kind) for kind in KINDS), topics.cid("+")):
        await client.subscribe(topic, qos=1)
    for topic in (topics.scd, topics.revision, topics.service_status("+")):
        await client.subscribe(topic, qos=1)


def _client(
    mqtt: MqttSettings, will: aiomqtt.Will, queue_type: type[asyncio.Queue[aiomqtt.Message]]
) -> aiomqtt.Client:
    return aiomqtt.Client(
        mqtt.host,
        mqtt.port,
        username=mqtt.username,
        password=mqtt.password.get_secret_value() if mqtt.password else None,
        protocol=aiomqtt.ProtocolVersion(mqtt.version),
        keepalive=mqtt.keepalive,
        will=will,
        socket_options=NO_DELAY,
        queue_type=queue_type,
    )


async def _until_disconnected(client: aiomqtt.Client) -> None:
    """MqttError when the connection breaks; the mailbox has taken every message before."""
    async for _ in client.messages:
        raise AssertionError("the mailbox keeps nothing")


async def _result(future: asyncio.Future[None]) -> None:
    await future


def _taker(gateway: Gateway, mqtt: MqttSettings) -> Take:
    """What is done with each message."""
    routes: dict[str, Topic] = {}

    def take(message: aiomqtt.Message) -> None:
        name = message.topic.value
        topic = routes.get(name)
        if topic is None:
            try:
                topic = mqtt.topics.parse(name)
            except ContractError as error:
                gateway.reject(name, error)
                return
            if len(routes) >= MAX_ROUTES:
                routes.clear()
            routes[name] = topic
        payload = message.payload if isinstance(message.payload, bytes) else b""
        gateway.take(topic, payload, retained=message.retain)

    return take


async def _publish_outbox(gateway: Gateway, client: aiomqtt.Client, mqtt: MqttSettings) -> None:
    while True:
        outgoing = await gateway.outbox.get()
        if not isinstance(outgoing, Refusal) and not gateway.control.wants(*outgoing):
            outgoing = _unsent(*outgoing, "expired before the broker took it")
        try:
            await _publish_outgoing(client, mqtt, outgoing, name=gateway.name)
        except (MqttError, asyncio.CancelledError):  # cancelled when another task has met the error first
            if not isinstance(outgoing, Refusal):  # never sent again: the meter may have it
                outgoing = _unsent(*outgoing, "the broker went away: it may have arrived or not")
            if outgoing.block is None or outgoing.block != gateway.fleet.meter(outgoing.meter_id).block:
                gateway.outbox.put_nowait(outgoing)  # a block that holds is told again by settle()
            raise


async def _tell_the_rest(gateway: Gateway, client: aiomqtt.Client, mqtt: MqttSettings) -> None:
    """At a clean stop: what was not sent, and what was refused, for the ledger."""
    with contextlib.suppress(MqttError, TimeoutError):
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            while not gateway.outbox.empty():
                outgoing = gateway.outbox.get_nowait()
                if not isinstance(outgoing, Refusal):
                    outgoing = _unsent(*outgoing, "the MMS bridge was stopped before it was sent")
                await _publish_outgoing(client, mqtt, outgoing, name=gateway.name)


def _unsent(meter_id: str, message: Command | Block, reason: str) -> Refusal:
    if isinstance(message, Block):
        return Refusal(meter_id=meter_id, block=message, reason=reason, ts=utc_now())
    return Refusal(meter_id=meter_id, command=message, reason=reason, ts=utc_now())


async def _publish_outgoing(
    client: aiomqtt.Client, mqtt: MqttSettings, outgoing: Outgoing, *, name: str
) -> None:
    if isinstance(outgoing, Refusal):
        await client.publish(mqtt.topics.refused(name), outgoing.payload(), qos=1)
        return
    meter_id, command = outgoing
    if isinstance(command, Block):
        await client.publish(mqtt.topics.meter(meter_id, "block"), command.payload(), qos=1, retain=True)
        return
    properties = None
    if mqtt.version == 5:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        validity = (command.expires_at - utc_now()).total_seconds()
        properties.MessageExpiryInterval = max(1, round(validity))
    topic = mqtt.topics.meter(meter_id, "command")
    await client.publish(topic, command.payload(), qos=1, retain=False, properties=properties)


async def _publish_status(gateway: Gateway, client: aiomqtt.Client, mqtt: MqttSettings, session: str) -> None:
    topic = mqtt.topics.service_status(gateway.name)
    while True:
        status = _status(gateway, session, online=True)
        await client.publish(topic, status.payload(), qos=1, retain=True)
        await asyncio.sleep(STATUS_INTERVAL)


async def _last_words(client: aiomqtt.Client, topic: str, message: Message) -> None:
    """Say offline on a clean stop; a broker that is gone says it through the will."""
    with contextlib.suppress(MqttError):
        await client.publish(topic, message.payload(), qos=1, retain=True, timeout=LAST_WORDS_SECONDS)


def _status(gateway: Gateway, session: str, *, online: bool) -> ServiceStatus:
    counters = {
        **gateway.counters,
        **{f"commands_{name}": count for name, count in gateway.control.counters.items()},
        "ieds": len(gateway.ieds),
        "associations": gateway.associations,
        "meters": len(gateway.fleet.meters),
        "meters_online": gateway.fleet.online,
    }
    return ServiceStatus(
        online=online, version=version("meter61850"), session=session, ts=utc_now(), counters=counters
    )
