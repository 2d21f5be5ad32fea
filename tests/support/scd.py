"""Meters of files that tests build: their ids, their insts, and their MMS domains.

>>> house(3).inst, house(3).meter_id
('M3', '3f2504e0-4f89-41d3-9a0c-000000000003')
"""

from __future__ import annotations

from typing import Any

from scl_builder.build.project import Meter


def meter_id(number: int) -> str:
    """The id of the meter with that number."""
    return f"3f2504e0-4f89-41d3-9a0c-{number:012x}"


def house(number: int, **told: Any) -> Meter:
    """The meter with that number."""
    return Meter(meter_id(number), f"M{number}", **told)
