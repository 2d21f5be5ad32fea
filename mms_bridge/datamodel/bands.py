"""Deadband and range of a measured value, as its CF attributes say (IEC 61850-7-3 Ed 2.1, CDC MV and CMV).

>>> band = band_of({("db",): "500", ("dbRef",): "460"})
>>> band.deadband, band.shown(231.0, before=230.0), band.shown(232.4, before=230.0)
(2.3, None, 232.4)
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from mms_bridge.datamodel.value import Quality

Path = tuple[str, ...]
LIMITS = ("llLim", "lLim", "hLim", "hhLim")
ENDS = ("min", "max")
BAND_SETTINGS: tuple[Path, ...] = (
    ("db",),
    ("dbRef",),
    ("zeroDb",),
    ("zeroDbRef",),
    *(("rangeC", name, "f") for name in (*LIMITS, *ENDS)),
)
"""The attributes, by their path below the data object."""
STEPS = 100_000
"""db and zeroDb count in 0.001 %."""
OUT_OF_RANGE = Quality.QUESTIONABLE | Quality.OUT_OF_RANGE


class Range(IntEnum):
    """RangeKind."""

    NORMAL = 0
    HIGH = 1
    LOW = 2
    HIGH_HIGH = 3
    LOW_LOW = 4


class Band(NamedTuple):
    """Computed from the attributes once; a limit that is not given is none."""

    deadband: float
    relative: bool
    """``deadband`` is a part of the value that was shown last: dbRef is 0."""
    zero: float
    limits: tuple[float, float, float, float] | None
    """llLim, lLim, hLim, hhLim."""
    ends: tuple[float, float]
    """min and max."""

    def shown(self, value: float, *, before: float) -> float | None:
        """What mag becomes; None: it stays as it was ``before`` (NaN: it had no value)."""
        value = 0.0 if abs(value) < self.zero else value
        allowed = self.deadband * abs(before) if self.relative else self.deadband
        return None if abs(value - before) <= allowed else value

    def range(self, value: float) -> Range:
        """Where ``value`` is among the limits."""
        if self.limits is None:
            return Range.NORMAL
        lowest, low, high, highest = self.limits
        if value > high:
            return Range.HIGH_HIGH if value > highest else Range.HIGH
        if value < low:
            return Range.LOW_LOW if value < lowest else Range.LOW
        return Range.NORMAL

    def quality(self, quality: Quality, value: float) -> Quality:
        """``quality``, and outOfRange for a value that is not between min and max."""
        return quality if self.ends[0] <= value <= self.ends[1] else quality | OUT_OF_RANGE


_NO_ENDS = (float("-inf"), float("inf"))


def band_of(settings: Mapping[Path, str]) -> Band | None:
    """The band that ``settings`` describe; None without any."""
    if not settings:
        return None
    numbers = {path[-2 if path[1:] else -1]: float(text) for path, text in settings.items()}
    lowest, highest = (numbers.get(name, end) for name, end in zip(ENDS, _NO_ENDS, strict=True))
    span = highest - lowest if numbers.keys() >= set(ENDS) else 0.0  # Edition 2 has no dbRef
    reference, zero_reference = numbers.get("dbRef", span), numbers.get("zeroDbRef", span)
    limits = [numbers[name] for name in LIMITS if name in numbers]
    return Band(
        numbers.get("db", 0.0) * (reference or 1.0) / STEPS,
        not reference,
        numbers.get("zeroDb", 0.0) * zero_reference / STEPS,
        (limits[0], limits[1], limits[2], limits[3]) if len(limits) == len(LIMITS) else None,
        (lowest, highest),
    )
