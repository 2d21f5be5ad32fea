"""Data lines of IEC 62056-21 and P1: ``A-B:C.D.E*F(value*unit)``, several to a telegram.

Only values of now and of electricity are taken: A is 1 or absent, F is 255 or absent (others are the values
of past billing periods). A value without a unit is taken only where the quantity has none.

>>> values("1-0:1.8.0*255(004216.825*kWh)\\r\\n1-0:1.8.0*03(003900.000*kWh)\\r\\n0-1:24.2.1(001.2*m3)")
{'1.8.0': Decimal('4216825.000')}
"""

from __future__ import annotations

import re
from decimal import Decimal

from meter_firmware.sensors.telegrams.obis import UNITS

_CODE = r"(?:[0-9]{1,3}-[0-9]{1,3}:)?[0-9A-Z]{1,3}\.[0-9A-Z]{1,3}(?:\.[0-9]{1,3})?(?:[*&][0-9]{1,3})?"
_GROUP = r"\([^()\r\n]*\)"
DATA_LINE = re.compile(rf"(?:(?:{_CODE})?{_GROUP})+")
"""A whole line of data; it may hold several values, or go on with that of the line before."""

_NOW = re.compile(
    r"(?:(?P<a>[0-9]{1,3})-[0-9]{1,3}:)?(?<![0-9A-Z.])(?P<code>[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})"
    rf"(?:\*(?P<f>[0-9]{{1,3}}))?(?P<groups>(?:{_GROUP})+)"
)
_VALUE = re.compile(r"\((-?[0-9]{1,12}(?:\.[0-9]{1,9})?)(?:\*([A-Za-z]+))?\)")
_THOUSAND = Decimal(1000)


def values(text: str) -> dict[str, Decimal]:
    """Code → value in the unit of the table, of its codes; of two values of one code the first counts."""
    found: dict[str, Decimal] = {}
    for line in _NOW.finditer(text):
        code = line["code"]
        if line["a"] not in (None, "1") or line["f"] not in (None, "255") or code not in UNITS:
            continue
        for number, unit in _VALUE.findall(line["groups"]):
            if (factor := _factor(unit, UNITS[code])) is not None:
                found.setdefault(code, Decimal(number) * factor)
    return found


def _factor(unit: str, wanted: str) -> Decimal | None:
    """1 or 1000; None for another unit."""
    if unit.lower() == wanted.lower():
        return Decimal(1)
    return _THOUSAND if wanted and unit.lower() == f"k{wanted}".lower() else None
