"""The kinds of sensors: each is one file beside this one, which ends in a registration.

>>> kind("pzem004t").title
'PZEM-004T v3, PZEM-014, PZEM-016'
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.contract.errors import ConfigurationError
from meter_firmware.sensors.sensor import Sensor

if TYPE_CHECKING:
    from meter_firmware.settings import SensorSettings


@dataclass(frozen=True)
class Kind:
    """A kind of sensor."""

    name: str
    """As ``sensor.kind`` in meter.toml."""
    title: str
    """For people: maker and models."""
    measures: tuple[str, ...]
    """Quantities that it gives when it is well, in the order of the contract."""
    open: Callable[[SensorSettings], Sensor]
    """A sensor as the settings say; it opens its port with the first read. ConfigurationError names a setting
    that does not fit."""


KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Add a kind; each file of a sensor ends with this."""
    if kind.name in KINDS:
        raise ValueError(f"two sensors are called {kind.name}")
    KINDS[kind.name] = kind


def kind(name: str) -> Kind:
    """The kind of this name; ConfigurationError names those that there are."""
    if name not in KINDS:
        raise ConfigurationError(f"sensor.kind {name!r} is not known: use one of {', '.join(sorted(KINDS))}")
    return KINDS[name]
