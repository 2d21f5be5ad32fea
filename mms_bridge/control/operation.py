"""Operates that are under way: what each waits for, and how it ends.

The library asks again and again until the answer is not WAITING. What is asked of the meter is told to
the client only when the meter has said it, and what is asked of the broker when the broker told it back.

>>> operation.outcome(now=0.0)        # doctest: +SKIP
(<HandlerResult.WAITING: 2>, None)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from broker.contract.block import Block
from broker.contract.commands import became
from broker.contract.fleet import Fleet, MeterState
from broker.contract.relay import Command
from broker.contract.result import Outcome, Result
from mms_bridge.control.checks import add_cause
from mms_bridge.libiec61850.bindings import AddCause, HandlerResult

End = tuple[HandlerResult, AddCause | None]
WAITING: End = (HandlerResult.WAITING, None)
OK: End = (HandlerResult.OK, None)

GRACE = 0.5
"""Seconds after the deadline in which an operate whose client has gone still keeps others out; also after the
library last asked, when it has ended before."""
ASKED_AGAIN = 0.0102
"""Seconds after WAITING before the library asks again, by its clock of whole milliseconds."""


class Operation(Protocol):
    """An accepted operate, from the check to the termination."""

    owner: int
    """The library's control object that was operated: its handler alone may go on."""
    deadline: float
    """Loop time."""
    meter: MeterState
    sent: bool
    asked: float
    """Loop time of the last time that the library asked how it goes."""

    def send(self) -> None:
        """Hand it over to the MQTT side, once."""

    def outcome(self, now: float) -> End:
        """OK; FAILED with the cause; or WAITING."""


def runs(operation: Operation, now: float, *, ticked: bool = False) -> bool:
    """Whether its client was not told yet, and can still be told.

    Who has just ticked the servers knows more: with its client there the library would have asked.
    """
    if now >= operation.deadline + GRACE:
        return False
    unasked = ticked and operation.sent and now >= operation.asked + GRACE
    return not unasked or operation.outcome(now)[0] is HandlerResult.WAITING


@dataclass
class Switching:
    """A command that is on its way to the meter."""

    owner: int
    deadline: float
    meter: MeterState
    fleet: Fleet
    command: Command
    publish: Callable[[tuple[str, Command]], None]
    sent: bool = False
    asked: float = 0.0
    result: Result | None = None

    def send(self) -> None:
        """The command, as MQTT message."""
        self.publish((self.meter.meter_id, self.command))

    def outcome(self, now: float) -> End:
        """OK when the meter said done and its relay shows it; FAILED with the cause; or WAITING."""
        told = became(self.result, shows=self.meter.position, wanted=self.command.position)
        if told == Outcome.DONE:
            return OK
        if told is not None and self.result is not None:
            return HandlerResult.FAILED, add_cause(self.result)
        if now < self.deadline:
            return WAITING
        lost = not (self.fleet.broker_up and self.meter.online)
        return HandlerResult.FAILED, (
            AddCause.ABORTION_BY_COMMUNICATION_LOSS if lost else AddCause.TIME_LIMIT_OVER
        )


@dataclass
class Blocking:
    """A block that the broker has not told back yet, or that the bridge has not put into the ledger."""

    owner: int
    deadline: float
    meter: MeterState
    fleet: Fleet
    block: Block
    publish: Callable[[tuple[str, Block]], None]
    sent: bool = False
    asked: float = 0.0
    recorded: bool = False

    def send(self) -> None:
        """The block, as retained MQTT message."""
        self.publish((self.meter.meter_id, self.block))

    def outcome(self, now: float) -> End:
        """OK when broker and ledger have it, so that it holds; FAILED when they never said so."""
        recorded = self.recorded or not self.fleet.bridges  # where there was never one, there is no ledger
        if recorded and self.block.merged(self.meter.block) == self.meter.block:
            return OK
        if now < self.deadline:
            return WAITING
        lost = not self.fleet.broker_up
        return HandlerResult.FAILED, (
            AddCause.ABORTION_BY_COMMUNICATION_LOSS if lost else AddCause.TIME_LIMIT_OVER
        )
