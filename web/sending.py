"""Publisher of the web: commands at once or never, refusals for the ledger when the broker is connected.

>>> sender = Sender(mqtt, counters=dict)                              # doctest: +SKIP
>>> await sender.publish(topic, command.payload(), expiry=5)          # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

import aiomqtt
from aiomqtt import MqttError

from broker.contract.errors import UnavailableError, reason
from broker.contract.messages import utc_now
from broker.contract.status import ServiceStatus
from broker.mqtt.backoff import Backoff, heed_cancellation
from broker.mqtt.client import new_client
from broker.mqtt.publishing import expiring, publish
from broker.mqtt.settings import MqttSettings
from broker.version import VERSION

log = logging.getLogger(__name__)

NAME = "web"
"""Our name in ``service/<name>/…``."""
STATUS_SECONDS = 10.0
ACK_SECONDS = 4.0
"""That the broker may take for a PUBACK; below the validity of a command."""
MAX_LATER = 1000
GOODBYE_SECONDS = 0.5


class Sender:
    """One connection after the other, with a last will for our status."""

    def __init__(self, mqtt: MqttSettings, *, counters: Callable[[], Mapping[str, int]]) -> None:
        self._mqtt = mqtt
        self._counters = counters
        self._client: aiomqtt.Client | None = None
        self._later: deque[tuple[str, bytes]] = deque(maxlen=MAX_LATER)
        self._wake = asyncio.Event()

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, expiry: int | None = None
    ) -> None:
        """Publish at QoS 1 and wait for the PUBACK; UnavailableError when there is no broker."""
        client = self._client
        if client is None:
            raise UnavailableError("the broker is away: try again when it is back")
        properties = expiring(self._mqtt, expiry) if expiry is not None else None
        try:
            await publish(client, topic, payload, retain=retain, properties=properties, timeout=ACK_SECONDS)
        except MqttError as error:
            raise UnavailableError(
                f"the broker disconnected during the publication: {reason(error)}"
            ) from error

    def tell_later(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1 as soon as there is a connection."""
        self._later.append((topic, payload))
        self._wake.set()

    async def run(self) -> None:
        """Be connected for ever; exponential backoff with full jitter between connections."""
        backoff = Backoff(cap=10.0)
        while True:
            try:
                await self._connection(backoff)
            except (MqttError, OSError) as error:  # CredentialError is an OSError
                log.warning("broker %s:%d: %s", self._mqtt.host, self._mqtt.port, reason(error))
            finally:
                self._client = None
            heed_cancellation()
            await asyncio.sleep(backoff.next())

    async def _connection(self, backoff: Backoff) -> None:
        session, mqtt = uuid.uuid4().hex, self._mqtt
        topic = mqtt.topics.service_status(NAME)
        will = aiomqtt.Will(topic, self._status(session, online=False), qos=1, retain=True)
        async with new_client(mqtt, will=will) as client:
            backoff.reset()
            self._client = client
            try:
                await self._talk(client, topic, session)
            except asyncio.CancelledError:
                with suppress(MqttError):
                    offline = self._status(session, online=False)
                    await client.publish(topic, offline, qos=1, retain=True, timeout=GOODBYE_SECONDS)
                raise

    async def _talk(self, client: aiomqtt.Client, topic: str, session: str) -> None:
        """Our status every ten seconds, and waiting refusals; MqttError when the connection breaks."""
        while True:
            await client.publish(topic, self._status(session, online=True), qos=1, retain=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(STATUS_SECONDS):
                    await self._tell_what_waits(client)

    async def _tell_what_waits(self, client: aiomqtt.Client) -> None:
        while True:
            self._wake.clear()
            while self._later:
                topic, payload = self._later[0]
                await client.publish(topic, payload, qos=1)
                self._later.popleft()
            await self._wake.wait()

    def _status(self, session: str, *, online: bool) -> bytes:
        status = ServiceStatus(
            online=online,
            version=VERSION,
            session=session,
            ts=utc_now(),
            counters=dict(self._counters()),
        )
        return status.payload()
