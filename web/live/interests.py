"""Listeners by interest, found by an event's meter and address code, without a look at the others.

>>> interests = Interests()
>>> interests.add(listener := Listener(Interest(meters=frozenset({"3f25"}))))
>>> events = [Event(1, "meter", b"id: 1", "3f25"), Event(2, "meter", b"id: 2", "77aa")]
>>> list(interests.sorted(events).values())
[[b'id: 1']]
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

WAITING = 16
"""Gatherings that may wait for one listener, 3 s of them."""
Key = tuple[str, str]
EVERY_METER: Key = ("", "")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; ``frame`` is what every listener gets of it, and exists once."""

    number: int
    kind: str
    frame: bytes
    meter_id: str = ""
    address_code: str = ""
    left: bool = False
    """The meter has left this address code and is in service: only listeners of the code get this."""


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
        if self.address_code is None:
            return not event.left
        return event.address_code == self.address_code

    def places(self) -> list[Key]:
        """Where it is looked for: at its meters, else at its address code, else at every meter."""
        if self.meters:
            return [("meter", meter_id) for meter_id in self.meters]
        return [EVERY_METER] if self.address_code is None else [("address_code", self.address_code)]


@dataclass(eq=False)
class Listener:
    """One stream; frames wait in its queue, None is its end."""

    interest: Interest
    queue: asyncio.Queue[Sequence[bytes] | None] = field(default_factory=lambda: asyncio.Queue(WAITING + 1))


@dataclass(eq=False)
class Audience:
    """All listeners with the same interest."""

    interest: Interest
    listeners: set[Listener] = field(default_factory=set)


class Interests:
    """The listeners by what they want."""

    def __init__(self) -> None:
        self._audiences: dict[Interest, Audience] = {}
        self._index: defaultdict[Key, set[Audience]] = defaultdict(set)

    def sorted(self, events: Iterable[Event]) -> dict[Audience, list[bytes]]:
        """The frames for each audience that any of ``events`` is for."""
        found: defaultdict[Audience, list[bytes]] = defaultdict(list)
        for event in events:
            for audience in self._near(event):
                if audience.interest.covers(event):
                    found[audience].append(event.frame)
        return found

    def _near(self, event: Event) -> Iterable[Audience]:
        """All whom ``event`` may be for, each once: an interest has keys of one kind."""
        if not event.meter_id:
            return self._audiences.values()
        keys = (EVERY_METER, ("meter", event.meter_id), ("address_code", event.address_code))
        return chain.from_iterable(self._index[key] for key in keys if key in self._index)

    def add(self, listener: Listener) -> None:
        """It listens from now on."""
        interest = listener.interest
        if interest not in self._audiences:
            self._audiences[interest] = Audience(interest)
            for key in interest.places():
                self._index[key].add(self._audiences[interest])
        self._audiences[interest].listeners.add(listener)

    def discard(self, listener: Listener) -> None:
        """It listens no more; once or again."""
        audience = self._audiences.get(listener.interest)
        if audience is None:
            return
        audience.listeners.discard(listener)
        if audience.listeners:
            return
        del self._audiences[listener.interest]
        for key in listener.interest.places():
            self._index[key].discard(audience)
            if not self._index[key]:
                del self._index[key]
