"""What a sensor is to the meter: something that can be read, and that fails with a cause.

>>> Measurement(voltage=231.0, alarm=False).quantities()
{'voltage': 231.0, 'alarm': False}
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

from broker.contract.errors import UnavailableError
from broker.contract.quantities import QuantityName


class SensorError(UnavailableError):
    """The sensor gave no good answer; ``cause`` is a short, constant text to count by."""

    def __init__(self, cause: str, detail: object = "") -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True)
class Measurement:
    """One read of a sensor; None is a quantity that it did not give. Units as in messages.Reading."""

    voltage: float | None = None
    current: float | None = None
    power: float | None = None
    power_factor: float | None = None
    frequency: float | None = None
    energy: float | None = None
    alarm: bool | None = None

    def quantities(self) -> dict[str, float | bool]:
        """What was given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Sensor(Protocol):
    """A device that measures."""

    @property
    def measures(self) -> tuple[QuantityName, ...]:
        """The quantities that it gives when it is well."""

    async def read(self) -> Measurement:
        """Measure now; SensorError if there is no good answer."""

    def close(self) -> None:
        """Give the port back."""
