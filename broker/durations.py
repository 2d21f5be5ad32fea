"""Lengths of time as people write them: ``90s``, ``15m``, ``24h``, ``400d``.

>>> duration_of("36h"), duration_of("a day")
(datetime.timedelta(days=1, seconds=43200), None)
"""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
"""Letter → argument of `datetime.timedelta`."""


def duration_of(text: str) -> timedelta | None:
    """The length of time; None when it is not a whole number of up to six digits and a unit."""
    match = re.fullmatch(rf"(\d{{1,6}})([{''.join(UNITS)}])", text)
    return timedelta(**{UNITS[match[2]]: int(match[1])}) if match is not None else None
