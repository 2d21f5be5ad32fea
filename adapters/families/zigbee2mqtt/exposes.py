"""What a device of zigbee2mqtt exposes, as quantities and a relay: names, units, phases and access.

Phase A has no suffix; the others are ``power_phase_b`` and ``power_phase_c`` (Koenkk/zigbee2mqtt,
``lib/extension/homeassistant.ts``). ``power_a`` and the like are of some converters: there it is a guess.

>>> told = [{"type": "numeric", "property": "energy", "unit": "kWh", "access": 1},
...         {"type": "numeric", "property": "power", "unit": "W", "access": 5}]
>>> {name: measure.quantity for name, measure in exposed(told).measures.items()}
{'energy': 'energy', 'power': 'power'}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from adapters.measured import measures_load, text
from adapters.units import factor
from broker.contract.quantities import QUANTITIES

PUBLISHED, SETTABLE, GETTABLE = 1, 2, 4
"""Bits of ``access``."""
MAX_EXPOSES = 256

_READ = frozenset(
    {"voltage", "current", "power", "power_factor", "frequency", "energy", "energy_export"}
    | {"reactive_power", "apparent_power"}
)
"""Quantities that devices tell, before their phase."""
_NAMES = {"ac_frequency": "frequency", "produced_energy": "energy_export"}
"""Property → quantity, where they differ."""
_PHASE = re.compile(r"(?P<base>.+?)_(?P<told>phase_)?(?P<letter>[abc])\Z")

PHASES = ("power_l1", "power_l2", "power_l3")


@dataclass(frozen=True)
class Measure:
    """What one property measures."""

    quantity: str
    factor: Decimal


@dataclass(frozen=True)
class Relay:
    """The property of a relay and its words, from its exposes."""

    property: str
    on: str | bool
    off: str | bool
    gettable: bool
    """Whether the device can be asked for it."""


@dataclass(frozen=True)
class Exposed:
    """What a device exposes that concerns a meter."""

    measures: dict[str, Measure] = field(default_factory=dict)
    relay: Relay | None = None
    doubts: tuple[str, ...] = ()

    @property
    def sums(self) -> bool:
        """Whether the power is the sum of its phases: all three are there, and no total."""
        names = {one.quantity for one in self.measures.values()}
        return names.issuperset(PHASES) and "power" not in names

    @property
    def quantities(self) -> set[str]:
        """All that it measures."""
        return {one.quantity for one in self.measures.values()} | ({"power"} if self.sums else set())

    @property
    def is_meter(self) -> bool:
        """Whether it measures a load."""
        return measures_load(one.quantity for one in self.measures.values())


def exposed(told: Any) -> Exposed:
    """The quantities and the relay in ``exposes``; what cannot be read is left out."""
    found, doubts = Exposed(), []
    relays: list[Relay] = []
    for part in _flat(told):
        name = part.get("property")
        if not isinstance(name, str) or not _access(part) & PUBLISHED:
            continue
        if part.get("endpoint"):
            doubts.append(
                f"{name!r} is left out: it is of endpoint {text(part['endpoint'])!r}, one of several"
            )
        elif part.get("of_switch"):
            relays += [relay] if (relay := _relay(name, part)) else []
        elif (measure := _measure(name, text(part.get("unit")), doubts)) and len(name) <= 64:
            found.measures.setdefault(name, measure)
    relay = relays[0] if len(relays) == 1 else None
    if relay is not None and not relay.gettable:
        doubts.append("its relay is not switched: the device cannot be asked for its position")
    return replace(_phased(found), relay=relay, doubts=tuple(text(doubt) for doubt in doubts[:16]))


def _flat(told: Any) -> Iterator[dict[str, Any]]:
    """Generic exposes, and the features of switches, marked so."""
    for part in told[:MAX_EXPOSES] if isinstance(told, list) else ():
        if not isinstance(part, dict):
            continue
        features = part.get("features")
        if part.get("type") == "switch" and isinstance(features, list):
            endpoint = part.get("endpoint")
            for feature in features[:MAX_EXPOSES]:
                if isinstance(feature, dict) and feature.get("name") == "state":
                    yield {"endpoint": endpoint} | feature | {"of_switch": True}
        elif part.get("type") == "numeric":
            yield part


def _access(part: dict[str, Any]) -> int:
    bits = part.get("access")
    return bits if type(bits) is int else 0


def _relay(name: str, part: dict[str, Any]) -> Relay | None:
    on, off = part.get("value_on"), part.get("value_off")
    if not isinstance(on, str | bool) or not isinstance(off, str | bool) or on == off:
        return None
    if not _access(part) & SETTABLE:
        return None
    return Relay(name, on, off, gettable=bool(_access(part) & GETTABLE))


def _measure(name: str, unit: str, doubts: list[str]) -> Measure | None:
    phase, base = "", name
    if matched := _PHASE.match(name):
        phase, base = f"_l{'abc'.index(matched['letter']) + 1}", matched["base"]
    quantity = _NAMES.get(base, base)
    by = factor(unit, to=QUANTITIES[quantity].unit) if quantity in _READ else None
    if by is None:
        return None
    if phase and quantity == "energy":
        quantity = "energy_import"
    if quantity + phase not in QUANTITIES:
        return None
    if matched and not matched["told"]:
        doubts.append(f"{name!r} is taken as {quantity}{phase}, by its name")
    return Measure(quantity + phase, by)


def _phased(found: Exposed) -> Exposed:
    """Without a suffix is phase A where there is a phase B; energy counts import where there is export."""
    names = {measure.quantity for measure in found.measures.values()}
    renamed = {
        base: f"{base}_l1"
        for base in ("voltage", "current", "power", "power_factor", "reactive_power", "apparent_power")
        if f"{base}_l2" in names and f"{base}_l1" not in names
    }
    if any(name.startswith("energy_export") for name in names):
        renamed["energy"] = "energy_import"
    measures = {
        name: replace(measure, quantity=renamed.get(measure.quantity, measure.quantity))
        for name, measure in found.measures.items()
    }
    return replace(found, measures=measures)
