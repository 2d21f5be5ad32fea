"""Present state: every meter according to the retained topics, each encoded once when it changes.

The rules of online, stale and offline are those of every reader (``broker.contract.fleet``).

>>> live = Live(Topics(), Hub())
>>> live.take("sm/v1/3f2504e0-4f89-41d3-9a0c-0305e82c3301/birth", birth, retained=True)  # doctest: +SKIP
>>> live.documents()                                                                    # doctest: +SKIP
[b'{"meter_id":"3f2504e0-…","name":"House 7","state":"online",…}']
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from pydantic import ValidationError

from broker.contract.alarms import Alarms
from broker.contract.compressed import unpacked
from broker.contract.fleet import STALE_INTERVALS, Fleet, MeterState, State
from broker.contract.known import Known
from broker.contract.messages import Message, format_ts, utc_now
from broker.contract.names import by_name
from broker.contract.quantities import QUANTITIES
from broker.contract.reading import Stored
from broker.contract.result import Result
from broker.contract.roles import Role
from broker.contract.specs import STATE_KINDS, heard_by
from broker.contract.status import Revision
from broker.contract.topics import Handler, Topic, Topics
from broker.validation import first_complaint
from mms_bridge.datamodel.billing import billing_handlers
from web.live.alarms import alarm_handlers
from web.live.hub import Hub
from web.live.services import Services
from web.live.summary import Sum

log = logging.getLogger(__name__)

MAX_ROUTES = 200_000
Heard = Callable[[str, Message], None]
"""meter_id and message."""


class Live:
    """The latest state of meters, services and SCL; all in the event loop's thread."""

    def __init__(self, topics: Topics, hub: Hub, *, stale_intervals: float = STALE_INTERVALS) -> None:
        self.fleet = Fleet(stale_intervals)
        self.services = Services(hub, self.fleet)
        self.revision: Revision | None = None
        self.scd: bytes | None = None
        self.cids: dict[str, bytes] = {}
        self.ieds: dict[str, str] = {}  # meter_id → IED, from the registry (`web.archive`)
        self.devices: dict[str, str] = {}  # logical device, as SMGW001M17 → meter_id, from the registry
        self.alarms: dict[str, Alarms] = {}  # in force, by meter_id; the server's under an empty one
        self.version = 0
        """Counts every change of the meters' documents."""
        self.counters: Counter[str] = Counter()
        self.on_result: Heard = _ignore
        self.on_relay: Heard = _ignore
        self.on_stored: Heard = _ignore
        self.on_revision: Callable[[], None] = lambda: None
        self._topics = topics
        self._hub = hub
        self._routes: dict[str, Topic] = {}
        self._told: set[str] = set()
        self._encoded: dict[str, bytes] = {}
        self._order: list[str] | None = None
        self._summed = -1
        self.handlers: dict[str, Handler] = dict.fromkeys(STATE_KINDS, self._take_state) | {
            "reading": self._take_reading,
            "result": self._take_result,
            "stored": self._take_stored,
            "scd": self._take_scd,
            "revision": self._take_revision,
            **billing_handlers(self.fleet, of_meter=lambda _: None, of_server=lambda: None),
            "cid": self._take_cid,
            "service_status": self.services.take,
            **alarm_handlers(self.alarms, hub, refresh=self._again),
        }

    def filters(self, *, stored: bool) -> list[str]:
        """The subscriptions; ``stored`` comes for each batch and meter."""
        kinds = (kind for kind in heard_by(Role.WEB) if stored or kind != "stored")
        return [self._topics.filter(kind) for kind in kinds]

    def connected(self, up: bool) -> None:
        """The broker is there, or not: then nothing that we know is still true for sure."""
        if up == self.fleet.broker_up:
            return
        self.fleet.broker_up = up
        self.version += 1
        if not up:
            self.fleet.forget_statuses()
            self.services.known.clear()
        for meter in self.fleet.meters.values():
            self._refresh(meter)
        self._hub.tell("broker", orjson.dumps({"up": up}))

    def take(self, name: str, payload: bytes, *, retained: bool) -> None:
        """One message; a message outside the contract is counted, and logged once for each cause."""
        try:
            topic = self._routes.get(name) or self._route(name)
            self._dispatch(topic, payload, retained=retained)
        except ValueError as error:
            self.counters["rejected"] += 1
            kind = type(error).__name__
            if kind not in self._told:
                self._told.add(kind)
                what = first_complaint(error) if isinstance(error, ValidationError) else str(error)[:300]
                log.warning("rejected a message on %s: %s (logged once)", name[:128], what)

    def _route(self, name: str) -> Topic:
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        topic = self._routes[name] = self._topics.parse(name)
        return topic

    def _dispatch(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        self.counters["received"] += 1
        if handler := self.handlers.get(topic.kind):
            handler(topic, payload, retained=retained)

    def _take_result(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        self.on_result(topic.name, Result.model_validate_json(payload))

    def _take_stored(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        self.on_stored(topic.name, Stored.model_validate_json(payload))

    def _take_revision(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        if payload:
            self.revision = Revision.model_validate_json(payload)
            self._hub.tell("revision", payload)
            self.on_revision()

    def _take_scd(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        self.scd = unpacked(payload) or None

    def _take_cid(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        self.cids = {ied: cid for ied, cid in self.cids.items() if ied != topic.name}
        self.cids |= {topic.name: payload} if payload else {}

    def _take_reading(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        meter = self.fleet.meter(topic.name)
        if self.fleet.take_payload(meter, payload, now=time.monotonic(), retained=retained):
            self._refresh(meter)

    def _take_state(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        meter = self.fleet.meter(topic.name)
        before = meter.birth
        taken = self.fleet.take_state(
            meter, topic.kind, payload, now=utc_now(), retained=retained, monotonic=time.monotonic()
        )
        if (before and before.name) != (meter.birth and meter.birth.name):
            self._order = None
        if before and before.address_code != (meter.birth and meter.birth.address_code):
            told = orjson.dumps({"meter_id": meter.meter_id})
            code, left = before.address_code, meter.birth is not None
            self._hub.tell("gone", told, meter_id=meter.meter_id, address_code=code, left=left)
        if taken and topic.kind == "relay" and meter.relay is not None:
            self.on_relay(topic.name, meter.relay)
        self._refresh(meter)

    def assign(self, ieds: dict[str, str]) -> None:
        """The IED of each meter, from the registry."""
        before, self.ieds = self.ieds, ieds
        for meter_id, ied in ieds.items():
            if before.get(meter_id) != ied:
                self._again(meter_id)

    def _again(self, meter_id: str) -> None:
        if meter_id in self._encoded:
            self._refresh(self.fleet.meters[meter_id])

    def sweep(self) -> None:
        """Tell of meters that have become stale."""
        for meter in self.fleet.newly_stale(time.monotonic()):
            self._refresh(meter)

    def meter(self, meter_id: str) -> MeterState | None:
        """A meter in service; None without one."""
        meter = self.fleet.meters.get(meter_id)
        return meter if meter is not None and meter.birth is not None else None

    def known(self, meter_id: str) -> Known:
        """What a command is judged by, also of a meter that was never heard of."""
        return self.fleet.meters.get(meter_id) or Known(meter_id)

    def state(self, meter: MeterState) -> str:
        """online, stale or offline; a blocked meter is offline. Without the broker every meter is stale."""
        state = meter.state(broker_up=self.fleet.broker_up)
        return State.OFFLINE if state is State.WITHDRAWN else state

    def ordered(self) -> list[str]:
        """meter_ids of all in service, by name: House 2 before House 10."""
        if self._order is None:
            meters = self.fleet.meters.values()
            named = [(meter.birth.name, meter.meter_id) for meter in meters if meter.birth is not None]
            self._order = [meter_id for _, meter_id in sorted(named, key=lambda one: by_name(*one))]
        return self._order

    def documents(self, meter_ids: Iterable[str] | None = None) -> list[bytes]:
        """The latest of each of these meters, or of all, as JSON."""
        encoded = self._encoded
        return [
            encoded[one] for one in (self.ordered() if meter_ids is None else meter_ids) if one in encoded
        ]

    def document(self, meter: MeterState) -> dict[str, Any]:
        """The same of one meter, with unrounded times; an absent quantity is left out."""
        birth, reading, relay, block = meter.birth, meter.reading, meter.relay, meter.block
        assert birth is not None
        told: dict[str, Any] = {
            "meter_id": meter.meter_id,
            "name": birth.name,
            "address_code": birth.address_code,
            "ied": self.ieds.get(meter.meter_id),
            "state": self.state(meter),
            "interval": birth.interval,
        }
        if reading is not None:
            told["ts"] = format_ts(reading.ts)
            there = sorted(_PLACES.keys() & reading.model_fields_set, key=_PLACES.__getitem__)
            values = ((name, getattr(reading, name)) for name in there)
            told |= {name: value for name, value in values if value is not None}
            told |= {"other": reading.other} if reading.other else {}
            told |= {"clock_synchronized": False} if reading.clock_synchronized is False else {}
        if not birth.relay:
            told["has_relay"] = False
        elif relay is not None:
            told["relay"] = relay.position
            told["relay_ts"] = format_ts(relay.ts)
            told["relay_local"] = relay.local
        if block is not None and (block.open or block.close):
            told["blocked"] = block.words
        if alarms := self.alarms.get(meter.meter_id):
            told["alarms"] = sorted({alarm.kind for alarm in alarms.alarms})
        return told

    def summary(self) -> dict[str, Any]:
        """How many are in which state, how many are switched off, and W in total; the same by address
        code."""
        total, codes = Sum(), dict[str, Sum]()
        for meter in self.fleet.meters.values():
            if meter.birth is None:
                continue
            state = self.state(meter)
            total.add(meter, state)
            codes.setdefault(meter.birth.address_code, Sum()).add(meter, state)
        by_code = [{"address_code": code, **one.told()} for code, one in sorted(codes.items())]
        return {**total.told(), "broker": self.fleet.broker_up, "address_codes": by_code}

    def new_summary(self) -> dict[str, Any] | None:
        """The summary, if anything has changed since it was last asked for here."""
        if self._summed == self.version:
            return None
        self._summed = self.version
        return self.summary()

    def _refresh(self, meter: MeterState) -> None:
        """The document of ``meter`` may have changed: encode it, and send it to the listeners."""
        birth = meter.birth
        if birth is None:
            if self._encoded.pop(meter.meter_id, None) is not None:
                self.version += 1
            return
        encoded = b"%b" % orjson.dumps(self.document(meter))  # a copy: orjson's own take 4 kB each
        if self._encoded.get(meter.meter_id) != encoded:
            self.version += 1
            self._encoded[meter.meter_id] = encoded
            self._hub.tell("meter", encoded, meter_id=meter.meter_id, address_code=birth.address_code)


_PLACES = {name: place for place, name in enumerate((*QUANTITIES, "alarm"))}
"""What of a reading is shown, in this order."""


def _ignore(_meter_id: str, _message: Message) -> None:
    return None
