"""Which quantity a sensor measures: by its device class and unit; phase and direction by its name, a guess.

>>> named("power", "kW", name="Grid Power L2", unique_id="x")
Named(quantity='power_l2', factor=Decimal('1000'), guess='L2')
>>> named("energy", "kWh", name="Energy today", unique_id="x") is None
True
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from adapters.units import factor
from broker.contract.quantities import QUANTITIES

CLASSES: Mapping[str, str] = {
    "voltage": "V", "current": "A", "power": "W", "reactive_power": "var", "apparent_power": "VA",
    "power_factor": "", "frequency": "Hz", "energy": "Wh", "reactive_energy": "varh",
}  # fmt: skip
"""Device class → unit of our quantity."""
COUNTED = frozenset({"energy", "reactive_energy"})

_PHASE = re.compile(
    r"(?:^|[^a-z0-9])(?:l|phase[ _-]?)([123])(?![a-z0-9])"
    r"|(?:^|[^a-z0-9])phase[ _-]?([abc])(?![a-z0-9])"
    r"|_([abc])_"
)
_EXPORT = re.compile(r"export|return|produc|feed|fed.?in|to.?grid|inject|generat|reverse")
_IMPORT = re.compile(r"import|consum|from.?grid|forward")
_PERIOD = re.compile(r"today|yesterday|daily|day|week|month|year|hour|session|last|tariff|cost|period")


@dataclass(frozen=True)
class Named:
    """What a sensor measures."""

    quantity: str
    factor: Decimal
    guess: str = ""
    """What of it was read out of its name; empty: nothing."""


def named(device_class: str, unit: str, *, name: str, unique_id: str) -> Named | None:
    """The quantity of a sensor and the factor to its unit; None for what is no quantity of the contract.

    A counter of a day or a month is none: it falls at each midnight.
    """
    by = factor(unit, to=CLASSES[device_class]) if device_class in CLASSES else None
    words = f"{name} {unique_id}".lower()
    if by is None or (device_class in COUNTED and _PERIOD.search(words)):
        return None
    quantity, guesses = device_class, []
    if device_class in COUNTED:
        quantity, guess = _directed(device_class, words)
        guesses += guess
    if phase := _phase(words):
        guesses.append(f"L{phase}")
        quantity = f"{'energy_import' if quantity == 'energy' else quantity}_l{phase}"
    return Named(quantity, by, " ".join(guesses)) if quantity in QUANTITIES else None


def _directed(device_class: str, words: str) -> tuple[str, list[str]]:
    base = device_class.removesuffix("_energy")
    if _EXPORT.search(words):
        return f"{base}_export", ["export"]
    if _IMPORT.search(words) or base == "reactive":
        return f"{base}_import", ["import"]
    return device_class, []


def _phase(words: str) -> int:
    """1 to 3; 0: none is named."""
    found = _PHASE.search(words)
    letter = next((one for one in found.groups() if one), "") if found else ""
    return "123".find(letter) + 1 or "abc".find(letter) + 1 if letter else 0
