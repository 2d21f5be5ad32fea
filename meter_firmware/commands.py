"""The rules for a relay command: obeyed at most once, in time, or not at all.

``read`` makes a command of a payload, ``refusal`` is the table of what speaks against it. Both are
pure; :mod:`meter_firmware.switch` acts on their verdict.

>>> try:
...     read(b'{"command_id":"c1","position":"ajar"}')
... except UnreadableCommandError as error:
...     error.command_id
'c1'
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from broker.errors import ContractError
from broker.messages import MAX_COMMAND_VALIDITY, Block, Cause, Command, Outcome, Position, Relay
from broker.validation import first_complaint

CLOCK_TOLERANCE = timedelta(seconds=5)
"""A command issued further ahead of our clock than this means that one of the clocks is wrong."""
OPERATIONS = 10
PERIOD = 10.0
"""Seconds; in any such time the relay is switched :data:`OPERATIONS` times at most."""
MAX_PAYLOAD = Command.MAX_BYTES
"""A command takes about 300."""


class UnreadableCommandError(ContractError):
    """The payload is no command; ``command_id`` is who to answer, if that much could be read."""

    def __init__(self, reason: str, *, command_id: str | None = None) -> None:
        super().__init__(reason)
        self.command_id = command_id


@dataclass(frozen=True)
class Circumstances:
    """All that a verdict depends on, besides the command."""

    now: datetime
    relay: Relay
    block: Block | None = None
    """None when nothing was ever blocked or released."""
    retained: bool = False
    repeated: bool = False
    hasty: bool = False
    """The relay has switched as often just now as it may; its contacts are to be spared."""
    overloaded: bool = False
    """The ids of a day's worth of commands are kept; there is no room for more."""


@dataclass(frozen=True)
class Verdict:
    """Why a command is not obeyed."""

    outcome: Outcome
    reason: str
    cause: Cause | None = None
    """For programs, where they can tell more of it than that it was refused."""


def read(payload: bytes) -> Command:
    """The command in ``payload``; UnreadableCommandError says what is wrong with it."""
    try:
        return Command.model_validate_json(payload)
    except ValidationError as error:
        raise UnreadableCommandError(
            f"malformed: {_complaint(error)}",
            command_id=Command.claimed_id(payload) if len(payload) <= MAX_PAYLOAD else None,
        ) from error


def _complaint(error: ValidationError) -> str:
    match error.errors(include_url=False, include_input=False)[0]["type"]:
        case "json_invalid":
            return f"not JSON ({first_complaint(error)})"
        case "too_large":
            return f"too long for a command: {first_complaint(error)}"
    return first_complaint(error)


def refusal(command: Command, given: Circumstances) -> Verdict | None:
    """The first rule that speaks against obeying ``command``; None if nothing does."""
    validity = command.expires_at - command.issued_at
    ahead = command.issued_at - given.now
    refused, position = Outcome.REFUSED, given.relay.position
    late, longest = given.now - command.expires_at, MAX_COMMAND_VALIDITY.total_seconds()
    blocked = given.block is not None and given.block.forbids(command.position)
    what = "opening" if command.position is Position.OPEN else "closing"
    # fmt: off
    rules: tuple[tuple[Any, ...], ...] = (
        (given.retained, refused, "retained: a command must not be retained"),
        (given.repeated, refused, "repeated: this command_id was received before"),
        (given.overloaded, refused, "too many commands in one day"),
        (late >= timedelta(0), Outcome.EXPIRED, f"expired {late.total_seconds():.1f} s ago"),
        (ahead > CLOCK_TOLERANCE, refused,
         f"clock doubt: issued {ahead.total_seconds():.1f} s ahead of the meter's clock"),
        (validity <= timedelta(0), refused, "malformed: expires before it is issued"),
        (validity > MAX_COMMAND_VALIDITY, refused,
         f"valid for {validity.total_seconds():g} s: at most {longest:g} s are allowed"),
        (given.relay.local, refused, "local: only a hand at the meter may switch", Cause.LOCAL),
        (blocked, refused, f"{what} is blocked", Cause.BLOCKED),
        (given.hasty, refused, f"too often: the relay switches {OPERATIONS} times in {PERIOD:g} s at most"),
        (command.position is position, refused, f"position reached: the relay is {position} already",
         Cause.POSITION_REACHED),
    )
    # fmt: on
    return next((Verdict(*verdict) for applies, *verdict in rules if applies), None)
