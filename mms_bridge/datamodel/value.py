"""What a data object holds: value, quality and time (IEC 61850-7-3), and how it is named within its device.

>>> Value(230.4, Quality.GOOD, 1_764_504_000_000).quality
<Quality.GOOD: 0>
"""

from __future__ import annotations

from enum import IntFlag
from typing import NamedTuple

from mms_bridge.datamodel.moment import T_SYNCHRONIZED

Key = tuple[str, str]
"""Logical node and data object: ``("MMXN1", "Vol")``."""


class Quality(IntFlag):
    """Quality of IEC 61850-7-3, bits as in iec61850_common.h."""

    GOOD = 0
    INVALID = 2
    QUESTIONABLE = 3
    OUT_OF_RANGE = 1 << 3
    FAILURE = 1 << 6
    OLD_DATA = 1 << 7
    TEST = 1 << 11
    KEPT = 1 << 14
    """Of ours: q stays as it is. A frozen register has that of the running one."""


OLD = Quality.QUESTIONABLE | Quality.OLD_DATA


class Value(NamedTuple):
    """What a data object becomes: value, q and t."""

    value: float | int | bool | None
    """None leaves the value as it is: only quality and time change."""
    quality: Quality
    t_ms: int
    """Milliseconds since 1970, UTC."""
    t_quality: int = T_SYNCHRONIZED
    """Time quality octet of IEC 61850-8-1."""
