"""The order of meters by name, in every list of theirs: House 2 before House 10.

>>> sorted(["House 10", "house 2", "Attic 7"], key=by_name)
['Attic 7', 'house 2', 'House 10']
"""

from __future__ import annotations

import re


def by_name(name: str, meter_id: str = "") -> tuple[list[tuple[str, int]], str]:
    """Where a meter of that name belongs; among meters of one name the ``meter_id`` decides."""
    parts = re.findall(r"(\D*)(\d{0,18})", name)
    return [(text.casefold(), int(number or 0)) for text, number in parts], meter_id
