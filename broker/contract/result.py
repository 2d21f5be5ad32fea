"""What became of a command: the meter's result, or the refusal of a service."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, WrapValidator

from broker.contract.block import Block
from broker.contract.messages import (
    IF_BAD,
    IfBad,
    Line,
    Message,
    Timestamp,
    Token,
    legible_json,
    utc_now,
    whole,
)
from broker.contract.relay import Command, Origin, Position, origin_as_far_as_legible


class Outcome(StrEnum):
    """What became of a command."""

    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"
    FAILED = "failed"


class Cause(StrEnum):
    """Why a meter has refused, for programs: MMS makes its AddCause of it."""

    BLOCKED = "blocked"
    LOCAL = "local"
    POSITION_REACHED = "position-reached"


class Result(Message):
    """The meter's answer to one command. Not retained.

    The outcome counts although its explanation cannot be read: a ``done`` ends the ledger's entry as done.

    A meter publishes it again until the bridge has confirmed it (`recorded`), for 30 days at most. Of results
    for a bridge that confirms none only those of the last ten minutes come again, at each new connection.
    """

    command_id: Token
    outcome: Annotated[Outcome | Token, Field(union_mode="left_to_right")]
    """An :class:`Outcome`, or one that a newer meter knows."""
    reason: Line = ""
    """Empty when done."""
    cause: Annotated[Token | None, IF_BAD] = None
    """The same for programs where they need it: ``blocked``, ``local``, ``position-reached``, or one that
    a newer meter knows."""
    position: Annotated[Position | None, IF_BAD] = None
    """Of the command, as are the next three: enough for the record of a command that nobody else has seen.
    One of them that cannot be read costs itself, not the record of what the meter did."""
    origin: Annotated[Origin | None, WrapValidator(origin_as_far_as_legible)] = None
    issued_at: Annotated[Timestamp | None, IF_BAD] = None
    expires_at: Annotated[Timestamp | None, IF_BAD] = None
    ts: Annotated[Timestamp, IfBad(utc_now)]
    """When it was done or refused; one that cannot be read counts as now."""

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As of any message, or the readable part; ValidationError without command_id or outcome."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError:
            told = legible_json(whole(json_data)) if len(json_data) <= cls.MAX_BYTES else {}
            with suppress(ValidationError):
                return cls.model_validate(told)
            raise


class Refusal(Message):
    """A service refused a command, or a change of the block, before it was sent: a record for the ledger.

    Also when it lost the broker while it sent: the meter may have it then, and its Result counts more.
    """

    meter_id: str
    command: Command | None = None
    block: Block | None = None
    """Instead of a command."""
    reason: Line
    ts: Timestamp
