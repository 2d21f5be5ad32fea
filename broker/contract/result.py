"""What became of a command: the meter's result, or the refusal of a service."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, WrapValidator

from broker.contract.block import Block
from broker.contract.messages import IF_BAD, Message, Text, Timestamp, Token
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

    A meter publishes it again until the bridge has confirmed it (`recorded`), for 30 days at most. Of results
    for a bridge that confirms none only those of the last ten minutes come again, at each new connection.
    """

    command_id: Token
    outcome: Annotated[Outcome | Token, Field(union_mode="left_to_right")]
    """An :class:`Outcome`, or one that a newer meter knows."""
    reason: Text = ""
    """Empty when done; otherwise one line for a human."""
    cause: Annotated[Token | None, IF_BAD] = None
    """The same for programs where they need it: ``blocked``, ``local``, ``position-reached``, or one that
    a newer meter knows."""
    position: Annotated[Position | None, IF_BAD] = None
    """Of the command, as are the next three: enough for the record of a command that nobody else has seen.
    One of them that cannot be read costs itself, not the record of what the meter did."""
    origin: Annotated[Origin | None, WrapValidator(origin_as_far_as_legible)] = None
    issued_at: Annotated[Timestamp | None, IF_BAD] = None
    expires_at: Annotated[Timestamp | None, IF_BAD] = None
    ts: Timestamp


class Refusal(Message):
    """A service refused a command, or a change of the block, before it was sent: a record for the ledger.

    Also when it lost the broker while it sent: the meter may have it then, and its Result counts more.
    """

    meter_id: str
    command: Command | None = None
    block: Block | None = None
    """Instead of a command."""
    reason: Text
    ts: Timestamp
