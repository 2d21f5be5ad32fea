"""A simulated zigbee2mqtt with one metering plug, as in ``zigbee2mqtt_plug.jsonl`` (DEVICES.md 1.5).

Each device of the simulation is a zigbee2mqtt of its own with one plug: its base topic has the number, and
``SOURCE`` is what an adapter needs to hear them all. It publishes the wished state at once, with the old
power, and reads the plug when ``/get`` asks for it. A ``stuck`` plug takes no command: the echo says that it
did, and its own answer says the old state.

>>> plug = Plug(Household(seed=1, number=7), 7)
>>> [message.payload for message in plug.take("zigbee2mqtt/7/house/plug/set", b'{"state":"OFF"}', 1.8e9)]
[b'{"state": "OFF", "linkquality": 112}']
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from adapters.simulated.device import DeviceKind, Message, register
from adapters.simulated.supply import Supply
from meter_firmware.sensors.household import Household

SOURCE = {"base_topic": "zigbee2mqtt/+"}
PLUG = "house/plug"
UNITS = {"power": "W", "current": "A", "voltage": "V", "energy": "kWh"}
STATES = {True: "ON", False: "OFF"}


class Plug:
    """The bridge with this number and its plug; ``household`` is its load."""

    def __init__(self, household: Household, number: int, *, stuck: bool = False) -> None:
        self.key = f"0x00124b{number:010x}"
        self.base = f"zigbee2mqtt/{number}"
        self._supply = Supply(household)
        self._stuck = stuck
        self._cache: dict[str, Any] = {}

    def will(self) -> Message | None:
        """The bridge is offline."""
        return Message(f"{self.base}/bridge/state", b'{"state":"offline"}', retain=True)

    def birth(self, t: float) -> Sequence[Message]:
        """The bridge is online, its devices, and the plug's availability and state."""
        online = b'{"state":"online"}'
        return [
            Message(f"{self.base}/bridge/state", online, retain=True),
            Message(
                f"{self.base}/bridge/devices",
                json.dumps([self._coordinator(), self._plug()]).encode(),
                retain=True,
            ),
            Message(f"{self.base}/{PLUG}/availability", online, retain=True),
            *self.messages(t),
        ]

    def subscriptions(self) -> Sequence[str]:
        """Wishes and questions."""
        return [f"{self.base}/{PLUG}/set", f"{self.base}/{PLUG}/get"]

    def messages(self, t: float) -> Sequence[Message]:
        """The plug reports, and the whole cached state is published."""
        measured = self._supply.measure(t)
        self._cache |= {
            "power": measured["power"],
            "current": measured["current"],
            "voltage": measured["voltage"],
            "energy": round(measured["energy"] / 1000, 3),
            "last_seen": datetime.fromtimestamp(t, UTC).isoformat(timespec="milliseconds"),
        }
        return [self._published()]

    def take(self, topic: str, payload: bytes, t: float) -> Sequence[Message]:
        """The echo of a wish, or the plug's answer."""
        try:
            told = json.loads(payload)
        except ValueError:
            return []
        if not isinstance(told, dict) or "state" not in told:
            return []
        if topic.endswith("/get"):
            self._cache["state"] = STATES[self._supply.closed]
            return self.messages(t)
        wished = {"ON": True, "OFF": False, "TOGGLE": not self._supply.closed}.get(str(told["state"]))
        if wished is None:
            return []
        if not self._stuck:
            self._supply.switch(closed=wished, t=t)
        self._cache["state"] = STATES[wished]
        return [self._published()]

    def _published(self) -> Message:
        self._cache.setdefault("state", STATES[self._supply.closed])
        return Message(f"{self.base}/{PLUG}", json.dumps(self._cache | {"linkquality": 112}).encode())

    def _coordinator(self) -> dict[str, Any]:
        return {
            "ieee_address": "0x00124b00000000aa",
            "type": "Coordinator",
            "friendly_name": "Coordinator",
            "disabled": False,
            "definition": None,
        }

    def _plug(self) -> dict[str, Any]:
        state = {
            "type": "binary", "name": "state", "property": "state", "access": 7, "value_on": "ON",
            "value_off": "OFF", "value_toggle": "TOGGLE",
        }  # fmt: skip
        numbers = [
            {"type": "numeric", "name": name, "property": name, "access": 5, "unit": unit}
            for name, unit in UNITS.items()
        ]
        return {
            "ieee_address": self.key,
            "type": "Router",
            "friendly_name": PLUG,
            "disabled": False,
            "supported": True,
            "definition": {
                "model": "TS011F_plug_1",
                "vendor": "Tuya",
                "exposes": [{"type": "switch", "features": [state]}, *numbers],
            },
        }


register(DeviceKind(family="zigbee2mqtt", make=Plug))
