"""Live events for any number of listeners: gathered for a fifth of a second, encoded once, bounded
everywhere.

A meter's event is its newest state; of several within one gathering only the last is told. Commands and
whatever else happens are told each. An event's id is ``<boot>-<number>``: who comes back with the last id
that it has seen gets what it missed, as long as we remember it (:data:`KEPT` events), and ``reset``
otherwise: look again, then listen. A listener that does not take what it gets is told ``reset`` too; what
waited for it is dropped.

>>> hub = Hub()
>>> listener = hub.listen(Interest(), since=None)
>>> hub.tell("meter", b'{"power":21.3}', meter_id="3f25")
>>> hub.flush()
>>> listener.queue.get_nowait().decode().split()[1].partition("-")[2]
'1'
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

TICK = 0.2
"""Seconds that events are gathered."""
KEPT = 20_000
"""Events that are remembered for those who come back: 20 s at 1,000 readings/s."""
WAITING = 16
"""Gatherings that may wait for one listener, 3 s of them."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; ``data`` is one line of JSON."""

    number: int
    kind: str
    data: bytes
    meter_id: str = ""
    address_code: str = ""


@dataclass(frozen=True)
class Interest:
    """What a listener wants: empty sets are everything. What is about no meter goes to all."""

    kinds: frozenset[str] = frozenset()
    meters: frozenset[str] = frozenset()
    address_code: str | None = None

    def covers(self, event: Event) -> bool:
        """Whether ``event`` is of interest."""
        if self.kinds and event.kind not in self.kinds:
            return False
        if not event.meter_id:
            return True
        if self.meters and event.meter_id not in self.meters:
            return False
        return self.address_code is None or event.address_code == self.address_code


@dataclass(eq=False)
class Listener:
    """One stream; None in its queue is its end."""

    interest: Interest
    queue: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(WAITING + 1))


class Hub:
    """Hands events to listeners; everything in the event loop's thread."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.overruns = 0
        """How often a listener was too slow."""
        self.boot = secrets.token_hex(4)
        """Tells our ids from those of the process before us."""
        self._number = 0
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._gathered: dict[tuple[str, str | int], Event] = {}

    @property
    def position(self) -> str:
        """Id of the newest event: who listens since here misses nothing."""
        return f"{self.boot}-{self._number}"

    def tell(self, kind: str, data: bytes, *, meter_id: str = "", address_code: str = "") -> None:
        """Something happened."""
        self._number += 1
        event = Event(self._number, kind, data, meter_id, address_code)
        key: tuple[str, str | int] = (kind, meter_id) if kind == "meter" else (kind, self._number)
        self._gathered.pop(key, None)  # so that numbers go up
        self._gathered[key] = event

    def flush(self) -> None:
        """Hand over what was gathered; one encoding for all with the same interest."""
        events = list(self._gathered.values())
        self._gathered.clear()
        if not events:
            return
        self._kept.extend(events)
        encoded: dict[Interest, bytes] = {}
        for listener in self.listeners:
            if listener.interest not in encoded:
                encoded[listener.interest] = self._encoded(events, listener.interest)
            if batch := encoded[listener.interest]:
                self._hand_over(listener, batch)

    def listen(self, interest: Interest, *, since: str | None) -> Listener:
        """A new listener, with what it missed since the event of that id."""
        listener = Listener(interest)
        missed = self._missed(since) if since else []
        if missed is None:
            listener.queue.put_nowait(self._reset())
        elif missed and (batch := self._encoded(missed, interest)):
            listener.queue.put_nowait(batch)
        self.listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """It is gone."""
        self.listeners.discard(listener)

    def close(self) -> None:
        """End every stream."""
        for listener in self.listeners:
            while not listener.queue.empty():
                listener.queue.get_nowait()
            listener.queue.put_nowait(None)

    def _missed(self, since: str) -> list[Event] | None:
        """Events after that id; None when we do not know any more."""
        boot, _, number = since.partition("-")
        if boot != self.boot or not number.isdecimal() or int(number) > self._number:
            return None
        seen = int(number)
        forgotten = self._kept[0].number - 1 if len(self._kept) == KEPT else 0
        if seen < forgotten:
            return None
        return [event for event in self._kept if event.number > seen]

    def _hand_over(self, listener: Listener, batch: bytes) -> None:
        if listener.queue.qsize() >= WAITING:
            while not listener.queue.empty():
                listener.queue.get_nowait()
            self.overruns += 1
            batch = self._reset()
        listener.queue.put_nowait(batch)

    def _reset(self) -> bytes:
        return b"id: %s\nevent: reset\ndata: {}\n\n" % self.position.encode()

    def _encoded(self, events: Iterable[Event], interest: Interest) -> bytes:
        boot = self.boot.encode()
        return b"".join(
            b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (boot, event.number, event.kind.encode(), event.data)
            for event in events
            if interest.covers(event)
        )
