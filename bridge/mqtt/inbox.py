"""Messages that have arrived and wait for the database: bounded in number and in bytes.

>>> inbox = Inbox(batch_messages=2, batch_seconds=0.0, max_bytes=1000)
>>> inbox.put([Publish(b"t", b"1", b"", 0)], size=10, connection=1)
>>> len(inbox.take(timeout=0.0).messages)
1
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from time import monotonic

from broker.mqtt.packets import Publish


@dataclass(frozen=True)
class Batch:
    """Messages to be stored together; they came over connection number ``connection``."""

    messages: list[Publish] = field(default_factory=list)
    connection: int = 0


@dataclass(frozen=True)
class _Chunk:
    """What one read from the socket brought."""

    publishes: list[Publish]
    size: int
    connection: int
    arrived: float


class Inbox:
    """One thread puts, another takes. It holds at most two batches, or ``max_bytes``, and one read more."""

    def __init__(self, *, batch_messages: int, batch_seconds: float, max_bytes: int) -> None:
        self._batch_messages = batch_messages
        self._batch_seconds = batch_seconds
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._chunks: deque[_Chunk] = deque()
        self._bytes = 0
        self._closed = False
        self.messages = 0
        """How many wait."""
        self.taken_in = 0
        """How many there were since the start."""

    @property
    def full(self) -> bool:
        """True when nothing more should be put."""
        return self.messages >= 2 * self._batch_messages or self._bytes >= self._max_bytes

    @property
    def finished(self) -> bool:
        """True when it is closed and everything was taken."""
        return self._closed and not self._chunks

    def put(self, publishes: list[Publish], *, size: int, connection: int) -> None:
        """Add what one read of ``size`` bytes brought; after :meth:`close` it is dropped (and sent again)."""
        with self._changed:
            if self._closed:
                return
            before = self.messages
            self.messages += len(publishes)
            self.taken_in += len(publishes)
            self._bytes += size
            self._chunks.append(_Chunk(publishes, size, connection, monotonic()))
            if (
                before == 0 or before < self._batch_messages <= self.messages
            ):  # spare the taker other wake-ups
                self._changed.notify()

    def close(self) -> None:
        """Take nothing more in; what is here can still be taken, without waiting for more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self, *, timeout: float) -> Batch:
        """The next batch: full, or as old as the batch time (s); empty after ``timeout`` s without any."""
        with self._changed:
            if not self._chunks and not self._closed:
                self._changed.wait(timeout)
            if not self._chunks:
                return Batch()
            self._linger(self._chunks[0].arrived + self._batch_seconds)
            return self._collect()

    def _linger(self, until: float) -> None:
        while self.messages < self._batch_messages and not self._closed:
            if (left := until - monotonic()) <= 0:
                return
            self._changed.wait(left)

    def _collect(self) -> Batch:
        """As many chunks of one connection as fit, at least one."""
        connection, messages = self._chunks[0].connection, list[Publish]()
        while self._chunks and self._chunks[0].connection == connection:
            if messages and len(messages) + len(self._chunks[0].publishes) > self._batch_messages:
                break
            chunk = self._chunks.popleft()
            messages += chunk.publishes
            self._bytes -= chunk.size
        self.messages -= len(messages)
        return Batch(messages, connection)
