"""A device that floods: of a topic with too many messages in a second only the last one is read.

Without this, one device that publishes thousands of messages a second would take the time of all others of
its source, and the broker would drop their messages. A topic to which all devices of a source write, such as
the one where they answer requests, may have as many messages as there can be devices.

>>> gate = Gate(most=1)
>>> [gate.passes("a", payload, retained=False) for payload in (b"1", b"2", b"3")]
[True, False, False]
>>> gate.opened(), gate.dropped
([Held(topic='a', payload=b'3', retained=False, dropped=1)], 1)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from adapters.known import MAX_DEVICES

MOST = 100
"""Messages of one topic in a period; ten times what a device that is well sends."""
MOST_SHARED = 2 * MAX_DEVICES
"""The same of a topic of all devices: each answers at once after the connection has stood again."""
PERIOD = 1.0
"""Seconds."""


@dataclass(frozen=True)
class Held:
    """The last message of a topic with too many; ``dropped`` came before it and are not read."""

    topic: str
    payload: bytes
    retained: bool
    dropped: int = 0


class Gate:
    """Of one source; :meth:`opened` is called when a period is over. ``shared``: topics of all devices."""

    def __init__(
        self, *, most: int = MOST, shared: Collection[str] = (), most_shared: int = MOST_SHARED
    ) -> None:
        self._most = most
        self._most_of = dict.fromkeys(shared, most_shared)
        self._counts: dict[str, int] = {}
        self._held: dict[str, Held] = {}
        self.dropped = 0
        """Messages that were never read."""

    def passes(self, topic: str, payload: bytes, *, retained: bool) -> bool:
        """Whether to read this message now; if not, it is held, in place of the one before it."""
        count = self._counts[topic] = self._counts.get(topic, 0) + 1
        if count <= self._most_of.get(topic, self._most):
            return True
        before = self._held.get(topic)
        self._held[topic] = Held(topic, payload, retained, before.dropped + 1 if before else 0)
        self.dropped += before is not None
        return False

    def opened(self) -> list[Held]:
        """The messages that are held; the next period begins."""
        held = list(self._held.values())
        self._counts, self._held = {}, {}
        return held
