"""What a family of devices is to the adapter: messages in, events out, without a socket or a clock.

A family (``adapters.families``) decodes what its devices publish. It returns events about metering points,
each with the point's ``key``, and messages that are to be published. It never raises for a message's content:
what cannot be read is a :class:`Finding`. It holds what it must remember between messages in memory only.

>>> Values("a0b0c0d0e0f4", {"voltage": 229.6}).at is None
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from broker.contract.relay import Position

Measured = dict[str, float | bool]
"""Quantities of `broker.contract.quantities` in their units; what a device does not tell is absent."""


@dataclass(frozen=True)
class Point:
    """One metering point that a device has told of: it may become a meter. A later one replaces it."""

    key: str
    """Identity within the family that survives renaming: a MAC or IEEE address, with ``.1`` for a channel."""
    name: str
    """How its owner calls it."""
    vendor: str
    model: str
    serial: str
    firmware: str = ""
    quantities: tuple[str, ...] = ()
    """That it measures, as far as it is known now."""
    switch: bool = False
    """Whether it has a relay that can be switched from here."""
    interval: float | None = None
    """Seconds between its messages; None: not known."""
    doubts: tuple[str, ...] = ()
    """What was guessed, for the operator to confirm: a phase that was read out of a name."""


@dataclass(frozen=True)
class Values:
    """Values of one instant."""

    key: str
    measured: Measured
    at: datetime | None = None
    """The device's own time; None: it tells none, the arrival counts and is marked so."""
    historical: bool = False
    """From the device's memory: for the history, not for the live value."""


@dataclass(frozen=True)
class Available:
    """The device says itself (a last will, an availability topic) that it is there, or not."""

    key: str
    online: bool


@dataclass(frozen=True)
class Switched:
    """Where the device's relay is."""

    key: str
    position: Position
    confirmed: bool = True
    """False: an echo of what was wished; only the device itself confirms."""
    token: str | None = None
    """Of the request that it answers, where the device says that."""


@dataclass(frozen=True)
class Refused:
    """The device has refused a request to switch."""

    key: str
    reason: str
    token: str | None = None


@dataclass(frozen=True)
class Gone:
    """The device was removed from its system: its discovery message is empty."""

    key: str


@dataclass(frozen=True)
class Finding:
    """A message that could not be read, or a value that was left out."""

    cause: str
    """Short and constant, to count by."""
    detail: str
    """With the offending value."""


@dataclass(frozen=True)
class Outgoing:
    """A message to a device; never retained."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    """Only for what is no command, such as Sparkplug's STATE."""


Step = Point | Values | Available | Switched | Refused | Gone | Finding | Outgoing


class Family(Protocol):
    """A family of devices; one object for each connection to a broker."""

    name: str
    """As in adapters.toml: ``tasmota``."""

    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters, quality of service 1; they may change. Called about every 0.1 s."""

    def connected(self, now: float) -> Sequence[Step]:
        """At each connection, after the subscriptions: what asks all devices to announce themselves."""

    def take(self, topic: str, payload: bytes, *, retained: bool, now: float) -> Sequence[Step]:
        """A message; ``now`` in monotonic seconds."""

    def due(self, now: float) -> Sequence[Step]:
        """What time has brought: a window for values that come one by one is over. Called each 0.1 s."""

    def switch(self, key: str, position: Position, *, token: str, now: float) -> Sequence[Step]:
        """Ask the device to switch: messages to publish, or a :class:`Refused`."""

    def ask(self, key: str, *, now: float) -> Sequence[Step]:
        """Ask the device for its relay's position, where its family can."""


@runtime_checkable
class Willing(Protocol):
    """A family whose protocol wants a last will on the connection: Sparkplug's STATE of a host."""

    def will(self) -> Outgoing:
        """Called before each connection, and set as its will; :meth:`Family.connected` belongs to it.

        A caller that ends the connection on purpose publishes it first: a clean DISCONNECT deletes the will.
        """


def will_of(family: Family) -> Outgoing | None:
    """The last will for the next connection of this family; None for most families."""
    return family.will() if isinstance(family, Willing) else None
