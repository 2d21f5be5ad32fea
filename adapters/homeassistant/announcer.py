"""What is to be announced to Home Assistant now: a message for each meter in service, none for the others.

It hears births and what the registrar decides, and what it has announced itself in an earlier run: messages
of meters that are gone are removed. No socket and no clock.

>>> announcer = Announcer(Topics())
>>> announcer.take("homeassistant/status", b"online", retained=False)
>>> announcer.due()
[]
"""

from __future__ import annotations

import json
import logging
from collections import Counter

from pydantic import ValidationError

from adapters.family import Outgoing
from adapters.homeassistant.config import ORIGIN, PREFIX, config, object_id
from broker.contract.errors import ContractError
from broker.contract.known import Known
from broker.contract.messages import utc_now
from broker.contract.roles import DISCOVERY
from broker.contract.topics import Topics, checked_meter_id
from broker.validation import first_complaint

log = logging.getLogger(__name__)

HEARD = ("access", "birth")
"""Kinds of topics that we read: whether the registrar lets a meter in, and what it is."""


class Announcer:
    """The meters of ``topics``; ``switches``: their relays, too."""

    def __init__(self, topics: Topics, *, prefix: str = DISCOVERY, switches: bool = False) -> None:
        self._topics, self._prefix, self._switches = topics, prefix, switches
        self._meters: dict[str, Known] = {}
        self._changed: dict[str, None] = {}
        self._announced: dict[str, bytes] = {}
        """meter_id → what the broker has retained of it."""
        self.counters: Counter[str] = Counter()
        self._told: set[str] = set()

    @property
    def status_topic(self) -> str:
        """On which Home Assistant says that it has started."""
        return f"{self._prefix}/status"

    def subscriptions(self) -> tuple[str, ...]:
        """Our meters, and Home Assistant's word that it has started."""
        return (*(self._topics.filter(kind) for kind in HEARD), self.status_topic)

    @property
    def earlier(self) -> str:
        """The filter of what an earlier run has announced."""
        return f"{self._prefix}/device/+/config"

    def config_topic(self, meter_id: str) -> str:
        """Where a meter is announced."""
        return f"{self._prefix}/device/{object_id(meter_id)}/config"

    def take(self, name: str, payload: bytes, *, retained: bool) -> None:
        """A message; one that is not of the contract is counted, and logged once for each cause."""
        if name == self.status_topic:
            if payload == b"online":
                self.repeat()
            return
        if name.startswith(f"{self._prefix}/"):
            if retained:  # of an earlier run; a live one is ours, or of a second program like this one
                self._own(name.split("/")[-2], payload)
            return
        try:
            topic = self._topics.parse(name)
            if topic.kind in HEARD:
                known = self._meters.setdefault(topic.name, Known(topic.name))
                known.take(topic.kind, payload, live=not retained, now=utc_now())
                self._changed[topic.name] = None
        except (ContractError, ValidationError) as error:
            self._reject(name, error)

    def repeat(self) -> None:
        """Announce every meter again: Home Assistant has started."""
        self._announced = dict.fromkeys(self._announced, b"?")
        self._changed |= dict.fromkeys((*self._meters, *self._announced))

    def due(self) -> list[Outgoing]:
        """What is to be published now; :meth:`published` says that it was."""
        changed, self._changed = self._changed, {}
        found = []
        for meter_id in changed:
            wanted, before = self._wanted(meter_id), self._announced.get(meter_id, b"")
            if wanted != before:
                found.append(Outgoing(self.config_topic(meter_id), wanted, retain=True))
        return found

    def published(self, message: Outgoing) -> None:
        """The broker has it."""
        self._own(message.topic.split("/")[-2], message.payload)

    @property
    def count(self) -> int:
        """Meters that are announced."""
        return len(self._announced)

    def _wanted(self, meter_id: str) -> bytes:
        known = self._meters.get(meter_id)
        if known is None or known.birth is None or not known.in_service:
            return b""
        told = config(meter_id, known.birth, self._topics, switch=self._switches)
        return (
            json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
            if told["components"]
            else b""
        )

    def _own(self, name: str, payload: bytes) -> None:
        """What is retained of one of our meters now; others' devices are none of our business."""
        try:
            meter_id = checked_meter_id(name.removeprefix(PREFIX))
        except ContractError:
            return
        if not name.startswith(PREFIX) or (payload and not self._is_ours(meter_id, payload)):
            return
        if payload:
            self._announced[meter_id] = payload
        else:
            self._announced.pop(meter_id, None)
        self._changed[meter_id] = None

    def _is_ours(self, meter_id: str, payload: bytes) -> bool:
        """Of this prefix, and not of another installation on the same broker."""
        try:
            told = json.loads(payload)
            status = told["availability"][0]["topic"]
            return bool(told["origin"]["name"] == ORIGIN and status == self._topics.meter(meter_id, "status"))
        except (ValueError, TypeError, LookupError, RecursionError):
            return False

    def _reject(self, name: str, error: ContractError | ValidationError) -> None:
        self.counters["rejected"] += 1
        kind = type(error).__name__
        if kind not in self._told:
            self._told.add(kind)
            what = first_complaint(error) if isinstance(error, ValidationError) else str(error)[:300]
            log.warning("rejected a message on %s: %s (logged once)", name[:128], what)
