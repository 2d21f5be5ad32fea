"""A device that is wired the other way: what it calls import is export, and its powers change their sign.

>>> reversed_values({"power": 400.0, "energy": 12.0, "voltage": 230.0})
{'power': -400.0, 'energy_export': 12.0, 'voltage': 230.0}
"""

from __future__ import annotations

import re

from adapters.family import Measured

_SIGNED = re.compile(r"(power|reactive_power|power_factor|demand)(_l[123])?")
_REGISTER = re.compile(r"(energy|reactive)_(import|export)(.*)")
_OTHER = {"import": "export", "export": "import"}


def reversed_name(name: str) -> str:
    """The quantity that this one is when the device is turned round; a counter of one way counts export."""
    if name == "energy":
        return "energy_export"
    if told := _REGISTER.fullmatch(name):
        return f"{told[1]}_{_OTHER[told[2]]}{told[3]}"
    return name


def reversed_values(measured: Measured) -> Measured:
    """The values with the other direction; 0 stays 0, not -0."""
    return {
        reversed_name(name): -value if value and _SIGNED.fullmatch(name) else value
        for name, value in measured.items()
    }
