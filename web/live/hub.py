"""Live events for any number of listeners: collected for a fifth of a second, encoded once, with limits.

A meter's event is its newest state; of several in one collection only the last is sent, and so is one event
for all changes of alarms: in a storm there are thousands. Commands and all other events are sent
individually. An event's id is ``<boot>-<number>``: a client that returns with its last id gets the missed
events, if we still have them (:data:`KEPT` events), else ``reset``: then it must read the state again. A
listener that is too slow gets ``reset`` too, and its waiting events are dropped.

>>> hub = Hub()
>>> listener = hub.listen(Interest(), since=None)
>>> hub.tell("meter", b'{"power":21.3}', meter_id="3f25")
>>> hub.flush()
>>> [frame] = listener.queue.get_nowait()
>>> frame.splitlines()[1:3]
[b'event: meter', b'data: {"power":21.3}']
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from web.live.interests import WAITING, Event, Interest, Interests, Listener

TICK = 0.2
"""Seconds that events are gathered."""
KEPT = 20_000
"""Events kept for clients that return: 20 s at 1,000 readings/s."""
_NEWEST = frozenset({"meter", "alarms"})
"""Kinds of which the last event in a collection tells everything: of each meter, or of all together."""
PIECE = 256 * 1024
"""Octets that are written at once; a gathering at 1,000 readings/s is a third of it."""


def joined(frames: Iterable[bytes]) -> Iterator[bytes]:
    """The frames as few pieces for the socket; what is a piece already is not copied."""
    waiting, size = list[bytes](), 0
    for frame in frames:
        if waiting and size + len(frame) > PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(frame)
        size += len(frame)
    if waiting:
        yield b"".join(waiting)


class Hub:
    """Hands events to listeners; everything in the event loop's thread."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.overruns = 0
        """How often a listener was too slow."""
        self.boot = secrets.token_hex(4)
        """Tells our ids from those of the process before us."""
        self._interests = Interests()
        self._number = 0
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._gathered: dict[tuple[str, str | int], Event] = {}

    @property
    def position(self) -> str:
        """Id of the newest event: a client that listens from here on misses nothing."""
        return f"{self.boot}-{self._number}"

    def tell(
        self, kind: str, data: bytes, *, meter_id: str = "", address_code: str = "", left: bool = False
    ) -> None:
        """Something happened; see :class:`~web.live.interests.Event`."""
        self._number += 1
        boot = self.boot.encode()
        frame = b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (boot, self._number, kind.encode(), data)
        event = Event(self._number, kind, frame, meter_id, address_code, left)
        key: tuple[str, str | int] = (kind, meter_id) if kind in _NEWEST else (kind, self._number)
        self._gathered.pop(key, None)  # so that numbers go up
        self._gathered[key] = event

    def flush(self) -> None:
        """Hand over the collected events; listeners with the same interest share the pieces."""
        events = list(self._gathered.values())
        self._gathered.clear()
        self._kept.extend(events)
        for audience, frames in self._interests.sorted(events).items():
            batch = list(joined(frames)) if len(audience.listeners) > 1 else frames
            for listener in audience.listeners:
                self._hand_over(listener, batch)

    def listen(self, interest: Interest, *, since: str | None) -> Listener:
        """A new listener, with what it missed since the event of that id."""
        listener = Listener(interest)
        missed = self._missed(since) if since else []
        if missed is None:
            listener.queue.put_nowait([self._reset()])
        elif frames := [event.frame for event in missed if interest.covers(event)]:
            listener.queue.put_nowait(frames)
        self.listeners.add(listener)
        self._interests.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """It is gone."""
        self.listeners.discard(listener)
        self._interests.discard(listener)

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

    def _hand_over(self, listener: Listener, batch: Sequence[bytes]) -> None:
        if listener.queue.qsize() >= WAITING:
            while not listener.queue.empty():
                listener.queue.get_nowait()
            self.overruns += 1
            batch = [self._reset()]
        listener.queue.put_nowait(batch)

    def _reset(self) -> bytes:
        return b"id: %s\nevent: reset\ndata: {}\n\n" % self.position.encode()
