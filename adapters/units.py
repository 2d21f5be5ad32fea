"""Units as devices of other makers tell them: one table for all families.

>>> factor("kWh", to="Wh"), factor("%", to=""), factor("kWh", to="W")
(Decimal('1000'), Decimal('0.01'), None)
"""

from __future__ import annotations

from decimal import Decimal

_JOULE = 1 / Decimal(3600)
_PREFIXES = {"m": "0.001", "": "1", "k": "1000", "M": "1000000", "G": "1000000000", "T": "1000000000000"}
_UNITS = {unit: (unit, Decimal(1)) for unit in ("V", "A", "W", "var", "VA", "Hz", "Wh", "varh", "VAh")}
_UNITS |= {"J": ("Wh", _JOULE), "cal": ("Wh", Decimal("4.184") * _JOULE)}
UNITS: dict[str, tuple[str, Decimal]] = {
    f"{prefix}{name}": (unit, Decimal(by) * one)
    for name, (unit, one) in _UNITS.items()
    for prefix, by in _PREFIXES.items()
} | {"%": ("%", Decimal(1)), "1": ("", Decimal(1)), "": ("", Decimal(1))}
"""Unit → that of the contract, and its factor."""
# fmt: off
_SPELLINGS = {"VAr": "var", "Var": "var", "VAR": "var", "kVAr": "kvar", "kVAR": "kvar", "kVar": "kvar",
              "VArh": "varh", "VARh": "varh", "kVArh": "kvarh", "kVARh": "kvarh", "kVarh": "kvarh",
              "KWh": "kWh", "kwh": "kWh", "KW": "kW", "kw": "kW", "hz": "Hz", "HZ": "Hz"}
# fmt: on


def factor(unit: str, *, to: str) -> Decimal | None:
    """What a value in ``unit`` is multiplied by to be in ``to``, a quantity's unit; None for a wrong unit."""
    base, by = UNITS.get(_SPELLINGS.get(unit, unit), (None, Decimal(1)))
    if (base, to) == ("%", ""):
        return Decimal("0.01")
    return by if base == to else None
