"""A simulated Tasmota: a plug with a relay; each fourth is a meter of three phases without one.

>>> plug = SimulatedTasmota(Household(seed=1, number=7), 1)
>>> [message.topic for message in plug.take("cmnd/tasmota_000001/Power", b"OFF", 1.8e9)]
['stat/tasmota_000001/RESULT', 'stat/tasmota_000001/POWER']
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from adapters.simulated.device import DeviceKind, Message, register
from adapters.simulated.supply import Supply
from meter_firmware.sensors.household import Household

_WORDS = {"ON": True, "1": True, "OFF": False, "0": False}
SHARES = (0.5, 0.3, 0.2)
"""Of the house's load, on the phases of a three-phase meter."""


class SimulatedTasmota:
    """The device with this number; with ``offset`` its times have one (SetOption52 1)."""

    def __init__(self, household: Household, number: int, *, offset: bool = True) -> None:
        self.key = f"A0B0C0{number:06X}"
        self._name, self._offset = f"Kiosk {number}", offset
        self._topic = f"tasmota_{number:06X}"
        self._supply = Supply(household)
        self._three = number % 4 == 0

    @property
    def closed(self) -> bool:
        """Whether its relay is closed."""
        return self._supply.closed

    def birth(self, t: float) -> Sequence[Message]:
        """Discovery, and that it is there."""
        prefix = f"tasmota/discovery/{self.key}"
        return [
            Message(f"tele/{self._topic}/LWT", b"Online", retain=True),
            Message(f"{prefix}/config", _json(self._config()), retain=True),
            Message(f"{prefix}/sensors", _json({"sn": self._sensor(t), "ver": 1}), retain=True),
            *self.messages(t),
        ]

    def will(self) -> Message:
        """Offline."""
        return Message(f"tele/{self._topic}/LWT", b"Offline", retain=True)

    def subscriptions(self) -> Sequence[str]:
        """Commands for it."""
        return (f"cmnd/{self._topic}/+",)

    def messages(self, t: float) -> Sequence[Message]:
        """STATE and SENSOR."""
        return [
            Message(f"tele/{self._topic}/STATE", _json(self._state(t))),
            Message(f"tele/{self._topic}/SENSOR", _json(self._sensor(t))),
        ]

    def take(self, topic: str, payload: bytes, t: float) -> Sequence[Message]:
        """Power, State and Status 10."""
        command, word = topic.rpartition("/")[2].upper(), payload.decode(errors="replace").upper()
        if command in ("POWER", "POWER1") and not self._three:
            if word in _WORDS:
                self._supply.switch(closed=_WORDS[word], t=t)
            return [self._result(self._power), Message(f"stat/{self._topic}/POWER", self._word.encode())]
        if command == "STATE":
            return [self._result(self._state(t))]
        if (command, word) == ("STATUS", "10"):
            return [Message(f"stat/{self._topic}/STATUS10", _json({"StatusSNS": self._sensor(t)}))]
        return [self._result({"Command": "Unknown"})]

    @property
    def _word(self) -> str:
        return "ON" if self.closed else "OFF"

    @property
    def _power(self) -> dict[str, Any]:
        return {"POWER": self._word} if not self._three else {}

    def _result(self, told: dict[str, Any]) -> Message:
        return Message(f"stat/{self._topic}/RESULT", _json(told))

    def _time(self, t: float) -> str:
        at = datetime.fromtimestamp(int(t), UTC)
        return at.isoformat() if self._offset else at.replace(tzinfo=None).isoformat()

    def _state(self, t: float) -> dict[str, Any]:
        return {"Time": self._time(t), "UptimeSec": 1000, "MqttCount": 1} | self._power

    def _sensor(self, t: float) -> dict[str, Any]:
        """Tasmota has whole watts and volts, and energy in thousandths of a kWh."""
        told, shares = self._supply.measure(t), SHARES if self._three else (1.0,)
        volts, amperes = told["voltage"], told["current"]
        energy: dict[str, Any] = {
            "TotalStartTime": "2026-01-05T08:11:20",
            "Total": _one([round(told["energy"] * share / 1000, 3) for share in shares]),
            "Power": _one([round(told["power"] * share) for share in shares]),
            "ApparentPower": _one([round(volts * amperes * share) for share in shares]),
            "Factor": _one([round(told["power_factor"], 2) for _ in shares]),
            "Frequency": told["frequency"],
            "Voltage": _one([round(volts) for _ in shares]),
            "Current": _one([round(amperes * share, 3) for share in shares]),
        }
        return {"Time": self._time(t), "ENERGY": energy}

    def _config(self) -> dict[str, Any]:
        return {
            "ip": "192.0.2.41", "dn": self._name, "fn": [self._name] + [None] * 7, "hn": self._topic,
            "mac": self.key, "md": "Sonoff POW R3" if not self._three else "SDM630", "ty": 0, "if": 0,
            "ofln": "Offline", "onln": "Online", "state": ["OFF", "ON", "TOGGLE", "HOLD"], "sw": "15.0.1",
            "t": self._topic, "ft": "%prefix%/%topic%/", "tp": ["cmnd", "stat", "tele"],
            "rl": [int(not self._three)] + [0] * 31, "so": {"4": 0, "11": 0}, "lk": 0, "bat": 0, "ver": 1,
        }  # fmt: skip


def _one(phases: list[Any]) -> Any:
    """A number for one phase, an array for several."""
    return phases[0] if len(phases) == 1 else phases


def _json(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode()


register(DeviceKind(family="tasmota", make=SimulatedTasmota))
