"""Commands that the guard refuses: each with a LastApplError that repeats what the client sent."""

from __future__ import annotations

import pytest

from mms_bridge.guard.judge import Guard
from mms_bridge.guard.transport import packets
from tests.support.mms_pdus import REPORT, RESPONSE, command, confirmed, message, number, text, tlv, write
from tests.unit.test_mms_guard import CANCEL, OPER, SBOW, associated, judge, replies

NOT_SUPPORTED, INCONSISTENT = 1, 26
LATER, NEVER = tlv(0x91, bytes.fromhex("f000000000000000")), tlv(0x91, bytes(8))


def last_appl_error(name: str, cause: int, *, ctl_num: int, category: int = 3, who: bytes = b"desk") -> bytes:
    """As the library would write it."""
    origin = tlv(0xA2, number(category, 0x85), tlv(0x89, who))
    reference = text(f"D/CSWI1$CO$Pos${name}")
    told = tlv(0xA2, reference, number(0, 0x85), origin, number(ctl_num), number(cause, 0x85))
    name_of = tlv(0xA0, tlv(0x30, tlv(0xA0, tlv(0x80, b"LastApplError"))))
    return tlv(REPORT, tlv(0xA0, name_of, tlv(0xA0, told)))


def failure(error: int, invoke: int = 1) -> bytes:
    """The negative response."""
    return tlv(RESPONSE, number(invoke, 2), tlv(0xA5, bytes((0x80, 1, error))))


@pytest.mark.parametrize("time", [LATER, NEVER], ids=["later", "zero"])
@pytest.mark.parametrize(("name", "of"), [("Oper", OPER), ("SBOw", SBOW), ("Cancel", CANCEL)])
def test_a_command_with_oper_tm_is_refused_as_such(name: str, of: bytes, time: bytes) -> None:
    value = command(close=True, ctl_num=7, who=b"clock", check=name != "Cancel", oper_tm=time)
    action = judge(associated(), confirmed(write((of, value))))
    told = last_appl_error(name, NOT_SUPPORTED, ctl_num=7, who=b"clock")
    assert (replies(action), action.forward) == ([told, failure(3)], b"")


@pytest.mark.parametrize(("name", "of"), [("Oper", OPER), ("SBOw", SBOW), ("Cancel", CANCEL)])
def test_a_number_that_is_none_has_its_cause(name: str, of: bytes) -> None:
    value = command(close=True, ctl_num=256, check=name != "Cancel")
    action = judge(associated(), confirmed(write((of, value))))
    assert replies(action) == [last_appl_error(name, INCONSISTENT, ctl_num=256), failure(11)]


def selected() -> Guard:
    """A guard whose client has selected as desk, with ctlNum 5."""
    guard = associated()
    assert judge(guard, confirmed(write((SBOW, command(close=True, ctl_num=5))))).forward
    guard.heard(packets(message(tlv(RESPONSE, number(1, 2), bytes.fromhex("a5028100")))))
    return guard


@pytest.mark.parametrize(
    ("ctl_num", "category", "who"), [(6, 3, b"desk"), (5, 2, b"desk"), (5, 3, b"another")]
)
def test_a_cancel_of_another_operation_cancels_nothing(ctl_num: int, category: int, who: bytes) -> None:
    guard = selected()
    value = command(close=True, ctl_num=ctl_num, category=category, who=who, check=False)
    action = judge(guard, confirmed(write((CANCEL, value)), 2))
    told = last_appl_error("Cancel", INCONSISTENT, ctl_num=ctl_num, category=category, who=who)
    assert (replies(action), action.forward) == ([told, failure(3, 2)], b"")
    right = write((CANCEL, command(close=False, ctl_num=5, check=False)))  # ctlVal is not compared
    assert judge(guard, confirmed(right, 3)).forward


def test_a_cancel_with_another_test_flag_cancels_nothing() -> None:
    value = command(close=True, ctl_num=5, check=False)
    assert value.endswith(tlv(0x83, b"\0"))
    action = judge(selected(), confirmed(write((CANCEL, value[:-1] + b"\1")), 2))
    assert replies(action) == [last_appl_error("Cancel", INCONSISTENT, ctl_num=5), failure(3, 2)]
    assert judge(selected(), confirmed(write((CANCEL, value)), 2)).forward
