"""A short-lived MQTT client: what is retained now, and a command with its answer.

MQTT has no end mark for retained messages; but a broker handles a client's requests in order, so
when it has answered a second SUBSCRIBE it has sent what the first one asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt

from broker.contract.errors import UnavailableError, reason
from broker.mqtt.client import new_client
from broker.mqtt.identity import common_name
from broker.mqtt.settings import MqttSettings

NAME = "cli"
"""Our name in ``service/<name>/refused`` without identities."""
TIMEOUT = 10.0


def refused_topic(settings: MqttSettings, meter_id: str) -> str:
    """Topic for a command that we refused, for the ledger: our own name and this meter."""
    if settings.cert is None:
        return settings.topics.refused(NAME)
    return settings.topics.refused(common_name(settings.cert), meter_id)


@asynccontextmanager
async def connected(settings: MqttSettings) -> AsyncIterator[aiomqtt.Client]:
    """A client of the broker; UnavailableError when there is none, or when it goes away."""
    try:
        async with new_client(settings, timeout=TIMEOUT) as client:
            yield client
    except aiomqtt.MqttError as error:
        raise UnavailableError(
            f"broker {settings.host}:{settings.port}: {reason(error)}; start it (meter61850 broker run), "
            "or name another with --mqtt HOST:PORT"
        ) from error


async def speaking(settings: MqttSettings) -> MqttSettings:
    """``settings`` with the protocol level that the broker knows: 5, else 3.1.1."""
    if "version" in settings.model_fields_set:
        return settings
    older = settings.model_copy(update={"version": 4})
    try:
        async with connected(settings):
            return settings
    except UnavailableError:
        async with connected(older):
            return older


async def retained(client: aiomqtt.Client, *filters: str, barrier: str) -> dict[str, bytes]:
    """What is retained below ``filters``, by topic; ``barrier`` is a topic where nothing is retained."""
    await client.subscribe([(topic, 0) for topic in filters])
    await client.subscribe(barrier, qos=0)
    found: dict[str, bytes] = {}
    for _ in range(len(client.messages)):
        message = await anext(client.messages)
        if message.retain and isinstance(message.payload, bytes):
            found[message.topic.value] = message.payload
    await client.unsubscribe([*filters, barrier])
    return found
