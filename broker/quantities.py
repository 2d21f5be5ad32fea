"""The quantities that this version knows with their limits, and the numbers that only a newer meter knows.

One bad quantity costs that quantity, not the reading: it is absent, and what was told stands among the other
numbers of the reading, under its name. A number under a name that we do not know is kept as it is.

>>> other_numbers({"thd_current": 3.1, "note": "x", "voltage": 230.0})
{'thd_current': 3.1}
>>> kept(float("nan")), kept("overload"), kept(-0.001)
('nan', 'overload', -0.001)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

# fmt: off
LIMITS: dict[str, tuple[float, float]] = {
    "voltage": (0.0, 1e12), "current": (0.0, 1e12), "power": (-1e12, 1e12),
    "power_factor": (-1.0, 1.0), "frequency": (0.0, 1000.0), "energy": (0.0, 1e12),
}
# fmt: on
"""Smallest and largest value, in the units of `broker.messages.Reading`."""

MAY_BE_BAD = frozenset((*LIMITS, "alarm"))
"""What costs itself when it is bad."""

KNOWN = MAY_BE_BAD | {"epoch", "seq", "ts", "clock_synchronized", "instance", "repeated"}
"""All that this version knows of a reading."""

MAX_OTHER = 32
"""Numbers under unknown names in one reading."""

LABEL = r"^[A-Za-z][0-9A-Za-z_]{0,63}$"
"""Pattern of a quantity's name."""

_LABEL = re.compile(LABEL[:-1] + r"\Z", re.ASCII)
_LONGEST = 64


def other_numbers(fields: Mapping[str, Any]) -> dict[str, float | str]:
    """The numbers of a reading under names that we do not know; ValueError when they are too many."""
    found = {
        name: kept(value)
        for name, value in fields.items()
        if name not in KNOWN and type(value) in (int, float) and _LABEL.match(name)
    }
    if len(found) > MAX_OTHER:
        raise ValueError(f"more than {MAX_OTHER} unknown quantities")
    return found


def kept(value: Any) -> float | str:
    """``value`` as a finite number; what is none, as text of at most 64 characters."""
    try:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
        return str(value)[:_LONGEST].replace("\0", "\ufffd")
    except (OverflowError, ValueError, RecursionError):  # an integer of 400 digits, of 5,000; lists in lists
        return "beyond all limits"
