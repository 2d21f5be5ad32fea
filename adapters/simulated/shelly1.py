"""Simulated Shellys of the first generation (DEVICES.md 1.2): a Plug S; each third is a 3EM, of three phases.

>>> plug = SimulatedShelly1(Household(seed=1, number=7), 1)
>>> [one.payload for one in plug.take("shellies/shellyplug-s-000001/relay/0/command", b"off", 1.8e9)][:1]
[b'off']
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from adapters.simulated.device import DeviceKind, Message, register
from adapters.simulated.supply import Supply
from meter_firmware.sensors.household import Household

ALL = "shellies/command"
"""Commands to every device."""
SHARES = (0.5, 0.3, 0.2)
"""Of the house's load, on the phases of a 3EM."""
WORDS = {b"on": True, b"off": False}


class SimulatedShelly1:
    """The device with this number; it retains nothing but that it is there."""

    def __init__(self, household: Household, number: int) -> None:
        self._supply = Supply(household)
        self._three = number % 3 == 0
        self._model = "SHEM-3" if self._three else "SHPLG-S"
        self.key = f"shellyem3-A0B0C1{number:06X}" if self._three else f"shellyplug-s-{number:06X}"
        self._base = f"shellies/{self.key}"

    @property
    def closed(self) -> bool:
        """Whether its relay is closed."""
        return self._supply.closed

    def will(self) -> Message:
        """Offline."""
        return Message(f"{self._base}/online", b"false", retain=True)

    def birth(self, t: float) -> Sequence[Message]:
        """That it is there, what it is, and all values."""
        return [Message(f"{self._base}/online", b"true", retain=True), *self._announced(), *self.messages(t)]

    def subscriptions(self) -> Sequence[str]:
        """Commands to all, to it, and to its relay."""
        return (ALL, f"{self._base}/command", f"{self._base}/relay/0/command")

    def messages(self, t: float) -> Sequence[Message]:
        """Each value on a topic of its own."""
        return [
            self._relay(),
            *(Message(f"{self._base}/{topic}", str(value).encode()) for topic, value in self._values(t)),
        ]

    def take(self, topic: str, payload: bytes, t: float) -> Sequence[Message]:
        """``announce`` and ``update``, or a position of the relay."""
        if topic != f"{self._base}/relay/0/command":
            return {b"announce": self._announced(), b"update": self.messages(t)}.get(payload, ())
        if payload not in WORDS:
            return []
        self._supply.switch(closed=WORDS[payload], t=t)
        return self.messages(t)

    def _relay(self) -> Message:
        return Message(f"{self._base}/relay/0", b"on" if self.closed else b"off")

    def _announced(self) -> Sequence[Message]:
        told = {"id": self.key, "model": self._model, "mac": self.key.rpartition("-")[2], "ip": "192.0.2.77"}
        payload = json.dumps(told | {"new_fw": False, "fw_ver": "20230913-114008/v1.14.0"}).encode()
        return [Message("shellies/announce", payload), Message(f"{self._base}/announce", payload)]

    def _values(self, t: float) -> Iterator[tuple[str, float]]:
        """A plug tells power, and energy in Watt-minutes; a 3EM tells each phase, with counters in Wh."""
        told = self._supply.measure(t)
        if not self._three:
            yield from {"relay/0/power": told["power"], "relay/0/energy": round(told["energy"] * 60)}.items()
            return
        for phase, share in enumerate(SHARES):
            below = f"emeter/{phase}"
            yield f"{below}/power", round(told["power"] * share, 2)
            yield f"{below}/voltage", told["voltage"]
            yield f"{below}/current", round(told["current"] * share, 3)
            yield f"{below}/pf", told["power_factor"]
            yield f"{below}/total", round(told["energy"] * share, 1)
            yield f"{below}/total_returned", 0.0


register(DeviceKind(family="shelly1", make=SimulatedShelly1))
