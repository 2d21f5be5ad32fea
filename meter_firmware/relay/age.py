"""How old a message can be when it is acted on, by clocks that nobody sets.

Two wall clocks tell the age of a command only as well as they agree, and a meter may stand still (a stopped
process, a starved machine) while a message waits for it. Two things bound the age without trust in our own
wall clock:

- :class:`Heartbeat`: an event loop that runs reads its sockets. A message that is read now has come to this
  machine after the last beat but one.
- :class:`BridgeTime`: the bridge answers each reading with its own time, at a moment between our publishing
  and its answer. So the monotonic clock tells what time it is there now, at the latest.

>>> time = BridgeTime()
>>> time.told(datetime(2026, 11, 23, 12, tzinfo=UTC), asked=100.0, heard=100.2)
>>> time.latest(now=103.0).isoformat()
'2026-11-23T12:00:03+00:00'
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta  # noqa: F401 - UTC is for the example
from time import monotonic
from typing import ClassVar
from weakref import WeakKeyDictionary

import aiomqtt

BEAT = 0.25
"""Seconds between two beats."""
MOST_UNCERTAIN = 1.0
"""Seconds from question to answer; an answer that took longer tells too little of the bridge's time."""


TRUSTED = 3600.0
"""Seconds for which the monotonic clock goes on from the bridge's time: it drifts 0.4 s in them at most."""


class Heartbeat:
    """Beats while its event loop turns; one for all meters of a process."""

    _of_loop: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Heartbeat]] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._beats = (monotonic(), monotonic())
        loop.call_later(BEAT, self._beat)

    @classmethod
    def here(cls) -> Heartbeat:
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        found = cls._of_loop.get(loop)
        if found is None:
            found = cls._of_loop[loop] = cls(loop)
        return found

    @property
    def arrived_after(self) -> float:
        """Monotonic seconds: what is read now has come to this machine later.

        The last beat alone would not do: after a standstill it may come before all that waits is read.
        """
        return self._beats[0]

    def _beat(self) -> None:
        self._beats = (self._beats[1], monotonic())
        self._loop.call_later(BEAT, self._beat)


class Arrivals(asyncio.Queue[aiomqtt.Message]):
    """aiomqtt's queue of messages; each is marked with the time after which it has come."""

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Called when the message has been read from the socket."""
        vars(item)["arrived_after"] = Heartbeat.here().arrived_after
        super().put_nowait(item)


def arrived_after(message: aiomqtt.Message) -> float:
    """Monotonic seconds: the message has come to this machine later."""
    return float(vars(message)["arrived_after"])


class BridgeTime:
    """What time it is by the bridge's clock, at the latest."""

    def __init__(self) -> None:
        self._told: tuple[datetime, float] | None = None

    def told(self, ts: datetime, *, asked: float, heard: float) -> None:
        """The bridge's clock said ``ts`` at some moment from ``asked`` to ``heard``, monotonic seconds."""
        if heard - asked <= MOST_UNCERTAIN:
            self._told = ts, asked

    def latest(self, *, now: float) -> datetime | None:
        """At most so late is it there at ``now``; None while nothing is known."""
        if self._told is None:
            return None
        ts, asked = self._told
        if now - asked > TRUSTED:
            return None
        return ts + timedelta(seconds=now - asked)
