"""What stands against a control, and the AddCause that says so (IEC 61850-7-2, AddCause; 7-4, Annex A).

Pure: a meter's state and the client's wish in, the first objection out. The same table answers select
and operate, so that what changed between them is seen; the meter looks once more for itself.

>>> against_switching(meter, None, Circumstances(authorized=True, broker_up=False))        # doctest: +SKIP
Objection(cause=<AddCause.BLOCKED_BY_HEALTH: 13>, reason='the broker is away')
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from broker.contract.commands import NO_RELAY
from broker.contract.messages import Cause, Outcome, Position, Result
from mms_bridge.libiec61850.bindings import AddCause
from mms_bridge.mqtt.fleet import Behaviour, MeterState


class Objection(NamedTuple):
    """Why not, for the client and for the ledger."""

    cause: AddCause
    reason: str


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What an objection depends on, besides the meter and the position."""

    authorized: bool
    """The client may operate."""
    broker_up: bool = True
    test: bool = False
    """The client's Test flag."""
    running: bool = False
    """A control of this meter is under way."""
    taken: bool = False
    """Another client, or the same one on another association, has selected the meter."""


Rule = tuple[bool, AddCause, str]


def against_switching(meter: MeterState, position: Position | None, given: Circumstances) -> Objection | None:
    """The first objection to bringing the relay into ``position`` (None: a select that names none)."""
    return _first(_switching(meter, position, given))


def against_blocking(meter: MeterState, given: Circumstances) -> Objection | None:
    """The first objection to setting a block; a meter that is offline hears of it when it is back."""
    return _first(_everywhere(meter, given))


def _first(rules: Iterator[Rule]) -> Objection | None:
    return next((Objection(cause, reason) for stands, cause, reason in rules if stands), None)


def _everywhere(meter: MeterState, given: Circumstances) -> Iterator[Rule]:
    yield not given.authorized, AddCause.NO_ACCESS_AUTHORITY, "the client may only observe"
    without = meter.birth is not None and not meter.birth.relay  # served by a generation from before
    yield without, AddCause.NOT_SUPPORTED, NO_RELAY
    yield given.test, AddCause.BLOCKED_BY_MODE, "a test command never moves a relay"
    beh = meter.behaviour
    yield beh is not Behaviour.ON, AddCause.BLOCKED_BY_MODE, f"Beh is {beh.name.lower().replace('_', '/')}"
    yield not given.broker_up, AddCause.BLOCKED_BY_HEALTH, "the broker is away"
    yield given.running, AddCause.COMMAND_ALREADY_IN_EXECUTION, "a command is under way"


def _switching(meter: MeterState, position: Position | None, given: Circumstances) -> Iterator[Rule]:
    *first, running = _everywhere(meter, given)
    yield from first
    yield not meter.online, AddCause.BLOCKED_BY_HEALTH, "the meter is offline"
    yield meter.relay is None, AddCause.INVALID_POSITION, "the relay's position is not known"
    local = meter.relay is not None and meter.relay.local
    yield local, AddCause.BLOCKED_BY_SWITCHING_HIERARCHY, "the relay is switched locally"
    # whatever the interlock bit of Check says: the meter would refuse it anyway
    blocked = position is not None and meter.block is not None and meter.block.forbids(position)
    what = "opening" if position is Position.OPEN else "closing"
    yield blocked, AddCause.BLOCKED_BY_INTERLOCKING, f"{what} is blocked"
    reached = position is not None and meter.position is position
    yield reached, AddCause.POSITION_REACHED, f"the relay is {position} already"
    yield running
    yield given.taken, AddCause.OBJECT_ALREADY_SELECTED, "another client has selected it"


_BY_CAUSE = {
    Cause.BLOCKED: AddCause.BLOCKED_BY_INTERLOCKING,
    Cause.LOCAL: AddCause.BLOCKED_BY_SWITCHING_HIERARCHY,
    Cause.POSITION_REACHED: AddCause.POSITION_REACHED,
}
_BY_OUTCOME = {
    Outcome.REFUSED: AddCause.BLOCKED_BY_PROCESS,
    Outcome.EXPIRED: AddCause.TIME_LIMIT_OVER,
    Outcome.FAILED: AddCause.BLOCKED_BY_HEALTH,
}


def add_cause(result: Result) -> AddCause:
    """What a meter's negative answer is in MMS; blocked-by-process for an outcome that we do not know."""
    for cause, found in _BY_CAUSE.items():
        if result.cause == cause:
            return found
    for outcome, found in _BY_OUTCOME.items():
        if result.outcome == outcome:
            return found
    return AddCause.BLOCKED_BY_PROCESS
