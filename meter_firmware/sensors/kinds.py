"""The kinds of sensors: each is one file in this folder, or in one below it, which ends in a registration.

>>> kind("pzem004t").title
'Peacefair PZEM-004T v3, PZEM-014, PZEM-016'
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from broker.contract.errors import ConfigurationError
from meter_firmware import sensors
from meter_firmware.sensors.sensor import Measurement, Sensor

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
    simulated: Callable[[Callable[[], Measurement]], AbstractAsyncContextManager[SensorSettings]] | None = (
        None
    )
    """A simulated device on a wire, which measures what the function returns, and the settings to read it."""
    simulates: tuple[str, ...] = ()
    """What a simulated one measures, where real ones differ in what they measure; none: all of it."""


KINDS: dict[str, Kind] = {}
"""Those that are registered; :func:`kinds` has all."""


def register(kind: Kind) -> None:
    """Add a kind; each file of a sensor ends with this."""
    if kind.name in KINDS:
        raise ValueError(f"two sensors are called {kind.name}")
    KINDS[kind.name] = kind


@cache
def kinds() -> dict[str, Kind]:
    """All kinds, by name."""
    for module in pkgutil.walk_packages(sensors.__path__, f"{sensors.__name__}."):
        import_module(module.name)
    return dict(sorted(KINDS.items()))


def kind(name: str) -> Kind:
    """The kind of this name; ConfigurationError names those that there are."""
    if name not in kinds():
        raise ConfigurationError(f"sensor.kind {name!r} is not known: use one of {', '.join(kinds())}")
    return kinds()[name]
