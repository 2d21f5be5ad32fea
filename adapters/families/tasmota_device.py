"""A Tasmota device: its metering points, and what its messages say of them.

An array is one number for each phase, except where the device has as many relays as numbers, or more than
three numbers: there each is a channel, and a metering point of its own.

>>> plug = Device("A0B0C0A1B2C3", Config(mac="A0B0C0A1B2C3", t="tasmota_A1B2C3", rl=(1,)), DeviceOptions())
>>> list(plug.state({"POWER": "OFF"}))
[]
>>> [told.quantities for told in plug.learn({"ENERGY": {"Power": 212, "Total": 41.2}})]
[('power', 'energy')]
>>> [step.position.value for step in plug.state({"POWER": "OFF"})]
['open']
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from adapters.families.tasmota_energy import channels, energy, exports, mapped, width
from adapters.families.tasmota_messages import Config, DeviceOptions, relay_of
from adapters.family import Available, Finding, Point, Step, Switched
from adapters.measured import Gathered, device_time, excerpt, in_order, inner

_MOST_CHANNELS = 8


@dataclass
class Device:
    """What is remembered of a device."""

    key: str
    about: Config
    options: DeviceOptions
    channels: int = 0
    """0: its arrays are phases, or it has none."""
    two_way: bool = False
    reactive: bool = False
    """Whether it has told a ReactivePower."""
    online: bool | None = None
    measures: dict[str, set[str]] = field(default_factory=dict)
    """By metering point."""
    points: dict[str, Point] = field(default_factory=dict)
    """The metering points as they were last told."""

    def relay(self, key: str) -> int | None:
        """The place of the relay that switches a metering point; None if there is no such one."""
        relays = self.about.relays
        if self.channels:
            return relays[int(key.rpartition(".")[2]) - 1] if len(relays) == self.channels else None
        if self.options.relay is not None:
            return self.options.relay - 1
        return relays[0] if len(relays) == 1 else None

    def alive(self, will: bytes) -> Iterable[Step]:
        """Its last will, or its word for being there."""
        word = will[:100].decode(errors="replace")
        if word not in (self.about.onln, self.about.ofln):
            known = f"{self.about.onln!r} nor {self.about.ofln!r}"
            yield Finding("word is not known", f"LWT of {self.key}: {word!r} is neither {known}")
            return
        self.online = word == self.about.onln
        yield from (Available(key, self.online) for key in self.points)

    def state(self, told: dict[str, Any]) -> Iterable[Step]:
        """Where its relays are: ``POWER``, ``POWER1`` and so on of an answer or of STATE."""
        for name, word in told.items():
            place = relay_of(name)
            if place is None:
                continue
            for key in self.points:
                if self.relay(key) != place:
                    continue
                position = self.about.position(word)
                if position is None:
                    yield Finding("word is not known", f"{name} of {self.key}: {excerpt(word)}")
                else:
                    yield Switched(key, position)

    def measured(self, sensor: dict[str, Any]) -> Iterable[Step]:
        """A SENSOR payload: the metering points if there is news of them, and their values."""
        at, found = device_time(sensor.get("Time")), self._gathered(sensor)
        yield from self._news(found)
        for key, gathered in found.items():
            yield from gathered.steps(key, at=at, where=f"SENSOR of {self.key}")

    def learn(self, sensor: dict[str, Any]) -> Iterable[Step]:
        """A SENSOR payload as an example of what it measures: its values are of an earlier time."""
        yield from self._news(self._gathered(sensor))

    def _gathered(self, sensor: dict[str, Any]) -> dict[str, Gathered]:
        told = inner(sensor, "ENERGY")
        self.two_way |= exports(told)
        self.reactive |= told.get("ReactivePower") is not None
        self._count_channels(width(told))
        parts = channels(told, self.channels) if self.channels else [told]
        keys = [f"{self.key}.{number}" for number in range(1, self.channels + 1)] or [self.key]
        signed = self.options.signed_reactive
        found = {
            key: energy(part, two_way=self.two_way, signed_reactive=signed)
            for key, part in zip(keys, parts, strict=True)
        }
        mapped(found[keys[0]], sensor, self.options.map)
        return found

    def _count_channels(self, count: int) -> None:
        relays = len(self.about.relays)
        if self.channels or count == 1 or self.options.arrays == "phases":
            return
        if self.measures and self.options.arrays is None:
            return  # it has been judged
        if self.options.arrays == "channels" or count == relays or count > 3:
            self.channels = min(count, _MOST_CHANNELS)

    def _news(self, found: dict[str, Gathered]) -> Iterable[Step]:
        """The metering points that have become known, or have changed."""
        for key, gathered in found.items():
            known = self.measures.setdefault(key, set()) if gathered.measured else self.measures.get(key)
            if known is None:
                continue
            known.update(gathered.measured)
            if "energy_import" in known:
                known.discard("energy")
            point, before = self._point(key, in_order(known)), self.points.get(key)
            if point != before:
                self.points[key] = point
                yield point
            if before is None and self.online is not None:
                yield Available(key, self.online)

    def _point(self, key: str, quantities: tuple[str, ...]) -> Point:
        about, name = self.about, self.about.dn or self.about.t
        if self.channels:
            place = int(key.rpartition(".")[2]) - 1
            own = about.fn[place] if place < len(about.fn) else ""
            name = own or f"{name} {place + 1}"
        return Point(
            key=key,
            name=name,
            vendor="Tasmota",
            model=about.md,
            serial=about.mac if self.options.discovery else "",
            firmware=about.sw,
            quantities=quantities,
            switch=self.relay(key) is not None,
            doubts=tuple(self._doubts()),
        )

    def _doubts(self) -> Iterable[str]:
        relays = len(self.about.relays)
        if not self.options.discovery:
            yield "no discovery message: its topic is its identity, and two devices may have one topic"
        if self.reactive and not self.options.signed_reactive:
            yield "ReactivePower is left out: most chips give no sign; signed_reactive = true takes it"
        if self.channels and self.options.arrays is None:
            yield f"{self.channels} numbers are taken as channels, a meter each: arrays = 'phases' makes one"
        if not self.channels and relays > 1 and self.options.relay is None:
            yield f"{relays} relays and one energy: none of them is taken; relay = 1 chooses one"
