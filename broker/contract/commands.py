"""A relay command before it is sent: made, and judged by what the meter last told.

DESIGN guarantee 5: a command runs at most once, in time, or not at all. What is known to be in vain is
not sent, and told to the ledger as refused. Whoever issues commands, the CLI and the web, judges here.

>>> Known("3f2504e0-4f89-41d3-9a0c-0305e82c3301").obstacle(Position.OPEN)
'no such meter'
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import ValidationError

from broker.contract.birth import Birth
from broker.contract.block import Block
from broker.contract.enrolment import Access
from broker.contract.fleet import NO_SESSION, Session, Told
from broker.contract.messages import Message, utc_now
from broker.contract.relay import Command, Origin, Position, Relay
from broker.contract.result import Outcome, Result
from broker.contract.status import Status

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
NO_RELAY = "the meter has no relay"
NOT_ANSWERED = "the meter did not answer"


def became(result: Result | None, *, shows: Position | None, wanted: Position) -> str | None:
    """What became of a command, for all who issue one: the meter's outcome; None while it is waited for.

    It is done when the meter says so and its relay ``shows`` the position that was ``wanted``. When that does
    not come in time, :func:`in_vain` says why.
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


@dataclass
class Known(Told):
    """What is retained of a meter."""

    meter_id: str
    birth: Birth | None = None
    status: Status | None = None
    relay: Relay | None = None
    block: Block | None = None
    access: Access | None = None
    withdrawn: datetime | None = None
    session: Session = NO_SESSION
    relay_session: str = ""

    def __post_init__(self) -> None:
        self.begin()

    @property
    def name(self) -> str:
        """As its birth says; empty without one."""
        return self.birth.name if self.birth else ""

    def hear(self, kind: str, payload: bytes, *, live: bool) -> None:
        """One message of ``kind``, one of STATE_KINDS; what does not parse is as good as none."""
        with suppress(ValidationError):
            self.take(kind, payload, live=live)

    def obstacle(self, position: Position) -> str | None:
        """Why a command to ``position`` would be in vain; None if it would not."""
        what = "opening" if position is Position.OPEN else "closing"
        relay = self.relay
        rules = (
            (self.birth is None, "no such meter"),
            (self.birth is not None and not self.birth.relay, NO_RELAY),
            (self.kept_out is not None, "the meter is blocked by the registrar"),
            (not self.online, "the meter is offline"),
            (relay is None, "the meter has not told its relay's position"),
            (relay is not None and relay.local, "the relay is switched locally"),
            (self.block is not None and self.block.forbids(position), f"{what} is blocked"),
            (relay is not None and relay.position is position, f"the relay is {position} already"),
        )
        return next((reason for stands, reason in rules if stands), None)


def parsed(model: type[M], payload: bytes | None) -> M | None:
    """The message in ``payload``; None without one, or when it is not of the contract."""
    try:
        return model.model_validate_json(payload) if payload else None
    except ValidationError:
        return None


def new_command(position: Position, origin: Origin, *, command_id: str = "") -> Command:
    """A command of now; ``command_id`` is made up unless told."""
    now = utc_now()
    return Command(
        command_id=command_id or str(uuid.uuid4()),
        position=position,
        issued_at=now,
        expires_at=now + timedelta(seconds=VALIDITY),
        origin=origin,
    )
