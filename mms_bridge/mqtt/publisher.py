"""The messages of the MMS bridge: commands, blocks, refusals for the ledger, and its own status.

A command is sent once. A command that could not be sent, or may have been lost, becomes a refusal for the
ledger, if necessary on the next connection.
"""

from __future__ import annotations

import asyncio
import contextlib

import aiomqtt
from aiomqtt import MqttError

from broker.contract.block import Block
from broker.contract.messages import Message, utc_now
from broker.contract.relay import Command
from broker.contract.result import Refusal
from broker.contract.status import ServiceStatus
from broker.mqtt.publishing import expiring
from broker.mqtt.settings import MqttSettings
from broker.version import VERSION
from mms_bridge.control.blocking import Repeat
from mms_bridge.gateway import Gateway, Outgoing

IDENTITY = "mms"
"""Whatever part of the IEDs a process has: the broker lets it tell refusals under this name alone."""
STATUS_INTERVAL = 10.0
LAST_WORDS_SECONDS = 0.5
REST_SECONDS = 1.2
"""For what the ledger must hear at a stop; both together end before run.STOP_AGAIN."""


async def publish_outbox(gateway: Gateway, client: aiomqtt.Client, mqtt: MqttSettings) -> None:
    """Publish the gateway's messages, for ever; MqttError when the connection breaks."""
    while True:
        outgoing = await gateway.outbox.get()
        if not isinstance(outgoing, Refusal) and not gateway.control.wants(*outgoing):
            if isinstance(outgoing, Repeat):
                continue  # a newer block holds
            outgoing = _unsent(*outgoing, "expired before the broker took it")
        try:
            await _publish_outgoing(client, mqtt, outgoing)
        except (MqttError, asyncio.CancelledError):  # cancelled when another task has met the error first
            if isinstance(outgoing, Repeat):
                raise  # settle() publishes it again
            if not isinstance(outgoing, Refusal):  # never sent again: the meter may have it
                outgoing = _unsent(*outgoing, "the broker disconnected: it may have arrived or not")
            if outgoing.block is None or outgoing.block != gateway.fleet.meter(outgoing.meter_id).block:
                gateway.outbox.put_nowait(outgoing)  # settle() publishes a block again
            raise


async def tell_the_rest(gateway: Gateway, client: aiomqtt.Client, mqtt: MqttSettings) -> None:
    """At a clean stop: what was not sent, and what was refused, for the ledger."""
    with contextlib.suppress(MqttError, TimeoutError):
        async with asyncio.timeout(REST_SECONDS):
            while not gateway.outbox.empty():
                outgoing = gateway.outbox.get_nowait()
                if isinstance(outgoing, Repeat):
                    continue
                if not isinstance(outgoing, Refusal):
                    outgoing = _unsent(*outgoing, "the MMS bridge was stopped before it was sent")
                await _publish_outgoing(client, mqtt, outgoing)


def _unsent(meter_id: str, message: Command | Block, reason: str) -> Refusal:
    if isinstance(message, Block):
        return Refusal(meter_id=meter_id, block=message, reason=reason, ts=utc_now())
    return Refusal(meter_id=meter_id, command=message, reason=reason, ts=utc_now())


async def _publish_outgoing(client: aiomqtt.Client, mqtt: MqttSettings, outgoing: Outgoing) -> None:
    if isinstance(outgoing, Refusal):
        await client.publish(mqtt.topics.refused(IDENTITY), outgoing.payload(), qos=1)
        return
    meter_id, command = outgoing
    if isinstance(command, Block):
        await client.publish(mqtt.topics.meter(meter_id, "block"), command.payload(), qos=1, retain=True)
        return
    properties = expiring(mqtt, (command.expires_at - utc_now()).total_seconds())
    topic = mqtt.topics.meter(meter_id, "command")
    await client.publish(topic, command.payload(), qos=1, retain=False, properties=properties)


async def publish_status(gateway: Gateway, client: aiomqtt.Client, mqtt: MqttSettings, session: str) -> None:
    """Say every ten seconds that we are here, and what we have counted."""
    topic = mqtt.topics.service_status(gateway.name)
    while True:
        told = status(gateway, session, online=True)
        await client.publish(topic, told.payload(), qos=1, retain=True)
        await asyncio.sleep(STATUS_INTERVAL)


async def last_words(client: aiomqtt.Client, topic: str, message: Message) -> None:
    """Publish offline on a clean stop; if the connection is lost, the broker publishes the will."""
    with contextlib.suppress(MqttError):
        await client.publish(topic, message.payload(), qos=1, retain=True, timeout=LAST_WORDS_SECONDS)


def status(gateway: Gateway, session: str, *, online: bool) -> ServiceStatus:
    """Our status; also the last will."""
    counters = {
        **gateway.counters,
        **{f"commands_{name}": count for name, count in gateway.control.counters.items()},
        **{
            f"access_{name.replace(' ', '_')}": count
            for name, count in gateway.listeners.associations.counters.items()
        },
        "ieds": len(gateway.ieds),
        "associations": gateway.associations,
        "meters": len(gateway.fleet.meters),
        "meters_online": gateway.fleet.online,
    }
    return ServiceStatus(online=online, version=VERSION, session=session, ts=utc_now(), counters=counters)
