"""Shelly Gen2 and later (Plus, Pro, Mini, Gen3, Gen4) over their RPC on MQTT.

A device does not announce itself: a prefix with ``online``, ``status/…`` or ``events/rpc`` is asked for
``Shelly.GetDeviceInfo`` and ``Shelly.GetStatus``. Its answers go to ``<source>/rpc``. A relay is confirmed
by the answer with the request's own id, and by the status. Minutes that a three-phase meter or a clamp has
stored while its connection was down come as historical values.

>>> Shelly2(Shelly2Options()).subscriptions()
('+/online', '+/events/rpc', '+/status/+', 'meter61850-adapter/rpc')
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from adapters.families.registry import FamilyKind, register
from adapters.families.shelly2_device import ID, Device
from adapters.families.shelly2_history import Backfill, Counters, Filling
from adapters.families.shelly2_rpc import DeviceOptions, Request, Requests, Shelly2Options
from adapters.families.shelly2_status import METER_OF, component
from adapters.family import Finding, Outgoing, Refused, Step, Switched, Values
from adapters.known import MAX_DEVICES, Known, forgotten
from adapters.measured import UnreadableError, device_time, excerpt, inner, loaded_object, text
from broker.contract.relay import Position

ASK_AGAIN = 60.0
"""Seconds until a question is repeated."""
_JUST_NOW = 5.0
NOTIFIES = 120.0
"""Seconds for which a notification, which has a time, makes a status without a time a copy of it."""
MOVES_AFTER = 120.0
"""Seconds of silence at its prefix, after which a device may have another one."""
_LONGEST_TOPIC = 300
_LONGEST_STATUS = 32 * 1024
_WHAT = ("online", "events/rpc", "status/+")


class Shelly2:
    """The family; see `adapters.family.Family`."""

    name = "shelly2"

    def __init__(
        self, options: Shelly2Options, *, limit: int = MAX_DEVICES, first_id: int | None = None
    ) -> None:
        self._options = options
        self._devices: Known[Device] = Known(limit=limit)
        """By prefix."""
        self._asked: Known[float] = Known(limit=limit)
        """Prefix → when it was asked for its name."""
        self._prefixes: dict[str, str] = {}
        """MAC → prefix."""
        self._keys: dict[str, str] = {}
        """Key of a metering point → prefix."""
        self._requests = Requests(options.source, first_id=first_id)
        self._backfill = Backfill(limit=limit)

    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters."""
        own = [f"{prefix}/{what}" for prefix in self._options.prefixes for what in _WHAT]
        return (*(f"+/{what}" for what in _WHAT), *own, self._options.answers)

    def connected(self, now: float) -> Sequence[Step]:
        """Ask the devices that are known for their status: something may have been missed."""
        return [self._ask_status(device, now) for device in self._devices]

    def take(self, topic: str, payload: bytes, *, retained: bool, now: float) -> Sequence[Step]:
        """A message of a device."""
        if len(topic) > _LONGEST_TOPIC:
            return []
        try:
            return list(self._taken(topic, payload, retained=retained, now=now))
        except UnreadableError as error:
            return [error.finding]

    def _taken(self, topic: str, payload: bytes, *, retained: bool, now: float) -> Iterator[Step]:
        front, _, last = topic.rpartition("/")
        prefix, _, middle = front.rpartition("/")
        if last == "online":
            yield from self._availability(front, payload, retained=retained, now=now)
        elif retained:
            return  # of a time that nobody knows
        elif topic == self._options.answers:
            yield from self._answer(topic, payload, now)
        elif prefix and middle == "status" and component(last):
            told = loaded_object(topic, payload, limit=_LONGEST_STATUS)
            yield from self._status(prefix, last, told, now)
        elif prefix and (middle, last) == ("events", "rpc"):
            yield from self._notified(prefix, loaded_object(topic, payload, limit=_LONGEST_STATUS), now)

    def due(self, now: float) -> Sequence[Step]:
        """Requests without an answer; historical values, a few at a time."""
        steps: list[Step] = []
        for request in self._requests.overdue(now):
            if request.kind == "minutes":
                self._backfill.fail()
                steps.append(Finding("stored minutes were not answered", f"{request.prefix} is silent"))
        steps += self._backfill.ready()
        return steps + self._minutes(self._backfill.start(), now)

    def switch(self, key: str, position: Position, *, token: str, now: float) -> Sequence[Step]:
        """Switch.Set; the device answers with the request's id."""
        device, relay = self._relay(key)
        if device is None or relay is None:
            return [Refused(key, "the device has no relay that switches this metering point", token)]
        request = Request(device.prefix, "switch", now, key, token, position)
        return [self._requests.send(request, "Switch.Set", {"id": relay, "on": position is Position.CLOSED})]

    def ask(self, key: str, *, now: float) -> Sequence[Step]:
        """Ask for the status, with the positions of all relays."""
        device, _ = self._relay(key)
        return [self._ask_status(device, now)] if device else []

    def _relay(self, key: str) -> tuple[Device | None, int | None]:
        device = self._devices.get(self._keys.get(key, ""))
        name = device.of_key(key) if device else None
        return (device, device.relay(name)) if device and name else (None, None)

    def _availability(self, prefix: str, payload: bytes, *, retained: bool, now: float) -> Iterator[Step]:
        if payload not in (b"true", b"false") or not prefix:
            return  # of some other device
        device = self._devices.get(prefix) or (yield from self._met(prefix, prefix, now))
        if device is None:
            return
        device.heard = device.heard if retained else now
        yield from device.alive(payload == b"true")
        if payload == b"true" and not retained and now - device.asked > _JUST_NOW:
            yield self._ask_status(device, now)

    def _status(self, prefix: str, name: str, told: dict[str, Any], now: float) -> Iterator[Step]:
        device = self._devices.get(prefix) or (yield from self._met(prefix, prefix, now))
        if device is None:
            return
        copy = now - device.notified <= NOTIFIES
        steps = device.all({name: told}, now=now, at=None, full=True, silent=copy)
        yield from self._of(device, steps, now)

    def _notified(self, prefix: str, told: dict[str, Any], now: float) -> Iterator[Step]:
        method, params = told.get("method"), inner(told, "params")
        if method not in ("NotifyStatus", "NotifyFullStatus"):
            return
        device = self._devices.get(prefix) or (yield from self._met(prefix, text(told.get("src")), now))
        if device is None:
            return
        at = device_time(params.get("ts"))
        device.notified = now if at else device.notified
        yield from self._of(
            device, device.all(params, now=now, at=at, full=method == "NotifyFullStatus"), now
        )
        if at:
            self._count(device, params, at.timestamp())
        if device.incomplete() and now - device.asked > ASK_AGAIN:
            yield self._ask_status(device, now)

    def _count(self, device: Device, params: dict[str, Any], at: float) -> None:
        """Find the outages between counters."""
        for name in params:
            kind, place = component(name) or ("", 0)
            if kind not in METER_OF:
                continue
            meter = f"{METER_OF[kind]}:{place}"
            counters, of = (
                device.counters.setdefault(meter, Counters()),
                (METER_OF[kind], place, device.key(meter)),
            )
            hours = self._options.backfill_hours
            if gap := counters.told(at, device.registers(meter), of=of, most_hours=hours):
                self._backfill.add(device.prefix, gap)

    def _of(self, device: Device, steps: Iterator[Step], now: float) -> Iterator[Step]:
        """The steps of a device that is there; its new metering points become known."""
        device.heard = now
        yield from device.alive(True)
        for step in steps:
            if isinstance(step, Values) and (left := self._devices.prove(device.prefix)):
                yield self._forget(*left)
            yield step
        self._keys |= {point.key: device.prefix for point in device.points.values()}

    def _met(self, prefix: str, own: str, now: float) -> Generator[Step, None, Device | None]:
        """A prefix that is not known: a device if ``own`` is a device id; it is asked who it is."""
        if not ID.match(own):
            before = self._asked.get(prefix)
            if before is None or now - before > ASK_AGAIN:
                if left := self._asked.put(prefix, now):
                    yield forgotten(left[0])
                yield self._requests.send(Request(prefix, "info", now), "Shelly.GetDeviceInfo")
            return None
        options = self._options.devices.get(own, DeviceOptions())
        device = Device(prefix, own, options.relays)
        if there := self._devices.get(self._prefixes.get(device.mac, "")):
            if there.online is not False and now - there.heard <= MOVES_AFTER:
                detail = f"{own} at {prefix!r}: a device with its MAC is at {there.prefix!r}"
                yield Finding("two devices have one MAC", detail)
                return None
            self._devices.pop(there.prefix)
            self._unlist(there)
        self._prefixes[device.mac] = prefix
        if displaced := self._devices.put(prefix, device):
            yield self._forget(*displaced)
        yield self._requests.send(Request(prefix, "info", now), "Shelly.GetDeviceInfo")
        yield self._ask_status(device, now)
        return device

    def _ask_status(self, device: Device, now: float) -> Outgoing:
        device.asked = now
        return self._requests.send(Request(device.prefix, "status", now), "Shelly.GetStatus")

    def _forget(self, prefix: str, device: Device) -> Finding:
        self._unlist(device)
        return forgotten(prefix)

    def _unlist(self, device: Device) -> None:
        self._prefixes.pop(device.mac, None)
        for point in device.points.values():
            self._keys.pop(point.key, None)

    def _answer(self, topic: str, payload: bytes, now: float) -> Iterator[Step]:
        told = loaded_object(topic, payload)
        request = self._requests.answered(told.get("id"))
        if request is None:
            yield Finding("answer to no request", f"{topic}: id {excerpt(told.get('id'))}")
            return
        src, result = text(told.get("src")), told.get("result")
        device = self._devices.get(request.prefix)
        if device is None and request.kind == "info" and isinstance(result, dict):
            device = yield from self._met(request.prefix, src, now)
        if device is None or src != device.id:
            yield Finding("answer of another device", f"{request.prefix}: {excerpt(src)}")
            return
        if isinstance(result, dict):
            yield from self._of(device, self._result(request, device, result, now), now)
        else:
            yield self._error(request, inner(told, "error"))

    def _result(self, request: Request, device: Device, result: dict[str, Any], now: float) -> Iterator[Step]:
        if request.kind == "switch":
            yield Switched(request.key, request.position, token=request.token)
        elif request.kind == "info":
            yield from device.informed(result)
        elif request.kind == "status":
            yield from device.all(result, now=now, at=None, full=True)
        else:
            yield from self._minutes(self._backfill.take(result), now)

    def _error(self, request: Request, error: dict[str, Any]) -> Step:
        reason = f"{text(error.get('message'), otherwise='no reason')} (code {excerpt(error.get('code'))})"
        if request.kind == "switch":
            return Refused(request.key, reason, request.token)
        if request.kind == "minutes":
            self._backfill.fail()
        return Finding("request was refused", f"{request.prefix}: {request.kind}: {reason}")

    def _minutes(self, wanted: tuple[str, Filling] | None, now: float) -> list[Step]:
        if wanted is None:
            return []
        prefix, filling = wanted
        return [self._requests.send(Request(prefix, "minutes", now), *filling.request)]


register(FamilyKind("shelly2", "Shelly Gen2, Gen3 and Gen4 (Plus, Pro, Mini)", Shelly2Options, Shelly2))
