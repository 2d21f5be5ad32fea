"""What became of a command: one rule for MMS, HTTP, CLI and the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from broker.contract.birth import Birth, Hardware
from broker.contract.block import Block
from broker.contract.commands import (
    NOT_ANSWERED,
    NOT_MOVED,
    Circumstances,
    Why,
    against_blocking,
    against_switching,
    became,
    in_vain,
)
from broker.contract.enrolment import Access
from broker.contract.known import Known
from broker.contract.messages import utc_now
from broker.contract.relay import Origin, OriginCategory, Position, Relay
from broker.contract.result import Outcome, Result
from broker.contract.session import NO_SESSION
from broker.contract.status import Status
from mms_bridge.control.checks import ADD_CAUSES

OPEN, CLOSED = Position
NOW = utc_now()
STATUS = Status(online=True, session="s", ts=NOW)


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


def birth(*, relay: bool = True) -> Birth:
    """Of a meter with or without a relay."""
    hardware = Hardware(serial="1")
    return Birth(name="x", hardware=hardware, firmware="1", interval=1, relay=relay, session="s", ts=NOW)


def known(**changes: object) -> Known:
    """A meter that is online, with its relay closed."""
    state = Known("m")
    for message in (birth(), STATUS, Relay(position=CLOSED, operations=0, ts=NOW)):
        state.hear(message, live=True, now=NOW)
    for name, value in changes.items():
        setattr(state, name, value)
    return state


ORIGIN = Origin(category=OriginCategory.MAINTENANCE, identifier="x")
NO_OPENING = Block.changed(None, opening=True, closing=None, origin=ORIGIN)
LOCAL = Relay(position=CLOSED, operations=0, local=True, ts=NOW)
SHUT_OUT = Access(allowed=False, reason="stolen", ts=NOW)
RULES: list[tuple[Why, dict[str, Any], dict[str, bool]]] = [
    (Why.NOT_ALLOWED, {}, {"authorized": False}),
    (Why.LATE, {}, {"late": True}),
    (Why.NO_RELAY, {"birth": birth(relay=False)}, {}),
    (Why.TEST, {}, {"test": True}),
    (Why.WITHDRAWN, {"birth": None, "withdrawn": NOW}, {}),
    (Why.NO_METER, {"birth": None}, {}),
    (Why.KEPT_OUT, {"access": SHUT_OUT}, {}),
    (Why.BROKER_AWAY, {}, {"broker_up": False}),
    (Why.OFFLINE, {"session": NO_SESSION}, {}),
    (Why.POSITION_UNKNOWN, {"relay": None}, {}),
    (Why.LOCAL, {"relay": LOCAL}, {}),
    (Why.BLOCKED, {"block": NO_OPENING}, {}),
    (Why.UNDER_WAY, {}, {"running": True}),
    (Why.REACHED, {"relay": Relay(position=OPEN, operations=1, ts=NOW)}, {}),
    (Why.SELECTED, {}, {"taken": True}),
]
"""Each alone, in the order in which they are looked at."""


def test_a_command_that_makes_sense_meets_no_objection() -> None:
    assert against_switching(known(), OPEN) is None
    assert against_blocking(known()) is None


@pytest.mark.parametrize(("why", "state", "given"), RULES, ids=[why.name for why, _, _ in RULES])
def test_each_rule_alone(why: Why, state: dict[str, Any], given: dict[str, bool]) -> None:
    objection = against_switching(known(**state), OPEN, Circumstances(**given))
    assert objection is not None
    assert objection.why is why
    assert "{" not in objection.reason


def test_every_reason_has_a_rule_and_an_add_cause() -> None:
    assert [why for why, _, _ in RULES] == list(Why)
    assert set(ADD_CAUSES) == set(Why)


@pytest.mark.parametrize("first", range(len(RULES)))
def test_of_two_the_earlier_counts(first: int) -> None:
    """So the same meter gets the same answer over MMS, HTTP and the CLI."""
    why, state, given = RULES[first]
    for _, other_state, other_given in RULES[first + 1 :]:
        if state.keys() & other_state.keys():
            continue  # they exclude each other
        both = against_switching(known(**other_state | state), OPEN, Circumstances(**other_given | given))
        assert both is not None
        assert both.why is why


def test_a_select_without_a_position_is_judged_by_the_rest() -> None:
    blocked = known(block=NO_OPENING)
    assert against_switching(blocked, None) is None
    assert against_switching(blocked, CLOSED, Circumstances(running=True)) == (
        Why.UNDER_WAY,
        "another command is under way",
    )


def test_a_block_reaches_a_meter_that_is_offline() -> None:
    assert against_blocking(known(session=NO_SESSION)) is None
    objection = against_blocking(known(), Circumstances(running=True))
    assert objection is not None
    assert objection.why is Why.UNDER_WAY
