"""Which quantity a metric is, by its name, and in which unit it counts.

Names are free in Sparkplug. What the configuration says counts first; else the canonical names of
`broker.contract.quantities`, then common spellings whose every word is known. Nothing is taken by a part of
its name: ``Setpoint/Voltage`` is no voltage.

>>> names = Names({}, {})
>>> names.quantity("Voltage/L1"), names.quantity("Active Power"), names.quantity("Setpoint/Voltage")
('voltage_l1', 'power', None)
>>> names.channel("Energy/Import", {"engUnit": "kWh"})
Channel(quantity='energy_import', factor=1000.0, doubt='')
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from adapters.sparkplug.datatypes import Scalar
from adapters.units import factor as unit_factor
from broker.contract.quantities import QUANTITIES, Kind

MAX_NAME = 256
_WORD = re.compile(r"[A-Z]?[a-z]+\d*|[A-Z]+(?![a-z])\d*|\d+")
_UNIT_KEYS = ("engUnit", "EngUnit", "Engineering Units", "unit", "Unit", "units", "Units")
# fmt: off
_SLOTS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("voltage", "volt", "volts", "u"), ("measure", "voltage")),
    **dict.fromkeys(("current", "amps", "i"), ("measure", "current")),
    **dict.fromkeys(("power", "p"), ("measure", "power")),
    **dict.fromkeys(("frequency", "freq"), ("measure", "frequency")),
    "energy": ("measure", "energy"), "pf": ("measure", "power_factor"),
    "factor": ("kind", "factor"), "reactive": ("kind", "reactive"), "apparent": ("kind", "apparent"),
    **dict.fromkeys(("active", "real"), ("kind", "active")),
    **dict.fromkeys(("import", "imported", "consumed", "consumption"), ("way", "_import")),
    **dict.fromkeys(("export", "exported"), ("way", "_export")),
    **{phase: ("phase", f"_{phase}") for phase in ("l1", "l2", "l3", "l12", "l23", "l31", "n")},
    "neutral": ("phase", "_n"),
    **{tariff: ("tariff", f"_{tariff}") for tariff in ("t1", "t2", "t3", "t4")},
    **dict.fromkeys(("total", "sum"), ("total", "")),
}
"""Word → which part of a name it is."""
_BASES = {
    ("power", "active"): "power", ("power", "reactive"): "reactive_power",
    ("power", "apparent"): "apparent_power", ("power", "factor"): "power_factor",
    ("energy", "active"): "energy", ("energy", "reactive"): "reactive",
    ("energy", "apparent"): "apparent_energy",
}
_SWITCHES = frozenset({("breaker", "closed"), ("relay", "closed"), ("switch", "closed")})
_IDENTITY = {
    ("serial",): "serial", ("serial", "number"): "serial", ("manufacturer",): "vendor", ("vendor",): "vendor",
    ("model",): "model", ("firmware",): "firmware", ("firmware", "version"): "firmware",
}
# fmt: on


@dataclass(frozen=True)
class Channel:
    """A metric that is a quantity of ours."""

    quantity: str
    factor: float
    """From the metric's unit to the quantity's."""
    doubt: str = ""
    """What was guessed."""


class UnitError(ValueError):
    """A metric is told in a unit that is none of its quantity."""


class Names:
    """Metric names; ``metrics`` is name → quantity, ``units`` name → unit, both as configured."""

    def __init__(self, metrics: Mapping[str, str], units: Mapping[str, str], *, switch: str = "") -> None:
        self._metrics = metrics
        self._units = units
        self._switch = switch

    def quantity(self, name: str) -> str | None:
        """The quantity of that name; None for a metric that is none."""
        if name in self._metrics:
            return self._metrics[name] or None
        found = words(name)
        canonical = "_".join(found)
        return canonical if canonical in QUANTITIES else _spelled(found)

    def channel(self, name: str, properties: Mapping[str, Scalar]) -> Channel | None:
        """Quantity and factor; None for a metric that is no quantity; UnitError when its unit is none."""
        quantity = self.quantity(name)
        if quantity is None:
            return None
        told = self._units.get(name) or next((properties[key] for key in _UNIT_KEYS if key in properties), "")
        if told in ("", None):
            return Channel(quantity, 1.0, _guess(name, quantity))
        return Channel(quantity, factor(str(told), quantity))

    def is_switch(self, name: str) -> bool:
        """Whether a Boolean metric of that name is the relay; True is closed."""
        return name == self._switch if self._switch else words(name) in _SWITCHES

    def identity(self, name: str) -> str | None:
        """``serial``, ``vendor``, ``model`` or ``firmware``."""
        found = words(name)
        return _IDENTITY.get(found[1:] if found[:1] == ("properties",) else found)


def words(name: str) -> tuple[str, ...]:
    """``ActivePower_L1`` → active, power, l1; empty for a name that is too long."""
    return tuple(word.lower() for word in _WORD.findall(name)) if len(name) <= MAX_NAME else ()


def factor(unit: str, quantity: str) -> float:
    """What a value in ``unit`` is multiplied by; UnitError when it is none of the quantity."""
    wanted = QUANTITIES[quantity].unit
    by = unit_factor(unit, to=wanted)
    if by is None:
        raise UnitError(
            f"unit {unit[:32]!r}: {wanted or 'no unit'} or a multiple would be right for {quantity}"
        )
    return float(by)


def _guess(name: str, quantity: str) -> str:
    row = QUANTITIES[quantity]
    if row.kind is not Kind.REGISTER:
        return ""
    return f"the unit of {name} is not told: taken as {row.unit}"


def _spelled(found: tuple[str, ...]) -> str | None:
    parts: dict[str, list[str]] = {}
    for word in found:
        slot, value = _SLOTS.get(word, ("", ""))
        parts.setdefault(slot, []).append(value)
    if "" in parts or any(len(values) > 1 for slot, values in parts.items() if slot != "phase"):
        return None
    measure = parts.get("measure", [""])[0]
    kind = parts.get("kind", ["active" if measure in ("power", "energy") else ""])[0]
    base = _BASES.get((measure, kind), "" if kind else measure)
    tail = "".join(value for slot in ("way", "phase", "tariff") for value in _tail(slot, parts))
    return f"{base}{tail}" if f"{base}{tail}" in QUANTITIES else None


def _tail(slot: str, parts: Mapping[str, list[str]]) -> list[str]:
    """``_l1`` for L1 and for L1-N, ``_l12`` for L1-L2."""
    values = parts.get(slot, [])
    if slot == "phase" and len(values) == 2:
        first, second = values
        return [first] if second == "_n" else [f"{first}{second[-1]}"]
    return values
