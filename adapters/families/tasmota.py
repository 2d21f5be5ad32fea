"""Tasmota, by its own discovery (SetOption19 0) or by a topic that adapters.toml names.

A device is one metering point, whose key is its MAC; a device with one energy channel for each relay is one
metering point for each channel (``MAC.1``). A relay is confirmed by the device's own ``stat/…/RESULT``,
``stat/…/POWER`` or ``tele/…/STATE``. A retained SENSOR or POWER is old and is left aside.

>>> tasmota = Tasmota(TasmotaOptions())
>>> tasmota.subscriptions()
('tasmota/discovery/+/+', 'tele/+/+', 'stat/+/+')
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from adapters.families.registry import FamilyKind, register
from adapters.families.tasmota_device import Device
from adapters.families.tasmota_messages import CMND, STAT, TELE, Config, TasmotaOptions, config, relay_of
from adapters.family import Finding, Gone, Outgoing, Refused, Step, Values
from adapters.known import MAX_DEVICES, Known, forgotten
from adapters.measured import UnreadableError, inner, loaded, loaded_object
from broker.contract.relay import Position

_LONGEST_TOPIC = 300
_LONGEST_DISCOVERY = 8192
_EARLY = 500


class Tasmota:
    """The family; see `adapters.family.Family`."""

    name = "tasmota"

    def __init__(self, options: TasmotaOptions, *, limit: int = MAX_DEVICES) -> None:
        self._options = options
        self._devices: Known[Device] = Known(limit=limit)
        self._bases: dict[str, tuple[str, int]] = {}
        """Beginning of a topic → key of the device, place of the prefix."""
        self._early: Known[bytes] = Known(limit=limit)
        """Last wills that came before the device's config, by topic."""
        self._sensors: Known[bytes] = Known(limit=min(limit, _EARLY))
        """Sensors messages that came before the device's config, by MAC."""
        self._filters: tuple[str, ...] | None = None
        for topic, chosen in options.devices.items():
            if not chosen.discovery:
                self._add(Device(topic, Config(mac="0" * 12, t=topic, dn=topic), chosen))
                self._devices.prove(topic)

    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters; more than at first when a device with topics of its own has announced itself."""
        if self._filters is None:
            devices = (device for device in self._devices if not device.about.standard)
            own = {f"{device.about.base(place)}+" for device in devices for place in (STAT, TELE)}
            found = f"{self._options.discovery_prefix}/+/+"
            self._filters = (found, *self._options.filters, *sorted(own))
        return self._filters

    def connected(self, now: float) -> Sequence[Step]:
        """Nothing: discovery messages are retained."""
        return ()

    def due(self, now: float) -> Sequence[Step]:
        """Nothing: a message of Tasmota is complete."""
        return ()

    def take(self, topic: str, payload: bytes, *, retained: bool, now: float) -> Sequence[Step]:
        """A message of a device."""
        try:
            prefix = f"{self._options.discovery_prefix}/"
            if topic.startswith(prefix):
                return list(self._discovered(topic, topic.removeprefix(prefix), payload))
            base, _, last = topic.rpartition("/")
            key, place = self._bases.get(f"{base}/", ("", CMND))
            device = self._devices.get(key) if key else None
            if device is None:
                return self._unknown(topic, last, payload)
            return list(self._message(device, topic, place, last, payload, retained=retained))
        except UnreadableError as error:
            return [error.finding]

    def switch(self, key: str, position: Position, *, token: str, now: float) -> Sequence[Step]:
        """The command; Tasmota answers with the new state, without an id.

        Quality of service 0: the broker must not keep it for a device that is away.
        """
        found = self._relay(key)
        if found is None:
            return [Refused(key, "the device has no relay that switches this metering point", token)]
        device, relay = found
        return [Outgoing(device.about.command(relay), device.about.word(position).encode(), qos=0)]

    def ask(self, key: str, *, now: float) -> Sequence[Step]:
        """Ask for the state, which names all relays."""
        found = self._relay(key)
        return [Outgoing(f"{found[0].about.base(CMND)}State", b"", qos=0)] if found else []

    def _relay(self, key: str) -> tuple[Device, int] | None:
        """Device and place of the relay of a metering point."""
        device = self._devices.get(key) or self._devices.get(key.rpartition(".")[0])
        if device is None or key not in device.points:
            return None
        relay = device.relay(key)
        return None if relay is None else (device, relay)

    def _unknown(self, topic: str, last: str, payload: bytes) -> list[Step]:
        """A last will may come before the config; the rest of a device without a config is not read."""
        early = last == "LWT" and len(topic) <= _LONGEST_TOPIC
        left = self._early.put(topic, payload[:100]) if early else None
        return [forgotten(left[0])] if left else []

    def _discovered(self, topic: str, below: str, payload: bytes) -> Iterable[Step]:
        mac, _, kind = below.partition("/")
        if kind == "config" and not payload:
            yield from self._withdrawn(mac)
        elif kind == "config":
            told = loaded_object(topic, payload, limit=_LONGEST_DISCOVERY)
            yield from self._announced(config(topic, told, mac=mac))
        elif kind == "sensors" and payload:
            sensors = inner(loaded_object(topic, payload, limit=_LONGEST_DISCOVERY), "sn")
            if device := self._devices.get(mac):
                yield from device.learn(sensors)
            elif left := self._sensors.put(mac, payload):
                yield forgotten(left[0])

    def _withdrawn(self, mac: str) -> Iterable[Step]:
        if device := self._devices.pop(mac):
            self._drop(device)
            yield from (Gone(key) for key in device.points)

    def _announced(self, about: Config) -> Iterable[Step]:
        if (listed := self._options.devices.get(about.t)) and not listed.discovery:
            return
        mine = (about.mac, TELE)
        others = {self._bases.get(about.base(place), mine)[0] for place in (STAT, TELE)} - {about.mac}
        if others:
            detail = f"{about.t!r} is of {others.pop()}; {about.mac} is not taken"
            yield Finding("two devices have one topic", detail)
            return
        device = self._devices.get(about.mac)
        if device is None:
            device = Device(about.mac, about, self._options.of(about))
        else:
            self._drop(device)
            if device.points and device.about.base(CMND) != about.base(CMND):
                detail = f"{about.mac}: {about.base(CMND)!r}, was {device.about.base(CMND)!r}"
                yield Finding("topics of a device have changed", detail)
            device.about, device.options = about, self._options.of(about)
        yield from self._add(device)
        announced = self._sensors.pop(about.mac)
        yield from device.learn(inner(loaded_object("sensors", announced), "sn") if announced else {})
        will = self._early.pop(f"{about.base(TELE)}LWT")
        if will is not None:
            yield from device.alive(will)

    def _add(self, device: Device) -> list[Step]:
        self._filters = None
        left = self._devices.put(device.key, device)
        self._bases |= {device.about.base(place): (device.key, place) for place in (STAT, TELE)}
        if left is None:
            return []
        self._drop(left[1])
        return [forgotten(left[0])]

    def _drop(self, device: Device) -> None:
        self._filters = None
        for place in (STAT, TELE):
            if self._bases.get(device.about.base(place), ("",))[0] == device.key:
                del self._bases[device.about.base(place)]

    def _message(
        self, device: Device, topic: str, place: int, last: str, payload: bytes, *, retained: bool
    ) -> Iterable[Step]:
        if place == TELE and last == "LWT":
            yield from device.alive(payload)
        elif retained:
            return  # of a time that nobody knows
        elif place == TELE and last == "SENSOR":
            yield from self._measured(device, loaded_object(topic, payload))
        elif place == STAT and last in ("STATUS10", "STATUS8"):
            yield from self._measured(device, inner(loaded_object(topic, payload), "StatusSNS"))
        elif place == STAT and last == "STATUS11":
            yield from device.state(inner(loaded_object(topic, payload), "StatusSTS"))
        elif last in ("STATE", "RESULT"):
            told = loaded(topic, payload)
            yield from device.state(told if isinstance(told, dict) else {})
        elif place == STAT and relay_of(last) is not None:
            plain = payload[:100].decode(errors="replace")
            told = loaded_object(topic, payload) if plain.startswith("{") else {last: plain}
            yield from device.state(told)

    def _measured(self, device: Device, sensor: dict[str, Any]) -> Iterable[Step]:
        for step in device.measured(sensor):
            if isinstance(step, Values) and (left := self._devices.prove(device.key)):
                self._drop(left[1])
                yield forgotten(left[0])
            yield step


register(FamilyKind("tasmota", "Tasmota", TasmotaOptions, Tasmota))
