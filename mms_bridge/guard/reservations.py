"""ResvTms (IEC 61850-7-2): a buffered block waits for the client that reserved it, and for no other.

libiec61850 keeps a block for its client while the client is there. Afterwards a client must write ResvTms
before it can enable the block, and the library lets any client do so. This is for all associations of one
server.

>>> held = Reservations(now=lambda: 0.0)
>>> held.wrote("brcbPos01", "10.0.0.5", 60, by=1); held.left(1)
>>> held.is_others("brcbPos01", "10.0.0.6"), held.is_others("brcbPos01", "10.0.0.5")
(True, False)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(slots=True)
class _Held:
    client: str
    by: int | None
    """The association that has it; None once that has ended."""
    seconds: int
    until: float = 0.0
    """When it is free again, after its association has ended."""


class Reservations:
    """Who has reserved the buffered blocks; a client is its address, or over TLS its certificate's name."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._held: dict[str, _Held] = {}

    def is_others(self, block: str, client: str) -> bool:
        """Whether the block is, or waits for, another client."""
        held = self._held.get(block)
        if held is None or held.client == client:
            return False
        return held.by is not None or self._now() < held.until

    def wrote(self, block: str, client: str, seconds: int, *, by: int) -> None:
        """Association ``by`` has written ResvTms; 0 ends the reservation."""
        self._held.pop(block, None)
        if seconds > 0:
            self._held[block] = _Held(client, by, seconds)

    def left(self, by: int) -> None:
        """The association has ended: its blocks wait for it from now on."""
        for held in self._held.values():
            if held.by == by:
                held.by, held.until = None, self._now() + held.seconds
