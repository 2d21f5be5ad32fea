"""The IEDs and the meters' births from the retained topics, followed while ``up`` runs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import aiomqtt

from admin import mqtt
from broker.contract.birth import Birth
from broker.contract.commands import parsed
from broker.contract.enrolment import Access
from broker.contract.errors import ContractError
from broker.mqtt.settings import MqttSettings
from scl_builder.read.cid import Cid, CidError, read_cid

log = logging.getLogger(__name__)
PAUSE = 0.5


class ChainWatch:
    """CIDs and births, always the latest."""

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self.cids: dict[str, Cid] = {}
        """IED name → its CID."""
        self.births: dict[str, Birth] = {}
        """meter_id → its birth."""
        self.blocked: set[str] = set()
        """meter_ids that the registrar keeps out."""

    def name(self, meter_id: str) -> str:
        """The meter's name; before its birth its id."""
        birth = self.births.get(meter_id)
        return birth.name if birth else meter_id

    async def run(self) -> None:
        """Follow for ever; a connection that breaks is made again."""
        topics = self._settings.topics
        while True:
            try:
                async with mqtt.connected(self._settings) as client:
                    kinds = ("cid", "birth", "access")
                    await client.subscribe([(topics.filter(kind), 0) for kind in kinds])
                    async for message in client.messages:
                        self._take(message)
            except OSError as error:  # UnavailableError is one
                log.warning("%s", error)
            await asyncio.sleep(PAUSE)

    def _take(self, message: aiomqtt.Message) -> None:
        payload = message.payload if isinstance(message.payload, bytes) else b""
        with suppress(ContractError, CidError):  # a stranger's topic or CID: the services count it
            topic = self._settings.topics.parse(message.topic.value)
            if topic.kind == "cid" and payload:
                self.cids[topic.name] = read_cid(payload)
            elif topic.kind == "cid":
                self.cids.pop(topic.name, None)
            elif topic.kind == "access":
                access = parsed(Access, payload)
                shut_out = access is not None and not access.allowed
                (self.blocked.add if shut_out else self.blocked.discard)(topic.name)
            elif birth := parsed(Birth, payload):
                self.births[topic.name] = birth
