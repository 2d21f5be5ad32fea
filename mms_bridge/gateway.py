"""All IEDs and all meters: each message of the contract changes a state, a state changes data objects.

No MQTT here: :meth:`Gateway.take` is given a parsed topic and a payload, :attr:`Gateway.outbox` holds
what is to be published. ``mqtt/router.py`` and ``mqtt/publisher.py`` connect both to the broker.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable

from pydantic import ValidationError

from broker.contract.block import Block
from broker.contract.errors import ContractError, Meter61850Error
from broker.contract.fleet import Fleet, MeterState
from broker.contract.messages import utc_now
from broker.contract.notice import MeterNotice
from broker.contract.relay import Command
from broker.contract.result import Refusal, Result
from broker.contract.specs import STATE_KINDS
from broker.contract.status import Revision
from broker.contract.topics import Handler, Topic
from broker.validation import first_complaint
from mms_bridge.access.listeners import Listeners
from mms_bridge.alarms import alarm_handlers
from mms_bridge.beginning import Beginnings
from mms_bridge.clock import Clock
from mms_bridge.control.blocking import Blocks
from mms_bridge.control.service import Control
from mms_bridge.datamodel import mapping
from mms_bridge.datamodel.billing import billing_handlers
from mms_bridge.datamodel.spare import spare_values
from mms_bridge.datamodel.value import Key, Value
from mms_bridge.ied import Ied
from mms_bridge.libiec61850.capabilities import gather_seconds, wait_hook_installed
from mms_bridge.libiec61850.mms_server import BURST, Limits
from mms_bridge.settings import MmsSettings
from scl_builder.build.project import GATEWAY_INST
from scl_builder.read.cid import Device, read_cid

log = logging.getLogger(__name__)

BRIDGE = "bridge"  # how the names of bridges begin, among the services

RETRY_INTERVAL = 5.0
"""Seconds between attempts to listen on an endpoint that is taken."""

Outgoing = tuple[str, Command | Block] | Refusal
"""A command or block and the meter that it is for, or a refusal for the ledger."""


class Gateway:
    """Holds the fleet, the IEDs and the control path; lives in one event loop."""

    def __init__(self, settings: MmsSettings, *, identity: tuple[str, str, str]) -> None:
        self.name = settings.service
        self.counters: Counter[str] = Counter()
        self.ieds: dict[str, Ied] = {}
        self.outbox: asyncio.Queue[Outgoing] = asyncio.Queue()
        self.fleet = Fleet(stale_intervals=settings.stale_intervals)
        self.listeners = Listeners(settings)
        self._settings = settings
        self._identity = identity
        self._loop = asyncio.get_running_loop()
        self._cids: dict[str, bytes] = {}
        self.unserved: dict[str, bytes] = {}  # CIDs whose endpoint could not be had, tried again
        self._retry_at = 0.0
        self._ied_of: dict[str, Ied] = {}  # meter_id -> IED
        self._revision = 0
        self._dirty: set[Ied] = set()
        self._uncounted: set[Ied] = set()  # whose gateway device is to be written before the next reports
        self._told: set[str] = set()  # causes that were logged
        self.clock = Clock(settings.clock, changed=self._recount_all)
        self.wait_hook = wait_hook_installed(wanted=settings.wait_hook)
        self._gather = gather_seconds(wait_hook=self.wait_hook)
        self._limits = Limits(burst=BURST if self.wait_hook else 1, begin_at_once=settings.begin_at_once)
        self._beginnings = Beginnings(self._loop)
        self.wake = asyncio.Event()  # set when the next tick must not wait
        self.blocks = Blocks(self.fleet, self._publish)
        self.control = Control(
            self.fleet, self._publish, self.listeners.associations,
            limit=settings.operate_limit, clock=self._loop.time, wake=self.wake.set,
        )  # fmt: skip
        self.handlers: dict[str, Handler] = dict.fromkeys(STATE_KINDS, self._take_state) | {
            "reading": self._take_reading,
            "result": self._take_result,
            "notice": self._take_notice,
            "cid": self._take_cid,
            "revision": self._take_revision,
            "service_status": self._take_service,
            **alarm_handlers(self.fleet, of_meter=self._refresh, of_server=self._recount_all),
            **billing_handlers(self.fleet, of_meter=self._refresh, of_server=self._recount_all),
        }

    @property
    def associations(self) -> int:
        """Open MMS associations of all IEDs."""
        return sum(ied.associations for ied in self.ieds.values())

    def _publish(self, message: Outgoing) -> None:
        self.outbox.put_nowait(message)
        self.wake.set()

    def take(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        """Apply one message; what is not of the contract is counted and told once."""
        self.counters["received"] += 1
        try:
            if handler := self.handlers.get(topic.kind):
                handler(topic, payload, retained=retained)
        except (ContractError, ValidationError, ValueError) as error:
            self.reject(topic, error)
        except (Meter61850Error, OSError) as error:
            self.counters["errors"] += 1
            log.error("%s %s: %s", topic.kind, topic.name, error)

    def reject(self, topic: Topic | str, error: Exception) -> None:
        """Count a bad message (or one on a topic that is not ours) and log its cause once."""
        self.counters["rejected"] += 1
        kind = "unknown topic" if isinstance(topic, str) else topic.kind
        cause = f"{kind}: {type(error).__name__}"
        if cause not in self._told:
            self._told.add(cause)
            what = first_complaint(error) if isinstance(error, ValidationError) else str(error)[:500]
            log.warning("rejected a message on %s: %s (told once)", topic, what)

    def _take_result(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        self.control.take_result(topic.name, Result.model_validate_json(payload))

    def _take_notice(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        self.control.take_notice(topic.name, MeterNotice.model_validate_json(payload))

    def _take_service(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        if topic.name.startswith(BRIDGE) and self.fleet.take_bridge(topic.name, payload, retained=retained):
            self._recount_all()

    def _take_reading(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        meter = self.fleet.meter(topic.name)
        was_stale = meter.stale
        if not self.fleet.take_payload(meter, payload, now=self._loop.time(), retained=retained):
            return
        if was_stale != meter.stale:
            self._refresh(meter)
        else:
            self._write(meter, mapping.reading_values(meter, broker_up=self.fleet.broker_up))

    def _take_state(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        meter = self.fleet.meter(topic.name)
        if topic.kind == "block":
            self.blocks.take(meter, payload)
        else:
            monotonic = self._loop.time()
            self.fleet.take_state(
                meter, topic.kind, payload, now=utc_now(), retained=retained, monotonic=monotonic
            )
        self._refresh(meter, born=topic.kind == "birth")
        self.control.told(meter.meter_id)

    def _take_revision(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        if payload:
            self._revision = Revision.model_validate_json(payload).revision
        self._recount_all()

    def _take_cid(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        name = topic.name
        self.unserved.pop(name, None)
        if self._cids.get(name) == payload:
            return  # the broker told it again after a reconnect
        if self._settings.ieds is not None and name not in self._settings.ieds:
            return  # another process serves it
        self._cids.pop(name, None)  # until this one is served, the same again is news
        if not payload:
            self._close(name)
            return
        cid = read_cid(payload)
        if cid.ied != name:
            raise ContractError(f"the CID on topic {name} is of IED {cid.ied}")
        ied = self.ieds.get(name) or self._new_ied(name)
        try:
            news = ied.serve(cid)
        except OSError:  # UnavailableError is one; without a free file descriptor it is tried again, too
            self.unserved[name] = payload
            raise
        self._cids[name] = payload
        # those that left stay: older generations have them, and what ends them may come later than the CID
        self._ied_of.update((device.meter_id, ied) for device in cid.devices if device.meter_id)
        self._recount(ied)
        if news is not None:  # the generation stays
            for meter_id in news.owners.values():
                self._refresh(self.fleet.meter(meter_id))
            told = name, len(news.owners), len(news.texts)
            log.info("%s: %d meters have got spare logical devices, %d texts are new", *told)
            return
        self.counters["generations"] += 1
        where = ", ".join(f"{host}:{port}" for host, port in self.listeners.places(cid).values())
        log.info("%s serves %d logical devices on %s", name, len(cid.devices), where or "no port")

    def _new_ied(self, name: str) -> Ied:
        ied = self.ieds[name] = Ied(
            name, identity=self._identity, listeners=self.listeners, equip=self.control.equip,
            preset=lambda device: self._preset(ied, device), limits=self._limits,
            drain_seconds=self._settings.drain_seconds, beginnings=self._beginnings,
        )  # fmt: skip
        self.listeners.associations.ieds = len(self.ieds)
        return ied

    def _close(self, name: str) -> None:
        ied = self.ieds.pop(name, None)
        if ied is not None:
            ied.close()
            self.listeners.associations.ieds = len(self.ieds)
            self._dirty.discard(ied)
            self._uncounted.discard(ied)
            self._ied_of = {meter_id: its for meter_id, its in self._ied_of.items() if its is not ied}

    def _preset(self, ied: Ied, device: Device) -> Iterable[tuple[Key, Value]]:
        if device.inst == GATEWAY_INST:
            return self._gateway_values(ied)
        if not device.meter_id:
            return spare_values(now=self.clock.now())
        meter = self.fleet.meter(device.meter_id)
        return mapping.all_values(meter, broker_up=self.fleet.broker_up, now=self.clock.now())

    def _write(self, meter: MeterState, told: Iterable[tuple[Key, Value]]) -> None:
        ied = self._ied_of.get(meter.meter_id)
        if ied is None:
            return  # not in any CID yet: its state is kept, the generation that has it begins with it
        self.counters["updates"] += 1
        ied.write(meter.meter_id, told)
        self._mark(ied)

    def _mark(self, ied: Ied) -> None:
        """Send the reports of all that is written within a moment at once."""
        if not self._dirty:
            self._loop.call_later(self._gather, self._send_reports)
        self._dirty.add(ied)

    def _send_reports(self) -> None:
        dirty, self._dirty = self._dirty, set()
        uncounted, self._uncounted = self._uncounted, set()
        for ied in uncounted:
            ied.write(GATEWAY_INST, self._gateway_values(ied))
        for ied in dirty:
            ied.send_reports()

    def _refresh(self, meter: MeterState, *, born: bool = False) -> None:
        if (ied := self._ied_of.get(meter.meter_id)) is None:
            return  # not in any CID yet: its state is kept, the generation that has it begins with it
        values = mapping.newborn_values if born else mapping.all_values
        self._write(meter, values(meter, broker_up=self.fleet.broker_up, now=self.clock.now()))
        self._recount(ied)

    def _recount(self, ied: Ied) -> None:
        """Write its gateway's device, once for all that comes within a moment."""
        self._uncounted.add(ied)
        self._mark(ied)

    def _recount_all(self) -> None:
        for ied in self.ieds.values():
            self._recount(ied)

    def _gateway_values(self, ied: Ied) -> Iterable[tuple[Key, Value]]:
        meters = [self.fleet.meter(device.meter_id) for device in ied.devices if device.meter_id]
        return mapping.gateway_values(meters, self.fleet, revision=self._revision, now=self.clock.now())

    def set_broker(self, *, up: bool) -> None:
        """The broker came or went; without it no value is trusted."""
        if self.fleet.broker_up != up:
            self.fleet.broker_up = up
            for meter in self.fleet.meters.values():
                self._refresh(meter)

    def tick(self) -> None:
        """Periodic tasks of every IED, stale meters, forgotten commands, who may still be here."""
        self.listeners.access_files.look(self._loop.time())
        self.clock.look()
        for meter in self.fleet.newly_stale(self._loop.time()):
            self.counters["stale"] += 1
            self._refresh(meter)
        if self.unserved and self._loop.time() >= self._retry_at:
            self._retry_at = self._loop.time() + RETRY_INTERVAL
            for name, payload in list(self.unserved.items()):
                self.take(Topic("cid", name), payload, retained=True)
        for ied in self.ieds.values():
            ied.tick()
        self.control.expire()  # last: who can be told the end has been told it

    def tick_commands(self) -> None:
        """Periodic tasks of the IEDs whose clients wait for a command's end."""
        waiting = self.control.waiting
        for ied in {ied for meter_id in waiting if (ied := self._ied_of.get(meter_id)) is not None}:
            ied.tick()
        self.control.expire()

    def close(self) -> None:
        """Stop every server."""
        for name in list(self.ieds):
            self._close(name)
