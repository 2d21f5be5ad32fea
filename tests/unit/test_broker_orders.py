"""What became of a command: one rule for MMS, HTTP, CLI and the ledger."""

from __future__ import annotations

import pytest

from broker.contract.birth import Birth, Hardware
from broker.contract.commands import NO_RELAY, NOT_ANSWERED, NOT_MOVED, Known, became, in_vain
from broker.contract.messages import utc_now
from broker.contract.relay import Position, Relay
from broker.contract.result import Outcome, Result
from broker.contract.status import Status

OPEN, CLOSED = Position


@pytest.mark.parametrize(
    ("outcome", "shows", "told"),
    [
        (None, OPEN, None),
        (Outcome.DONE, OPEN, "done"),
        (Outcome.DONE, CLOSED, None),
        (Outcome.DONE, None, None),
        (Outcome.REFUSED, CLOSED, "refused"),
        (Outcome.FAILED, OPEN, "failed"),
        ("of-tomorrow", OPEN, "of-tomorrow"),
    ],
)
def test_done_needs_the_meters_word_and_its_relay(
    outcome: str | None, shows: Position | None, told: str | None
) -> None:
    result = Result(command_id="c", outcome=outcome, ts=utc_now()) if outcome else None
    assert became(result, shows=shows, wanted=OPEN) == told


def test_why_it_timed_out() -> None:
    assert (in_vain(answered=True), in_vain(answered=False)) == (NOT_MOVED, NOT_ANSWERED)


def test_nothing_is_sent_to_a_meter_without_a_relay() -> None:
    birth = Birth(
        name="x",
        hardware=Hardware(serial="1"),
        firmware="1",
        interval=1,
        relay=False,
        session="s",
        ts=utc_now(),
    )
    status = Status(online=True, session="s", ts=utc_now())
    relay = Relay(position=CLOSED, operations=0, ts=utc_now())  # of one that was there before
    assert Known("m", birth, status, relay).obstacle(OPEN) == NO_RELAY
