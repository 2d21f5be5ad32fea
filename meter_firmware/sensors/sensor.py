"""What a sensor is to the meter: something that can be read, and that fails with a cause.

>>> str(SensorError("sensor does not answer", "/dev/ttyUSB0"))
'sensor does not answer: /dev/ttyUSB0'
"""

from __future__ import annotations

from typing import Protocol

from broker.contract.errors import UnavailableError


class SensorError(UnavailableError):
    """The sensor gave no good answer; ``cause`` is a short, constant text to count by."""

    def __init__(self, cause: str, detail: object = "") -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


Measurement = dict[str, float | bool]
"""What one read of a sensor gave, by name of quantity (`broker.contract.quantities`), and ``alarm``."""


class Sensor(Protocol):
    """A device that measures."""

    @property
    def measures(self) -> tuple[str, ...]:
        """The quantities that it gives when it is well."""

    async def read(self) -> Measurement:
        """Measure now; SensorError if there is no good answer."""

    def close(self) -> None:
        """Give the port back."""
