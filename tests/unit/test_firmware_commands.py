"""The rules for a command, as a table: what is refused, with which outcome and reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract.block import Block
from broker.contract.messages import utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position, Relay
from broker.contract.result import Cause, Outcome
from meter_firmware.relay.rules import MAX_PAYLOAD, Circumstances, UnreadableCommandError, read, refusal

NOW = utc_now()
ORIGIN = Origin(category=OriginCategory.REMOTE_CONTROL, identifier="test")
CLOSED = Relay(position=Position.CLOSED, operations=0, ts=NOW)
LOCAL = CLOSED.model_copy(update={"local": True})
OPENING, CLOSING = (Block(open=of, close=not of, ts=NOW, origin=ORIGIN) for of in (True, False))
REFUSED, EXPIRED = Outcome.REFUSED, Outcome.EXPIRED


def command(*, age: float = 0, valid: float = 10, position: Position = Position.OPEN) -> Command:
    issued = NOW - timedelta(seconds=age)
    return Command(
        command_id="c1",
        position=position,
        issued_at=issued,
        expires_at=issued + timedelta(seconds=valid),
        origin=ORIGIN,
    )


# fmt: off
ALLOWED: list[dict[str, Any]] = [
    {},
    {"age": 9.9},
    {"age": 0, "valid": 60},
    {"age": -5},  # the issuer's clock may be a little ahead
]
SPEAKS_AGAINST: list[tuple[dict[str, Any], dict[str, Any], Outcome, str]] = [
    # command                           circumstances         outcome  reason begins
    ({},                                {"retained": True},   REFUSED, "retained"),
    ({},                                {"repeated": True},   REFUSED, "repeated"),
    ({},                                {"overloaded": True}, REFUSED, "too many commands"),
    ({},                                {"hasty": True},      REFUSED, "too often: the relay"),
    ({},                                {"block_unknown": True}, REFUSED, "not known yet what is blocked"),
    ({"age": 10, "valid": 10},          {},                   EXPIRED, "expired 0.0 s ago"),
    ({"age": 3600, "valid": 10},        {},                   EXPIRED, "expired 3590.0 s"),
    ({"age": -5.001},                   {},                   REFUSED, "clock doubt"),
    ({"age": -3600},                    {},                   REFUSED, "clock doubt"),
    ({"age": -4, "valid": -1},          {},                   REFUSED, "malformed: expires"),
    ({"age": -4, "valid": 0},           {},                   REFUSED, "malformed: expires"),
    ({"valid": 60.001},                 {},                   REFUSED, "valid for 60.001 s"),
    ({"valid": 86400},                  {},                   REFUSED, "valid for 86400 s"),
    ({},                                {"relay": LOCAL},     REFUSED, "local"),
    ({},                                {"block": OPENING},   REFUSED, "opening is blocked"),
    ({"position": Position.CLOSED},     {"block": CLOSING},   REFUSED, "closing is blocked"),
    ({"position": Position.CLOSED},     {},                   REFUSED, "position reached"),
    # When several speak against it, the one that says most about the message comes first.
    ({"age": 3600},                     {"retained": True},   REFUSED, "retained"),
    ({"age": 3600},                     {"repeated": True},   REFUSED, "repeated"),
]
# fmt: on


@pytest.mark.parametrize("made", ALLOWED)
def test_a_command_in_time_is_obeyed(made: dict[str, Any]) -> None:
    assert refusal(command(**made), Circumstances(now=NOW, relay=CLOSED)) is None


@pytest.mark.parametrize(
    ("given_", "cause"),
    [
        ({"block": OPENING}, Cause.BLOCKED),
        ({"relay": LOCAL}, Cause.LOCAL),
        ({"relay": CLOSED.model_copy(update={"position": Position.OPEN})}, Cause.POSITION_REACHED),
        ({"repeated": True}, None),
    ],
)
def test_a_refusal_tells_programs_what_they_can_tell(given_: dict[str, Any], cause: Cause | None) -> None:
    verdict = refusal(command(), Circumstances(**{"now": NOW, "relay": CLOSED, **given_}))
    assert verdict is not None
    assert verdict.cause is cause


def test_what_blocks_the_other_direction_is_no_matter() -> None:
    assert refusal(command(), Circumstances(now=NOW, relay=CLOSED, block=CLOSING)) is None


@pytest.mark.parametrize(("made", "given_", "outcome", "reason"), SPEAKS_AGAINST)
def test_what_is_refused(made: dict[str, Any], given_: dict[str, Any], outcome: Outcome, reason: str) -> None:
    circumstances = Circumstances(**{"now": NOW, "relay": CLOSED, **given_})
    verdict = refusal(command(**made), circumstances)
    assert verdict is not None
    assert verdict.outcome is outcome
    assert verdict.reason.startswith(reason)


def test_a_good_payload_is_read() -> None:
    assert read(command().payload()) == command()


@pytest.mark.parametrize(
    ("payload", "command_id", "reason"),
    [
        (b'{"command_id":"c1","position":"ajar"}', "c1", "position"),
        (command().payload().replace(b'"open"', b'"OPEN"'), "c1", "position"),
        (command().payload().replace(b'"issued_at":"2', b'"issued_at":"1'), "c1", "issued_at"),
        (b'{"command_id":"c1"}', "c1", "Field required"),
        (b'{"command_id":"spaces are no token"}', None, "command_id"),
        (b'{"command_id":17}', None, "command_id"),
        (b'{"position":"open"}', None, "command_id"),
        (b"[]", None, "Input should be"),
        (b"null", None, "Input should be"),
        (b"", None, "not JSON"),
        (b"\xff\xfe", None, "not JSON"),
        (b"[" * 5000, None, "not JSON"),
        (b'{"command_id":"c1"' + b" " * MAX_PAYLOAD + b"}", None, "too long"),
    ],
)
def test_a_malformed_payload_says_why_and_whom_to_answer(
    payload: bytes, command_id: str | None, reason: str
) -> None:
    with pytest.raises(UnreadableCommandError, match="malformed") as caught:
        read(payload)
    assert caught.value.command_id == command_id
    assert reason in str(caught.value)


@given(st.binary(max_size=300))
def test_no_payload_does_harm(payload: bytes) -> None:
    with pytest.raises(UnreadableCommandError):
        read(payload)
