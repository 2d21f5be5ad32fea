"""Shelly of the first generation: one value for each topic under ``shellies/<id>/``.

The values of a device are put together when none has come for 500 ms. Retained values are old: at each
connection all devices are asked to announce themselves and to send all values. A relay is confirmed by
its own topic.

>>> [step.payload for step in Shelly1(Shelly1Options()).connected(0.0)]
[b'announce', b'update']
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import Field

from adapters.families.registry import FamilyKind, Options, register
from adapters.families.shelly1_device import MOST, WANTED, Device, DeviceOptions
from adapters.family import Outgoing, Refused, Step, Values
from adapters.known import MAX_DEVICES, Known, forgotten
from adapters.measured import UnreadableError, loaded_object, text
from broker.contract.relay import Position

WINDOW = 0.5
"""Seconds without a further value, after which those that have come belong together."""
LONGEST_WINDOW = 2.0
"""Seconds after the first value."""
_LONGEST_ANNOUNCEMENT = 4096
ANNOUNCE = "shellies/announce"
_ID = re.compile(r"[0-9A-Za-z_.-]{1,64}\Z")
_PLACE = re.compile(r"\d{1,2}\Z", re.ASCII)
_BELOW = ("online", "announce", "voltage", "relay/+", "relay/+/+", "emeter/+/+", "emeter_n/+")


class Shelly1Options(Options):
    """Keys of an adapter for Shelly Gen1 in adapters.toml."""

    devices: dict[str, DeviceOptions] = Field(default_factory=dict)
    """By device id."""

    def shared(self) -> tuple[str, ...]:
        """All devices announce themselves here when they are asked to."""
        return (ANNOUNCE,)


class Shelly1:
    """The family; see `adapters.family.Family`."""

    name = "shelly1"

    def __init__(self, options: Shelly1Options, *, limit: int = MAX_DEVICES) -> None:
        self._options = options
        self._devices: Known[Device] = Known(limit=limit)
        self._waiting: dict[str, tuple[float, float]] = {}
        """Device id → when the first and the last value came that wait."""

    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters."""
        return (ANNOUNCE, *(f"shellies/+/{below}" for below in _BELOW))

    def connected(self, now: float) -> Sequence[Step]:
        """Ask all devices who they are, and for all their values."""
        return [Outgoing("shellies/command", command, qos=0) for command in (b"announce", b"update")]

    def take(self, topic: str, payload: bytes, *, retained: bool, now: float) -> Sequence[Step]:
        """A message of a device."""
        levels = topic.split("/")
        try:
            if levels[-1] == "announce" and len(levels) in (2, 3):
                return list(self._announced(topic, payload))
        except UnreadableError as error:
            return [error.finding]
        if len(levels) < 3 or levels[0] != "shellies" or not _ID.match(levels[1]):
            return []
        return list(self._told(levels[1], levels[2:], payload, retained=retained, now=now))

    def due(self, now: float) -> Sequence[Step]:
        """The values of devices that have sent all that they have now."""
        ready = [
            name
            for name, (first, last) in self._waiting.items()
            if now - last >= WINDOW or now - first >= LONGEST_WINDOW
        ]
        return [step for name in ready for step in self._assembled(name, now)]

    def switch(self, key: str, position: Position, *, token: str, now: float) -> Sequence[Step]:
        """The command; quality of service 0: the broker must not keep it for a device that is away."""
        device, relay = self._relay(key)
        if device is None or relay is None:
            return [Refused(key, "the device has no relay that switches this metering point", token)]
        word = b"on" if position is Position.CLOSED else b"off"
        return [Outgoing(f"shellies/{device.id}/relay/{relay}/command", word, qos=0)]

    def ask(self, key: str, *, now: float) -> Sequence[Step]:
        """Ask for all values, the relay's position among them."""
        device, _ = self._relay(key)
        return [Outgoing(f"shellies/{device.id}/command", b"update", qos=0)] if device else []

    def _relay(self, key: str) -> tuple[Device | None, int | None]:
        device = self._devices.get(key) or self._devices.get(key.rpartition(".")[0])
        return (device, device.relay(key)) if device and key in device.points else (None, None)

    def _announced(self, topic: str, payload: bytes) -> Iterator[Step]:
        told = loaded_object(topic, payload, limit=_LONGEST_ANNOUNCEMENT)
        name = text(told.get("id"))
        if not _ID.match(name):
            raise UnreadableError("announcement without an id", f"{topic}: {name!r}")
        if topic not in (ANNOUNCE, f"shellies/{name}/announce"):
            raise UnreadableError("announcement of another device", f"{topic}: {name!r}")
        yield from self._known(name)
        if device := self._devices.get(name):
            yield from device.announced(told)

    def _known(self, name: str) -> Iterator[Step]:
        """Remember the device."""
        if self._devices.get(name) is None:
            options = self._options.devices.get(name, DeviceOptions())
            if left := self._devices.put(name, Device(name, options)):
                yield self._forget(left[0])

    def _forget(self, name: str) -> Step:
        self._waiting.pop(name, None)
        return forgotten(name)

    def _told(
        self, name: str, below: list[str], payload: bytes, *, retained: bool, now: float
    ) -> Iterator[Step]:
        if below == ["online"]:
            if payload in (b"true", b"false"):
                yield from self._known(name)
                if device := self._devices.get(name):
                    yield from device.alive(payload == b"true")
            return
        place = _place(below)
        if retained or place is None:
            return  # old, or nothing that matters here
        yield from self._known(name)
        if not (device := self._devices.get(name)):
            return
        yield from device.alive(True)
        kind, number, what = place
        if (kind, what) == ("relay", ""):
            yield from device.switched(number, payload)
            return
        first, _ = self._waiting.get(name, (now, now))
        self._waiting[name] = (first, now)
        yield from device.value(kind, number, what, payload, now=now)

    def _assembled(self, name: str, now: float) -> Iterator[Step]:
        del self._waiting[name]
        device = self._devices.get(name)
        for step in device.assembled(now=now) if device else ():
            if isinstance(step, Values) and (left := self._devices.prove(name)):
                yield self._forget(left[0])
            yield step


def _place(below: list[str]) -> tuple[str, int, str] | None:
    """``emeter/2/power`` as kind, number and what; None for a topic that does not matter here."""
    if len(below) == 1:
        return ("", 0, below[0]) if below[0] in WANTED[""] else None
    kind, *rest = below
    if kind == "emeter_n":
        return (kind, 0, rest[0]) if len(rest) == 1 and rest[0] in WANTED[kind] else None
    if kind not in ("emeter", "relay") or not _PLACE.match(rest[0]) or int(rest[0]) >= MOST:
        return None
    if len(rest) == 1:
        return (kind, int(rest[0]), "") if kind == "relay" else None
    return (kind, int(rest[0]), rest[1]) if len(rest) == 2 and rest[1] in WANTED[kind] else None


register(FamilyKind("shelly1", "Shelly Gen1", Shelly1Options, Shelly1))
