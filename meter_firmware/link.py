"""The meter's end of MQTT: one session after another, for ever.

A session: last will (offline) → subscribe ``block``, ``command``, ``stored`` → retained birth, status,
relay → answers that are still owed → then side by side live readings, history, incoming messages
and housekeeping. A clean stop says offline itself. Every session has a fresh id, which its last will
carries (docs/topics.md), and begins clean: what matters is in the outbox, not in the broker.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

from aiomqtt import MqttError

from broker.contract.errors import reason
from broker.contract.status import Status
from broker.mqtt.backoff import Backoff
from broker.mqtt.settings import MqttSettings
from meter_firmware import clock
from meter_firmware.connection import MeterClient, NewClient, Wanted, usual_client
from meter_firmware.relay.age import Heartbeat
from meter_firmware.session import Parts, Session, heard

_log = logging.getLogger(__name__)

GOODBYE_SECONDS = 1.0
GOOD_SESSION_SECONDS = 5.0
"""A session that lived this long was a good one: the next attempt comes soon again."""


class Link:
    """Connects, serves, reconnects."""

    def __init__(self, mqtt: MqttSettings, parts: Parts, new_client: NewClient = usual_client) -> None:
        self._mqtt = mqtt
        self._parts = parts
        self._new_client = new_client
        self.announced = asyncio.Event()
        """Set when the first session has announced this meter."""

    async def run(self, stop: asyncio.Event) -> None:
        """Stay connected until ``stop``; then say offline."""
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            try:
                await self._session(stop)
            except (MqttError, OSError) as error:  # CredentialError, ClockError and StorageError are OSErrors
                where = f"{self._mqtt.host}:{self._mqtt.port}"
                self._parts.faults.tell(
                    "no connection to the broker", f"{where}: {reason(error)}{self._cure}"
                )
            if loop.time() - began >= GOOD_SESSION_SECONDS:
                backoff.reset()
            await clock.pause(stop, seconds=backoff.next())

    @property
    def _cure(self) -> str:
        """For a meter that nobody has let in."""
        if self._mqtt.ca is not None or self._mqtt.username is not None:
            return ""
        return " (not enrolled yet? meter61850 meter enrol --broker HOST --ca ca.crt --code CODE)"

    async def _session(self, stop: asyncio.Event) -> None:
        session_id = secrets.token_hex(8)
        Heartbeat.here()
        async with self._client(session_id) as client:
            session = Session(client, session_id, mqtt=self._mqtt, parts=self._parts)
            await session.announce()
            self.announced.set()
            _log.info("meter %s is online", self._parts.profile.meter_id)
            await session.serve(stop)
            client.timeout = GOODBYE_SECONDS
            await session.tell_status(online=False)

    def _client(self, session_id: str) -> MeterClient:
        mqtt, meter_id = self._mqtt, self._parts.profile.meter_id
        will = Status(online=False, session=session_id, ts=clock.now()).payload()
        kinds = heard(self._parts)
        topics = tuple(mqtt.topics.meter(meter_id, kind) for kind in kinds)
        return self._new_client(mqtt, Wanted(meter_id, will, topics))
