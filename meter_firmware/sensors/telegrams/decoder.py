"""What turns the bytes of a line into measurements; it does no I/O, and never raises.

>>> Damaged("checksum 1234, not 03B9").why
'checksum 1234, not 03B9'
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from meter_firmware.sensors.sensor import Measurement


@dataclass(frozen=True)
class Damaged:
    """A telegram that is not good; ``why`` names what was found and what was expected."""

    why: str


class Decoder(Protocol):
    """Of one line; it remembers the beginning of a telegram, up to a limit."""

    def feed(self, data: bytes) -> Iterator[Measurement | Damaged]:
        """The telegrams that end in ``data``."""
