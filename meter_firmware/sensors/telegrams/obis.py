"""OBIS codes (C.D.E of A-B:C.D.E) and the quantities that they feed: one table for P1, IEC 62056-21 and SML.

The codes name directions as the customer sees them: 1.8.0 is import, what the house took from the grid.
Values are in V, A, W, var, Hz, Wh and varh, as the contract has them.

>>> measured({"1.7.0": Decimal(0), "2.7.0": Decimal(512), "1.8.1": Decimal(7), "2.8.0": Decimal(1)})["power"]
-512.0
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from broker.contract.quantities import QUANTITIES
from meter_firmware.sensors.sensor import Measurement

PHASES = (1, 2, 3)
TARIFFS = range(1, 9)
"""What a meter may count by. The contract has less; a sum over tariffs needs all of them."""


@dataclass(frozen=True)
class Source:
    """``quantity`` is the value of code ``plus`` less that of ``minus``; one of them may be absent."""

    quantity: str
    unit: str
    plus: str
    minus: str = ""


def _sources() -> Iterator[Source]:
    yield Source("power", "W", "16.7.0")
    yield Source("power", "W", "1.7.0", "2.7.0")
    yield Source("reactive_power", "var", "3.7.0", "4.7.0")
    yield Source("power_factor", "", "13.7.0")
    yield Source("frequency", "Hz", "14.7.0")
    for phase in PHASES:
        c = 20 * phase  # 21 … 36 are of L1, 41 … 56 of L2, 61 … 76 of L3
        yield Source(f"voltage_l{phase}", "V", f"{c + 12}.7.0")
        yield Source(f"current_l{phase}", "A", f"{c + 11}.7.0")
        yield Source(f"power_l{phase}", "W", f"{c + 16}.7.0")
        yield Source(f"power_l{phase}", "W", f"{c + 1}.7.0", f"{c + 2}.7.0")
        yield Source(f"reactive_power_l{phase}", "var", f"{c + 3}.7.0", f"{c + 4}.7.0")
        yield Source(f"power_factor_l{phase}", "", f"{c + 13}.7.0")
    for way, c in (("import", 1), ("export", 2)):
        yield Source(f"energy_{way}", "Wh", f"{c}.8.0")
        yield Source(f"reactive_{way}", "varh", f"{c + 2}.8.0")
        for tariff in TARIFFS:
            yield Source(f"energy_{way}_t{tariff}", "Wh", f"{c}.8.{tariff}")
    yield Source("demand", "W", "1.4.0")
    yield Source("demand_max", "W", "1.6.0")


TABLE = tuple(_sources())
"""Where two rows feed one quantity, the first that a telegram has counts."""

UNITS = {code: row.unit for row in TABLE for code in (row.plus, row.minus) if code}
"""Code → the unit of its value."""

_POSSIBLE = {"voltage", "current", "power", "energy"} | {row.quantity for row in TABLE}
MEASURES = tuple(name for name in QUANTITIES if name in _POSSIBLE)
"""The most that a meter gives by OBIS codes; which of them it gives, its telegrams tell."""


def measured(told: Mapping[str, Decimal]) -> Measurement:
    """The quantities of a telegram, from the values of its codes."""
    found: dict[str, Decimal] = {}
    for row in TABLE:
        if row.quantity not in found and (row.plus in told or row.minus in told):
            found[row.quantity] = told.get(row.plus, Decimal(0)) - told.get(row.minus, Decimal(0))
    return completed(found)


def completed(found: Mapping[str, Decimal]) -> Measurement:
    """``found`` with the totals that follow from it, in the names, the order and the limits of the contract.

    A total that the meter does not tell is the sum of its tariffs, or of its three phases. A meter with one
    phase gives it without the suffix; if it counts in one direction only, its counter is ``energy``.
    """
    named = dict(found)
    for way in ("energy_import", "energy_export"):
        _total(named, way, [name for name in named if name.startswith(f"{way}_t")])
    for name in ("power", "reactive_power"):
        parts = [f"{name}_l{phase}" for phase in PHASES]
        _total(named, name, parts if all(part in named for part in parts) else [])
    for suffix in ("", *(f"_l{phase}" for phase in PHASES)):
        # a meter tells only the size of a power factor: it has the sign of the power
        if named.get(f"power{suffix}", 0) < 0 and (factor := named.get(f"power_factor{suffix}")):
            named[f"power_factor{suffix}"] = -abs(factor)
    if not any(name.endswith(("_l2", "_l3")) for name in named):
        named = _one_phase(named)
    return {
        name: float(named[name])
        for name, row in QUANTITIES.items()
        if name in named and row.lowest <= named[name] <= row.highest
    }


def _total(named: dict[str, Decimal], name: str, parts: list[str]) -> None:
    if parts and name not in named:
        named[name] = sum((named[part] for part in parts), Decimal(0))


def _one_phase(named: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The total of the meter, where it tells one, is better than that of its phase."""
    plain = {name.removesuffix("_l1"): value for name, value in named.items() if name.endswith("_l1")}
    plain |= {name: value for name, value in named.items() if not name.endswith("_l1")}
    if "energy_export" not in plain and "energy_import" in plain:
        plain["energy"] = plain.pop("energy_import")
    return plain
