"""Messages that seem to come from the future, when it may be our clock that is behind, wait here.

They are births, statuses, relays and rights, all of them retained, so of each topic the newest counts, and a
bridge that is killed hears them again from the broker. What waits is taken when our clock says that its time
has come: a little later, or at once when a clock that was wrong is set.

>>> waiting = Waiting(max_bytes=1000)
>>> waiting.add(Publish(b"t", b"{}", b"", 0), ts=2000)
True
>>> waiting.due(latest=1999), [message.payload for message in waiting.due(latest=2000)]
([], [b'{}'])
"""

from __future__ import annotations

from broker.mqtt.packets import Publish

MAX_BYTES = 64 * 1024 * 1024
"""Of topics and payloads: three messages of each of 30,000 meters."""


class Waiting:
    """One thread."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._messages: dict[bytes, tuple[int, Publish]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Publish, *, ts: int) -> bool:
        """Keep ``message`` until ``ts`` (ms), in place of what waits on its topic; False: no room."""
        self.forget(message.topic)
        size = _size(message)
        if self._bytes + size > self._max_bytes:
            return False
        self._bytes += size
        self._messages[message.topic] = ts, message
        return True

    def forget(self, topic: bytes) -> None:
        """Something newer was taken on ``topic``."""
        if (found := self._messages.pop(topic, None)) is not None:
            self._bytes -= _size(found[1])

    def due(self, *, latest: int) -> list[Publish]:
        """Those up to ``latest`` (ms), in the order in which they came; they wait no more."""
        due = [message for ts, message in self._messages.values() if ts <= latest]
        for message in due:
            self.forget(message.topic)
        return due


def _size(message: Publish) -> int:
    return len(message.topic) + len(message.payload)
