"""How a meter is installed: the other way round, or behind current transformers that it does not know.

>>> Wiring(reverse=True).applied({"power": 400.0, "energy": 12.0, "voltage": 230.0})
{'power': -400.0, 'energy_export': 12.0, 'voltage': 230.0}
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from broker.contract.quantities import QUANTITIES
from meter_firmware.sensors.sensor import Measurement

SCALED = ("current", "power", "reactive_power", "apparent", "energy", "reactive", "demand")
"""First words of the quantities that a current transformer's ratio multiplies."""
_SIGNED = re.compile(r"(power|reactive_power|power_factor|demand)(_l[123])?")
_REGISTER = re.compile(r"(energy|reactive)_(import|export)(.*)")
_OTHER = {"import": "export", "export": "import"}


@dataclass(frozen=True)
class Wiring:
    """How the meter is installed."""

    reverse: bool = False
    """What it calls import is export; a counter of one way counts export."""
    ratio: float = 1.0
    """Of current transformers that the meter does not know."""

    def measures(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """What it gives when the meter gives these quantities, in the order of the contract."""
        given = {self._name(name) for name in names}
        return tuple(name for name in QUANTITIES if name in given)

    def applied(self, measured: Measurement) -> Measurement:
        """The measurement, as it is where the meter is."""
        if self == Wiring():
            return measured
        named = ((self._name(name), self._value(name, value)) for name, value in measured.items())
        return {name: value for name, value in named if name}

    def _name(self, name: str) -> str:
        """The quantity that this one is; empty for none: the largest import is not the largest export."""
        if not self.reverse:
            return name
        if name == "energy":
            return "energy_export"
        if told := _REGISTER.fullmatch(name):
            return f"{told[1]}_{_OTHER[told[2]]}{told[3]}"
        return "" if name == "demand_max" else name

    def _value(self, name: str, value: float | bool) -> float | bool:
        if self.reverse and _SIGNED.fullmatch(name):
            value = 0.0 - value  # not -value: 0 stays 0
        if self.ratio != 1 and name.startswith(SCALED) and not name.startswith("power_factor"):
            value = round(value * self.ratio, 6)
        return value
