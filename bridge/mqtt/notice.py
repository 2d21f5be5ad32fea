"""A message for the registry or the ledger, with the packet that it came in; and one that cannot be taken.

>>> Notice("3f25…", status, packet).live  # doctest: +SKIP
True
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.contract.messages import Message
from broker.mqtt.packets import DUP, RETAIN, Publish

Sent = tuple[bytes, int, int, str]
"""A reading as it was sent: topic of `stored`, epoch, seq, and the instance of its meter's program."""


class Withdrawal(Message):
    """An empty message: what was told is taken back; with its birth a meter is taken out of service."""

    kind: str = "birth"


class BadCommand(Message):
    """A command that does not parse but says which one it is: the ledger keeps that it was refused."""

    command_id: str
    reason: str


@dataclass(frozen=True)
class Notice:
    """A message for the registry or the ledger, and the packet that it came in."""

    meter_id: str
    message: Message
    source: Publish

    @property
    def retained(self) -> bool:
        """True for a command that was published retained, and for all that was before we subscribed."""
        return bool(self.source.flags & RETAIN)

    @property
    def live(self) -> bool:
        """True when it was published just now: the broker did not have it before we subscribed."""
        return not self.retained

    @property
    def again(self) -> bool:
        """True when the broker sends it again, not knowing whether we had it."""
        return bool(self.source.flags & DUP)


@dataclass(frozen=True)
class Dead:
    """A message, or one reading of a history, that cannot be taken as good."""

    topic: bytes
    payload: bytes
    cause: str
    reading: Sent | None = None
    """The reading that its meter may forget if this is kept."""


@dataclass(frozen=True)
class Early:
    """A message that seems to come from the future (``ts`` in ms): it waits (`bridge.mqtt.waiting`)."""

    source: Publish
    ts: int
