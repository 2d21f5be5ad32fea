"""A relay command before it is sent: when it is refused, how it is made, and what became of it.

DESIGN guarantee 5: a command runs at most once, in time, or not at all. One rule for all who issue commands,
MMS bridge, web and CLI: what is known to be in vain is not sent, and recorded in the ledger as refused. The
meter judges once more for itself (`meter_firmware.relay.rules`).

>>> against_switching(Known("3f2504e0-4f89-41d3-9a0c-0305e82c3301"), Position.OPEN)
Objection(why=<Why.NO_METER: 'no such meter'>, reason='no such meter')
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from broker.contract.known import Known
from broker.contract.messages import Message, utc_now
from broker.contract.relay import Command, Origin, Position
from broker.contract.result import Outcome, Result

M = TypeVar("M", bound=Message)
VALIDITY = 5
"""Seconds in which the meter must have the command."""
GRACE = 3.0
"""Seconds more to answer and to move the relay."""
ANSWER_SECONDS = VALIDITY + GRACE
"""After so long without an answer the CLI and the web say that there is none."""
MARGIN = 0.5
"""Seconds at least from the end of a command's validity until its issuer is told no: for the meter to act,
for its answer's way back, and for what the clocks of issuer and bridge differ. MMS with a limit below 5 s: a
tenth of that."""

NOT_MOVED = "the meter answered done, but its relay did not move"
NOT_ANSWERED = "the meter did not answer"
TIMED_OUT = "timed out"
"""The outcome of a command that no meter has carried out in its time."""


class Why(StrEnum):
    """Why a command is refused before it is sent, in the order in which that is looked at."""

    NOT_ALLOWED = "the client may only observe"
    LATE = "the order came after its expires_at, by our clock"
    NO_RELAY = "the meter has no relay"
    TEST = "a test command never moves a relay"
    WITHDRAWN = "the meter is out of service"
    NO_METER = "no such meter"
    KEPT_OUT = "the meter is blocked by the registrar"
    BROKER_AWAY = "the broker is away"
    OFFLINE = "the meter is offline"
    POSITION_UNKNOWN = "the relay's position is not known"
    LOCAL = "the relay is switched locally"
    BLOCKED = "{operation} is blocked"
    UNDER_WAY = "another command is under way"
    REACHED = "the relay is {position} already"
    SELECTED = "another client has selected it"


class Objection(NamedTuple):
    """Why not, for programs, and in words for the client and for the ledger."""

    why: Why
    reason: str


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What an objection depends on, besides the meter and the position."""

    authorized: bool = True
    """The client may operate."""
    late: bool = False
    """The client's own limit has passed."""
    broker_up: bool = True
    test: bool = False
    """The client's Test flag."""
    running: bool = False
    """Another command of the issuer's is under way to this meter."""
    taken: bool = False
    """Another client, or the same one on another association, has selected the meter."""


USUAL = Circumstances()


def against_switching(
    meter: Known, position: Position | None, given: Circumstances = USUAL
) -> Objection | None:
    """The first objection to bringing the relay into ``position`` (None: a select that names none)."""
    return _first((*_everywhere(meter, given), *_switching(meter, position, given)), position)


def against_blocking(meter: Known, given: Circumstances = USUAL) -> Objection | None:
    """The first objection to setting a block; a meter that is offline gets it when it is back."""
    return _first((*_everywhere(meter, given), (given.running, Why.UNDER_WAY)), None)


Rule = tuple[bool, Why]


def _first(rules: tuple[Rule, ...], position: Position | None) -> Objection | None:
    operation = "opening" if position is Position.OPEN else "closing"
    found = next((why for stands, why in rules if stands), None)
    return (
        None
        if found is None
        else Objection(found, found.value.format(operation=operation, position=position))
    )


def _everywhere(meter: Known, given: Circumstances) -> Iterator[Rule]:
    yield not given.authorized, Why.NOT_ALLOWED
    yield given.late, Why.LATE
    yield meter.birth is not None and not meter.birth.relay, Why.NO_RELAY
    yield given.test, Why.TEST
    yield meter.withdrawn is not None, Why.WITHDRAWN
    yield meter.birth is None, Why.NO_METER
    yield meter.kept_out is not None, Why.KEPT_OUT
    yield not given.broker_up, Why.BROKER_AWAY


def _switching(meter: Known, position: Position | None, given: Circumstances) -> Iterator[Rule]:
    relay, block = meter.relay, meter.block
    yield not meter.online, Why.OFFLINE
    yield relay is None, Why.POSITION_UNKNOWN
    yield relay is not None and relay.local, Why.LOCAL
    # whatever the interlock bit of Check in MMS says: the meter would refuse it anyway
    yield position is not None and block is not None and block.forbids(position), Why.BLOCKED
    yield given.running, Why.UNDER_WAY
    yield position is not None and meter.position is position, Why.REACHED
    yield given.taken, Why.SELECTED


def became(result: Result | None, *, shows: Position | None, wanted: Position) -> str | None:
    """What became of a command, for all who issue one: the meter's outcome; None while it is waited for.

    It is done when the meter answers done and its relay ``shows`` the position that was ``wanted``. When that
    does not come in time, :func:`in_vain` gives the reason.
    """
    if result is None or (result.outcome == Outcome.DONE and shows is not wanted):
        return None
    return str(result.outcome)


def in_vain(*, answered: bool) -> str:
    """Why a command has timed out: without an answer, or though the meter ``answered`` that it is done."""
    return NOT_MOVED if answered else NOT_ANSWERED


def mms_validity(limit: float) -> float:
    """Seconds for which a command over MMS is valid; ``limit`` are those that an operate may take."""
    return 0.8 * limit


def mms_end(limit: float) -> float:
    """Seconds after which an operate without an answer ends: the client's own limit has not passed then."""
    return 0.9 * limit


def parsed(model: type[M], payload: bytes | None) -> M | None:
    """The message in ``payload``; None without one, or when it is not of the contract."""
    try:
        return model.model_validate_json(payload) if payload else None
    except ValidationError:
        return None


def new_command(
    position: Position, origin: Origin, *, command_id: str = "", seconds: float = VALIDITY
) -> Command:
    """A command of now, valid for so many seconds; without a ``command_id`` it gets a random one."""
    now = utc_now()
    return Command(
        command_id=command_id or str(uuid.uuid4()),
        position=position,
        issued_at=now,
        expires_at=now + timedelta(seconds=seconds),
        origin=origin,
    )
