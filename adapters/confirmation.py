"""Whether a device has done what it was asked to: only the device itself says so.

An echo of the wish proves nothing, nor does an answer to somebody else's request, nor the old position.

>>> request = Request(Position.OPEN, token="c1")
>>> request.switched(Switched("a0", Position.OPEN, confirmed=False))
>>> request.outcome is None
True
>>> request.switched(Switched("a0", Position.OPEN))
>>> request.outcome.done
True
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.family import Refused, Switched
from broker.contract.relay import Position

LIMIT = 5.0
"""Seconds for which a confirmation is awaited, within the command's validity."""


@dataclass(frozen=True)
class Verdict:
    """What the device has answered; ``reason`` is empty when it has done it."""

    reason: str = ""

    @property
    def done(self) -> bool:
        """The device has confirmed the position."""
        return not self.reason


class Request:
    """One request to switch; the first answer that counts is its ``outcome``."""

    def __init__(self, position: Position, *, token: str) -> None:
        self.position = position
        self.token = token
        self.outcome: Verdict | None = None
        self._told = ""

    def switched(self, event: Switched) -> None:
        """The device, or something before it, tells a position."""
        if event.token not in (None, self.token):
            return
        if event.confirmed and event.position is self.position:
            self._end(Verdict())
        elif event.confirmed:
            self._told = f": it says that it is {event.position}"

    def refused(self, event: Refused) -> None:
        """The device does not want to."""
        if event.token in (None, self.token):
            self._end(Verdict(f"the device refuses: {event.reason or 'it gives no reason'}"[:255]))

    def unanswered(self, seconds: float) -> Verdict:
        """What to say after so long: the answer, or that there is none."""
        return self.outcome or Verdict(f"the device did not confirm within {seconds:.1f} s{self._told}")

    def _end(self, verdict: Verdict) -> None:
        self.outcome = self.outcome or verdict
