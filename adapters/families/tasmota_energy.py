"""Tasmota's ``ENERGY`` object, and a user's own objects, as quantities.

One number is one phase; an array is one number for each phase (or channel). Energies are kWh. ``Total`` is a
sum or, with SetOption129 1, an array. ``null`` is absent. ``ReactivePower`` is left out unless the chip
measures its sign: most chips give none, and Tasmota computes it without a sign.

>>> told = energy({"Total": [1.5, 2], "Power": [610, -211]}, two_way=False, signed_reactive=False)
>>> told.measured["energy"], told.measured["power"], told.measured["power_l2"]
(3500.0, 399.0, -211.0)
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from adapters.measured import Gathered, number, total
from adapters.units import factor
from broker.contract.quantities import QUANTITIES

PHASES = 3


@dataclass(frozen=True)
class Row:
    """A field of ENERGY."""

    field: str
    one: str
    """The quantity of a single number; empty: none."""
    each: str = ""
    """The quantity of each number of an array, without ``_l1``; empty: none."""
    sums: bool = False
    """Whether the sum of an array is ``one``."""
    factor: int = 1


# fmt: off
ROWS = (
    #   field            one               each              sums   factor
    Row("Voltage",       "voltage",        "voltage"),
    Row("Current",       "current",        "current"),
    Row("Power",         "power",          "power",          True),
    Row("ApparentPower", "apparent_power", "apparent_power"),
    Row("ReactivePower", "reactive_power", "reactive_power", True),
    Row("Factor",        "power_factor",   "power_factor"),
    Row("CurrentNeutral","current_n"),
    Row("Total",         "energy_import",  "energy_import",  True,  1000),
    Row("ExportActive",  "energy_export",  "energy_export",  True,  1000),
    Row("ImportReactive","reactive_import","reactive_import",True,  1000),
    Row("ExportReactive","reactive_export","reactive_export",True,  1000),
)
# fmt: on
TARIFFS = {"TotalTariff": "energy_import", "ExportTariff": "energy_export"}
COMMON = ("Voltage", "Frequency")
"""A single number among arrays holds for all."""


def energy(told: dict[str, Any], *, two_way: bool, signed_reactive: bool) -> Gathered:
    """The quantities of an ENERGY object; a meter that has ever told an export is ``two_way``."""
    gathered = Gathered()
    for row in ROWS:
        if row.field != "ReactivePower" or signed_reactive:
            _take(gathered, row, told.get(row.field))
    _frequency(gathered, told.get("Frequency"))
    for field, name in TARIFFS.items():
        values = told.get(field)
        for at, value in enumerate(values[:4] if isinstance(values, list) else (), 1):
            gathered.put(f"{name}_t{at}", value, factor=1000)
    if not (two_way or exports(told)) and "energy_import" in gathered.measured:
        gathered.measured["energy"] = gathered.measured.pop("energy_import")
    gathered.sign_power_factors()
    return gathered


def exports(told: dict[str, Any]) -> bool:
    """Whether the device counts export."""
    value = told.get("ExportActive")
    return any(number(part) is not None for part in (value if isinstance(value, list) else [value]))


def _take(gathered: Gathered, row: Row, value: object) -> None:
    if not isinstance(value, list):
        gathered.put(row.one, value, factor=row.factor)
        return
    if len(value) == 1:
        gathered.put(row.one, value[0], factor=row.factor)
        return
    if row.each:
        for at, part in enumerate(value[:PHASES], 1):
            gathered.put(f"{row.each}_l{at}", part, factor=row.factor)
    if row.sums and (whole := total(value)) is not None:
        gathered.put(row.one, whole, factor=row.factor)


def _frequency(gathered: Gathered, value: object) -> None:
    """All phases have one: the first that is told."""
    if isinstance(value, list):
        value = next((part for part in value if part is not None), None)
    gathered.put("frequency", value)


def width(told: dict[str, Any]) -> int:
    """How many phases or channels an ENERGY object has."""
    return max(
        (len(value) for name in ("Power", "Current") if isinstance(value := told.get(name), list)), default=1
    )


def channels(told: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """An ENERGY object of ``count`` channels as one for each: a sum over channels is in none of them."""
    fields = (*(row.field for row in ROWS), "Frequency")
    split: list[dict[str, Any]] = [{} for _ in range(count)]
    for field in fields:
        value = told.get(field)
        for at, channel in enumerate(split):
            if isinstance(value, list) and at < len(value):
                channel[field] = value[at]
            elif field in COMMON and not isinstance(value, list):
                channel[field] = value
    return split


@dataclass(frozen=True)
class Target:
    """What a field of a map becomes."""

    quantity: str
    factor: int | Decimal


def _target(told: object) -> Target:
    if isinstance(told, Target):
        return told
    name, _, unit = (told if isinstance(told, str) else "").partition(" ")
    if name not in QUANTITIES:
        raise ValueError(f"{told!r} names no quantity: write for example 'energy_import kWh'")
    wanted = QUANTITIES[name].unit
    by = factor(unit or wanted, to=wanted)
    if by is None:
        raise ValueError(f"{told!r}: the unit of {name} is {wanted or 'none'}, or this with k or m before it")
    return Target(name, by)


Mapped = Annotated[Target, BeforeValidator(_target)]
"""``energy_import kWh``: a quantity, and the unit that the device gives it in."""


def mapped(gathered: Gathered, sensor: dict[str, Any], fields: dict[str, Target]) -> None:
    """Add what the user's map says of a SENSOR payload: ``SML.Total_in`` is Total_in in the object SML."""
    for path, target in fields.items():
        value: Any = sensor
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        gathered.put(target.quantity, value, factor=target.factor)
    gathered.sign_power_factors()
