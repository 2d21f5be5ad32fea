"""A simulated ESPHome node: a PZEM-004T and a relay, announced by Home Assistant discovery.

Topics and payloads are those of ``esphome_pzem.jsonl`` (DEVICES.md 1.4): one topic for each value, retained,
without a time; the relay answers a command with its state.

>>> node = Node(Household(seed=1, number=7), 7)
>>> node.will()
Message(topic='meter-007/status', payload=b'offline', retain=True)
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from adapters.simulated.device import DeviceKind, Message, register
from adapters.simulated.supply import Supply
from meter_firmware.sensors.household import Household

# fmt: off
SENSORS = {
    #                name            unit  decimals
    "voltage":      ("Voltage",      "V",  1),
    "current":      ("Current",      "A",  3),
    "power":        ("Power",        "W",  1),
    "energy":       ("Energy",       "Wh", 0),
    "frequency":    ("Frequency",    "Hz", 1),
    "power_factor": ("Power Factor", "",   2),
}
# fmt: on
"""Quantity, which is also the device class → name, unit, decimals."""
RELAY = "main_relay"


class Node:
    """The node with this number; ``household`` is its load."""

    def __init__(self, household: Household, number: int) -> None:
        self.key = f"a0b0c1{number:06x}"
        self._name = f"meter-{number:03d}"
        self._number = number
        self._supply = Supply(household)

    def will(self) -> Message | None:
        """Offline."""
        return Message(f"{self._name}/status", b"offline", retain=True)

    def birth(self, t: float) -> Sequence[Message]:
        """Discovery, online, the relay and all values."""
        configs = [self._config("sensor", f"pzem_{name}", _sensor(name)) for name in SENSORS]
        relay = {"name": "Main Relay", "cmd_t": f"{self._name}/switch/{RELAY}/command"}
        configs.append(self._config("switch", RELAY, relay))
        online = Message(f"{self._name}/status", b"online", retain=True)
        return [*configs, online, self._relay(), *self.messages(t)]

    def subscriptions(self) -> Sequence[str]:
        """The relay's command."""
        return [f"{self._name}/switch/{RELAY}/command"]

    def messages(self, t: float) -> Sequence[Message]:
        """Each value on its own topic."""
        measured = self._supply.measure(t)
        return [
            Message(
                self._state("sensor", f"pzem_{name}"), f"{measured[name]:.{decimals}f}".encode(), retain=True
            )
            for name, (_, _, decimals) in SENSORS.items()
        ]

    def take(self, topic: str, payload: bytes, t: float) -> Sequence[Message]:
        """Switch, and tell the relay's state."""
        wished = {b"ON": True, b"OFF": False, b"TOGGLE": not self._supply.closed}.get(payload)
        if topic != self.subscriptions()[0] or wished is None:
            return []
        self._supply.switch(closed=wished, t=t)
        return [self._relay()]

    def _relay(self) -> Message:
        return Message(self._state("switch", RELAY), b"ON" if self._supply.closed else b"OFF", retain=True)

    def _state(self, component: str, name: str) -> str:
        return f"{self._name}/{component}/{name}/state"

    def _config(self, component: str, name: str, told: dict[str, str]) -> Message:
        whole = told | {
            "stat_t": self._state(component, name),
            "avty_t": f"{self._name}/status",
            "uniq_id": f"ESP{component}{name}",
            "dev": {
                "ids": self.key,
                "name": f"Meter {self._number:03d}",
                "sw": "2026.10.0",
                "mdl": "esp32dev",
                "mf": "Espressif",
                "cns": [["mac", self.key]],
            },
        }
        topic = f"homeassistant/{component}/{self._name}/{name}/config"
        return Message(topic, json.dumps(whole).encode(), retain=True)


def _sensor(quantity: str) -> dict[str, str]:
    name, unit, _ = SENSORS[quantity]
    state_class = "total_increasing" if quantity == "energy" else "measurement"
    told = {"name": f"Pzem {name}", "dev_cla": quantity, "stat_cla": state_class}
    return told | ({"unit_of_meas": unit} if unit else {})


register(DeviceKind(family="homeassistant", make=Node))
