"""One zigbee2mqtt: its devices that measure a load, their states, and their relays.

The key is the IEEE address, which survives renaming. Values have the time of ``last_seen`` where it is set.
A retained state is old: it is no reading, and no position of the relay. The rule by which a device confirms
that it has switched is in `adapters.families.zigbee2mqtt.switching`.

>>> Bridge("zigbee2mqtt", limit=10).take("zigbee2mqtt/bridge/state", b"online", retained=True, now=0)
[]
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from adapters.families.zigbee2mqtt.devices import Device, described
from adapters.families.zigbee2mqtt.switching import Act, Wish
from adapters.family import Available, Finding, Gone, Outgoing, Refused, Step, Switched
from adapters.measured import UnreadableError, excerpt, loaded, loaded_object
from broker.contract.relay import Position

MAX_DEVICES_MESSAGE = 16 * 1024 * 1024
"""Octets of ``bridge/devices``."""
FOREIGN_SECONDS = 10.0
"""For so long after somebody else's ``/set`` a state may be an echo."""


class Bridge:
    """One zigbee2mqtt below ``base``, with at most ``limit`` meters."""

    def __init__(self, base: str, *, limit: int) -> None:
        self._base = base
        self.limit = limit
        self._devices: dict[str, Device] = {}
        """IEEE address → device."""
        self._names: dict[str, Device] = {}
        """Friendly name → device."""
        self._bridge: bool | None = None

    def __len__(self) -> int:
        return len(self._devices)

    def __contains__(self, key: object) -> bool:
        return key in self._devices

    def take(self, topic: str, payload: bytes, *, retained: bool, now: float) -> Sequence[Step]:
        """A message of the bridge or of a device."""
        name = topic[len(self._base) + 1 :]
        try:
            match name:
                case "bridge/devices":
                    return self._listed(payload)
                case "bridge/state":
                    self._bridge = _there(topic, payload)
                    return [step for device in self._devices.values() for step in self._availability(device)]
            if (device := self._names.get(name)) is not None:
                return self._state(device, topic, payload, retained=retained, now=now)
            return self._below(name, topic, payload, retained=retained, now=now)
        except UnreadableError as error:
            return [error.finding]

    def due(self, now: float) -> Sequence[Step]:
        """What became of the wishes to switch."""
        found: list[Step] = []
        for device in self._devices.values():
            if device.wish is not None and (act := device.wish.due(now)) is not None:
                found += self._act(device, device.wish, act)
        return found

    def switch(self, key: str, position: Position, *, token: str, now: float) -> Sequence[Step]:
        """``/set``; a :class:`Refused` for a device that cannot confirm it."""
        device = self._devices.get(key)
        relay = device.exposed.relay if device else None
        if device is None or relay is None or not relay.gettable:
            return [Refused(key, "the device has no relay whose position can be asked for", token)]
        device.wish = Wish(position, token=token, now=now)
        value = relay.on if position is Position.CLOSED else relay.off
        return [self._to(device, "set", {relay.property: value})]

    def ask(self, key: str, *, now: float) -> Sequence[Step]:
        """``/get`` for the relay's position."""
        device = self._devices.get(key)
        if device is None or device.exposed.relay is None or not device.exposed.relay.gettable:
            return ()
        return [self._get(device)]

    def _listed(self, payload: bytes) -> list[Step]:
        """The list of devices replaces the one before."""
        devices: dict[str, Device] = {}
        found: list[Step] = []
        for device in _devices(payload):
            if len(devices) >= self.limit:
                found.append(Finding("too many devices", f"bridge/devices: more than {self.limit} meters"))
                break
            devices[device.key] = device
        before, self._devices = self._devices, devices
        self._names = {device.name: device for device in devices.values()}
        for key, device in devices.items():
            device.inherit(before.get(key))
            if key not in before or before[key].point != device.point:
                found.append(device.point)
            found += self._availability(device)
        return [*(Gone(key) for key in before if key not in devices), *found]

    def _availability(self, device: Device) -> list[Step]:
        """What the bridge and the device's own topic make of it; nothing while neither has said anything."""
        said = [one for one in (self._bridge, device.available) if one is not None]
        if not said or device.online is all(said):
            return []
        device.online = all(said)
        return [Available(device.key, device.online)]

    def _below(self, name: str, topic: str, payload: bytes, *, retained: bool, now: float) -> list[Step]:
        """``<name>/availability``, and what others wish on ``<name>/set``."""
        head, _, last = name.rpartition("/")
        device = self._names.get(head)
        if last == "state" and head.endswith("/set"):
            device = self._names.get(head.removesuffix("/set"))
        elif device is None:
            return []
        elif last == "availability":
            if payload:  # an empty one: it was renamed, or availability was turned off
                device.available = _there(topic, payload)
            return self._availability(device)
        elif last != "set":
            if last in device.exposed.measures and not device.has_json:
                return [Finding("output is not JSON", f"{topic}: set advanced.output to json in zigbee2mqtt")]
            return []
        if device is not None and not retained:
            device.foreign_until = now + FOREIGN_SECONDS
        return []

    def _state(self, device: Device, topic: str, payload: bytes, *, retained: bool, now: float) -> list[Step]:
        if retained or not payload:
            return []
        told = loaded_object(topic, payload)
        device.has_json = True
        position = device.position_in(told)
        echo = False
        found: list[Step] = []
        if position is not None and (wish := device.wish) is not None:
            act = wish.heard(position, now=now)
            echo = act is Act.ECHO
            found = self._act(device, wish, act)
        elif position is not None:
            found = device.at(position, confirmed=now >= device.foreign_until)
        return [*device.measured(told, echo=echo), *found]

    def _act(self, device: Device, wish: Wish, act: Act) -> list[Step]:
        """What a message, or time, makes of a wish."""
        other = Position.OPEN if wish.position is Position.CLOSED else Position.CLOSED
        if act in (Act.DONE, Act.REFUTED, Act.OVER):
            device.wish = None
        match act:
            case Act.ECHO:
                return [Switched(device.key, wish.position, confirmed=False), self._get(device)]
            case Act.ASK:
                return [self._get(device)]
            case Act.DONE:
                return device.at(wish.position, confirmed=True, token=wish.token)
            case Act.REFUTED:
                return device.at(other, confirmed=True, token=wish.token)
        return []

    def _get(self, device: Device) -> Outgoing:
        assert device.exposed.relay is not None
        device.last = None  # the answer is reported also where nothing has changed
        return self._to(device, "get", {device.exposed.relay.property: ""})

    def _to(self, device: Device, verb: str, told: dict[str, Any]) -> Outgoing:
        topic = f"{self._base}/{device.name}/{verb}"
        return Outgoing(topic, json.dumps(told).encode(), qos=0)  # the broker keeps no wish for later


def _there(topic: str, payload: bytes) -> bool:
    """``{"state":"online"}``, or in 1.x the plain word; UnreadableError for another."""
    word: Any = payload.decode("utf-8", "replace")
    if payload.startswith(b"{"):
        word = loaded_object(topic, payload).get("state")
    if word not in ("online", "offline"):
        raise UnreadableError(
            "availability is not known", f"{topic}: {excerpt(word)} is not online or offline"
        )
    return bool(word == "online")


def _devices(payload: bytes) -> Iterator[Device]:
    """The devices in ``bridge/devices`` that measure a load; UnreadableError when it is no list."""
    told = loaded("bridge/devices", payload, limit=MAX_DEVICES_MESSAGE) if payload else []
    if not isinstance(told, list):
        raise UnreadableError("message is no list", f"bridge/devices: {excerpt(payload)}")
    return (device for one in told if (device := described(one)) is not None)
