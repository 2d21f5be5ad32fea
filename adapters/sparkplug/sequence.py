"""The order of a node's messages: seq counts up by one, modulo 256, over the node and all its devices.

What comes early is held until what is missing comes, or until it is lost (Sparkplug 3.0, host reordering).

>>> order = Sequence()
>>> order.begin(0)
>>> order.take(2, Held("late", b""), now=0.0)
[]
>>> [one.topic for one in order.take(1, Held("first", b""), now=0.1)]
['first', 'late']
"""

from __future__ import annotations

from dataclasses import dataclass, field

MODULO = 256
MAX_HELD_BYTES = 1024 * 1024
"""Of one node; with more than that the missing message counts as lost."""


@dataclass(frozen=True)
class Held:
    """A message whose turn has not come."""

    topic: str
    payload: bytes


@dataclass
class Sequence:
    """Of one node, from its NBIRTH on."""

    next: int = 0
    held: dict[int, Held] = field(default_factory=dict)
    since: float | None = None
    """When the first message was missed; None: none is missing."""
    last: Held | None = None

    def begin(self, seq: int) -> None:
        """A new session; its NBIRTH has ``seq``."""
        self.next, self.held, self.since, self.last = (seq + 1) % MODULO, {}, None, None

    def take(self, seq: int, message: Held, *, now: float) -> list[Held]:
        """The messages whose turn it is now; the same message again is none."""
        if message == self.last:
            return []
        self.held[seq % MODULO] = message
        ready = []
        while (one := self.held.pop(self.next, None)) is not None:
            ready.append(one)
            self.last, self.next = one, (self.next + 1) % MODULO
        if not self.held:
            self.since = None
        elif ready or self.since is None:
            self.since = now
        return ready

    def lost(self, *, now: float, seconds: float) -> bool:
        """Whether a message is missing for so long, or so much waits for it, that it will not come."""
        if self.since is None:
            return False
        too_much = sum(len(one.payload) for one in self.held.values()) > MAX_HELD_BYTES
        return too_much or now - self.since >= seconds
