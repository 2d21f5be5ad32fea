"""``meter61850 homeassistant run``: one connection that hears our meters and announces them.

A broker handles the requests of a client in order. So when it has granted the last subscription, it has sent
what was retained before: only then we publish, and remove what an earlier run has announced in vain. The
first subscriptions are at QoS 0, so that no window of unacknowledged messages holds back what is retained.

>>> await serve(HomeAssistantSettings(), stop)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from time import time
from typing import Annotated

import aiomqtt
from aiomqtt import MqttError
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.homeassistant.announcer import Announcer
from broker.contract.errors import NotAuthorizedError, reason
from broker.contract.roles import DISCOVERY
from broker.mqtt.backoff import Backoff, heed_cancellation
from broker.mqtt.client import new_client
from broker.mqtt.jobs import end
from broker.mqtt.publishing import publish
from broker.mqtt.receiver import GOOD_CONNECTION
from broker.mqtt.settings import MqttSettings

log = logging.getLogger(__name__)

BARRIER = "barrier"
"""A topic below the discovery prefix on which nothing is retained."""
ACK_SECONDS = 10.0


class HomeAssistantSettings(BaseSettings):
    """Where the meters are, and what of them Home Assistant gets; ``METER61850_HOMEASSISTANT_*``."""

    model_config = SettingsConfigDict(env_prefix="METER61850_HOMEASSISTANT_", extra="forbid", frozen=True)

    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    discovery_prefix: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")] = DISCOVERY
    """``discovery_prefix`` of Home Assistant; a deployment's access list has ``homeassistant`` only."""
    switches: bool = False
    """Also announce the relays: everybody who may use Home Assistant can then cut a house off."""


@dataclass
class Progress:
    """How it stands, over all connections."""

    up: bool = False
    """Connected to the broker, and all that was retained is read."""
    announced: int = 0
    """Meters."""
    published: int = 0
    rejected: int = 0
    """Messages outside of the contract."""
    heard_at: float = 0.0
    """Time of the last message, in seconds since 1970; 0: none yet."""


async def serve(
    settings: HomeAssistantSettings, stop: asyncio.Event, *, progress: Progress | None = None
) -> None:
    """Until ``stop`` is set; NotAuthorizedError when the broker refuses what we publish.

    What is announced stays: the meters are there without us.
    """
    tasks = [
        asyncio.create_task(_keep_connected(settings, progress or Progress()), name="announce"),
        asyncio.create_task(stop.wait(), name="stop"),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(tasks)


async def _keep_connected(settings: HomeAssistantSettings, progress: Progress) -> None:
    """One connection after the other, exponential backoff with full jitter between them."""
    loop, backoff, mqtt = asyncio.get_running_loop(), Backoff(), settings.mqtt
    while True:
        started = loop.time()
        try:
            await _connection(settings, progress)
        except NotAuthorizedError:
            raise
        except (MqttError, OSError) as error:
            heed_cancellation()
            log.warning("broker %s:%d: %s", mqtt.host, mqtt.port, reason(error))
        finally:
            progress.up = False
        if loop.time() - started > GOOD_CONNECTION:
            backoff.reset()
        await asyncio.sleep(backoff.next())


async def _connection(settings: HomeAssistantSettings, progress: Progress) -> None:
    """Everything is learned anew: what the broker has retained is all that there is to know."""
    announcer = Announcer(settings.mqtt.topics, prefix=settings.discovery_prefix, switches=settings.switches)
    async with new_client(settings.mqtt) as client:
        barrier = f"{settings.discovery_prefix}/{BARRIER}"
        for topic in (*announcer.subscriptions(), announcer.earlier, barrier):
            await client.subscribe(topic, qos=0)
        for _ in range(len(client.messages)):
            _take(announcer, await anext(client.messages), progress)
        await client.unsubscribe([announcer.earlier, barrier])
        for topic in announcer.subscriptions():
            await client.subscribe(topic, qos=1)
        await _announce(client, announcer, progress)
        progress.up = True
        log.info("%d meters are announced to Home Assistant", announcer.count)
        async for message in client.messages:
            _take(announcer, message, progress)
            if not len(client.messages):
                await _announce(client, announcer, progress)


def _take(announcer: Announcer, message: aiomqtt.Message, progress: Progress) -> None:
    rejected = announcer.counters["rejected"]
    payload = message.payload if isinstance(message.payload, bytes) else b""
    announcer.take(message.topic.value, payload, retained=bool(message.retain))
    progress.heard_at = time()
    progress.rejected += announcer.counters["rejected"] - rejected


async def _announce(client: aiomqtt.Client, announcer: Announcer, progress: Progress) -> None:
    for message in announcer.due():
        await publish(client, message.topic, message.payload, retain=True, timeout=ACK_SECONDS)
        announcer.published(message)
        progress.published += 1
    progress.announced = announcer.count
