"""The rules for a relay command: obeyed at most once, in time, or not at all.

``read`` makes a command of a payload, ``refusal`` is the table of what speaks against it. Both are
pure; :mod:`meter_firmware.relay.switch` acts on their verdict.

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

from broker.contract.block import Block
from broker.contract.errors import ContractError
from broker.contract.messages import MAX_COMMAND_VALIDITY
from broker.contract.relay import Command, Position, Relay
from broker.contract.result import Cause, Outcome
from broker.validation import first_complaint

CLOCK_TOLERANCE = timedelta(seconds=5)
"""A command issued further ahead of our clock than this means that one of the clocks is wrong."""
WAITED_SHARE = 0.75
"""Of its validity that a command may have waited in this machine (docs/architecture.md has the sum)."""
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
    relay: Relay | None
    """None: there is none."""
    position_known: bool = True
    """False: its position is one of the past."""
    block: Block | None = None
    """None when nothing was ever blocked or released."""
    block_unknown: bool = False
    """The broker may have lost a newer one, and the bridge has not said yet that it has not."""
    bridge_time: datetime | None = None
    """By the bridge's clock it is no later than this; None when that is not known."""
    waited: float = 0.0
    """Seconds for which the command may have waited in this machine, by the clock that nobody sets."""
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
    refused, relay = Outcome.REFUSED, given.relay
    late = max(given.now, given.bridge_time or given.now) - command.expires_at
    whose = " by the bridge's clock" if given.now < command.expires_at else ""
    longest = MAX_COMMAND_VALIDITY.total_seconds()
    blocked = given.block is not None and given.block.forbids(command.position)
    what = "opening" if command.position is Position.OPEN else "closing"
    # fmt: off
    rules: tuple[tuple[Any, ...], ...] = (
        (given.retained, refused, "retained: a command must not be retained"),
        (given.repeated, refused, "repeated: this command_id was received before"),
        (relay is None, refused, "this meter has no relay"),
        (given.overloaded, refused, "too many commands in one day"),
        (late >= timedelta(0), Outcome.EXPIRED, f"expired {late.total_seconds():.1f} s ago{whose}"),
        (ahead > CLOCK_TOLERANCE, refused,
         f"clock doubt: issued {ahead.total_seconds():.1f} s ahead of the meter's clock"),
        (validity <= timedelta(0), refused, "malformed: expires before it is issued"),
        (validity > MAX_COMMAND_VALIDITY, refused,
         f"valid for {validity.total_seconds():g} s: at most {longest:g} s are allowed"),
        (given.waited >= WAITED_SHARE * validity.total_seconds(), Outcome.EXPIRED,
         f"its age is not known: this meter may have stood still for {given.waited:.1f} s"),
        (relay is not None and relay.local, refused, "local: only a hand at the meter may switch",
         Cause.LOCAL),
        (blocked, refused, f"{what} is blocked", Cause.BLOCKED),
        (given.block_unknown, refused,
         "not known yet what is blocked: the bridge has not confirmed it since this meter connected"),
        (given.hasty, refused, f"too often: the relay switches {OPERATIONS} times in {PERIOD:g} s at most"),
        (relay is not None and given.position_known and command.position is relay.position, refused,
         f"position reached: the relay is {command.position} already",
         Cause.POSITION_REACHED),
    )
    # fmt: on
    return next((Verdict(*verdict) for applies, *verdict in rules if applies), None)
