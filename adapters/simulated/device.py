"""What a simulated device is: its messages at an instant, and its answers. Each family has one file here.

>>> DEVICES["tasmota"].make(Household(seed=1, number=1), 1).will()  # doctest: +SKIP
Message(topic='tele/tasmota_A1B2C3/LWT', payload=b'Offline', retain=True)
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Protocol

from adapters import simulated
from broker.contract.errors import ConfigurationError
from meter_firmware.sensors.household import Household


@dataclass(frozen=True)
class Message:
    """What a device publishes."""

    topic: str
    payload: bytes
    retain: bool = False


class Device(Protocol):
    """One device with its own connection to the broker; ``t`` in seconds since 1970."""

    key: str
    """Of the metering point that the adapter makes of it."""

    def will(self) -> Message | None:
        """Its last will."""

    def birth(self, t: float) -> Sequence[Message]:
        """At each connection."""

    def subscriptions(self) -> Sequence[str]:
        """Topic filters of what it obeys."""

    def messages(self, t: float) -> Sequence[Message]:
        """What it publishes at an instant of its interval."""

    def take(self, topic: str, payload: bytes, t: float) -> Sequence[Message]:
        """Its answer to a message."""


@dataclass(frozen=True)
class DeviceKind:
    """A kind of simulated device."""

    family: str
    """That the adapter reads it with."""
    make: Callable[[Household, int], Device]
    """The device with this number; the house is its load."""


DEVICES: dict[str, DeviceKind] = {}


def register(kind: DeviceKind) -> None:
    """Add a kind; each file of a simulated device ends with this."""
    DEVICES[kind.family] = kind


@cache
def _load() -> None:
    for module in pkgutil.iter_modules(simulated.__path__, f"{simulated.__name__}."):
        import_module(module.name)


def device_kind(family: str) -> DeviceKind:
    """The simulated device of a family; ConfigurationError names those that there are."""
    _load()
    if family not in DEVICES:
        raise ConfigurationError(f"no simulated device of family {family!r}: use one of {', '.join(DEVICES)}")
    return DEVICES[family]


def device_families() -> list[str]:
    """Families with a simulated device, by name."""
    _load()
    return sorted(DEVICES)
