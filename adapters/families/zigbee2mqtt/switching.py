"""One wish to switch a zigbee device, until the device itself has confirmed it.

zigbee2mqtt publishes the wished state at once, and each message holds the whole cached state: a report of
the power repeats the wish. So only an answer to ``/get`` confirms, and it looks like any other message:

1. After ``/set`` the first message with the wished position is the echo. It confirms nothing.
2. The echo makes us send ``/get``. (Without an echo for 2 s we send it too, and still wait for the echo.)
3. A message after that with the other position refutes: only the device's own answer turns the cache back.
   The relay is there, and the wish has ended.
4. A message after that with the wished position confirms when nothing has refuted it for 1 s: the answer to
   ``/get`` comes within that time, and a report in between may have repeated the wish.

An echo that is followed by the old state is therefore never "done". A wish ends after 10 s.

>>> wish = Wish(Position.OPEN, token="t", now=0.0)
>>> wish.heard(Position.OPEN, now=0.1), wish.heard(Position.OPEN, now=0.4), wish.due(1.0), wish.due(1.5)
(<Act.ECHO: 'echo'>, <Act.WAIT: 'wait'>, None, <Act.DONE: 'done'>)
>>> wish = Wish(Position.OPEN, token="t", now=0.0)
>>> wish.heard(Position.OPEN, now=0.1), wish.heard(Position.CLOSED, now=0.4)
(<Act.ECHO: 'echo'>, <Act.REFUTED: 'refuted'>)
"""

from __future__ import annotations

from enum import StrEnum

from broker.contract.relay import Position

NUDGE_SECONDS = 2.0
SETTLE_SECONDS = 1.0
END_SECONDS = 10.0


class Act(StrEnum):
    """What a message, or time, means for a wish."""

    ECHO = "echo"
    """It is the echo: ask the device now."""
    ASK = "ask"
    """No echo came: ask the device now."""
    WAIT = "wait"
    DONE = "done"
    REFUTED = "refuted"
    """The device answers that its relay is not where it was wished."""
    OVER = "over"
    """Nothing has confirmed it in time."""


class Wish:
    """``position`` was asked for with ``token`` at monotonic ``now``."""

    def __init__(self, position: Position, *, token: str, now: float) -> None:
        self.position, self.token = position, token
        self._since = now
        self._nudged = False
        self._echoed = False
        self._settled: float | None = None

    def heard(self, position: Position, *, now: float) -> Act:
        """A message with the relay's position."""
        wished = position is self.position
        if not self._echoed:
            if not wished:
                return Act.WAIT  # it was on its way before our wish
            self._echoed = True
            return Act.ECHO
        if not wished:
            return Act.REFUTED
        if self._settled is None:
            self._settled = now + SETTLE_SECONDS
        return Act.WAIT

    def due(self, now: float) -> Act | None:
        """What time has brought."""
        if self._settled is not None and now >= self._settled:
            return Act.DONE
        if now >= self._since + END_SECONDS:
            return Act.OVER
        if not self._echoed and not self._nudged and now >= self._since + NUDGE_SECONDS:
            self._nudged = True
            return Act.ASK
        return None
