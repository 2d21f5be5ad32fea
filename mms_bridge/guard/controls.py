"""Commands (IEC 61850-7-2, 20) that are refused before the library, each with its LastApplError.

A LastApplError is a report that comes before the negative response to the Write (8-1, 20.7); without it the
client has a DataAccessError and no cause.

>>> refused("D", "CSWI1$CO$Pos$Oper", bytes.fromhex("860105")).rule
'value'
"""

from __future__ import annotations

from dataclasses import replace

from mms_bridge.guard.answers import (
    OBJECT_ACCESS_DENIED,
    OBJECT_VALUE_INVALID,
    TYPE_INCONSISTENT,
    Refusal,
    failed,
)
from mms_bridge.guard.ber import encoded, parts
from mms_bridge.guard.writes import CTL_NUM, INTEGER, STRUCTURE, UNSIGNED, UTC, error_of

COMMANDS = ("Oper", "SBOw", "Cancel")
NOT_SUPPORTED, INCONSISTENT_PARAMETERS = 1, 26
"""AddCause."""
_REPORT, _INFORMATION_REPORT, _VISIBLE = 0xA3, 0xA0, 0x8A
_NAME = encoded(0xA0, encoded(0x30, encoded(0xA0, encoded(0x80, b"LastApplError"))))
_NO_ORIGIN, _NO_NUMBER = bytes.fromhex("a2058501008900"), bytes.fromhex("860100")


def refused(domain: str, item: str, data: bytes) -> Refusal | None:
    """Why a command is not for the library; None if it is. ``data`` is the value of the Write, as BER."""
    if item.rsplit("$", maxsplit=1)[-1] not in COMMANDS:
        return failed("value", OBJECT_ACCESS_DENIED)  # a part of a command, or all commands at once
    members = _members(item, data)
    if members is None:
        return failed("value", TYPE_INCONSISTENT)
    if _has_time(members):
        # time-activated control is not offered: no type has operTm
        refusal = failed("operTm", OBJECT_ACCESS_DENIED)
        return with_cause(refusal, domain, item, data, cause=NOT_SUPPORTED)
    number = members[_origin_at(item) + 1]
    ((tag, begin, end),) = parts(number)
    error = error_of(CTL_NUM, tag, number[begin:end])
    if error is None:
        return None
    refusal = failed("value", error)
    if error != OBJECT_VALUE_INVALID:
        return refusal  # of another type: there is nothing that a LastApplError could repeat
    return with_cause(refusal, domain, item, data, cause=INCONSISTENT_PARAMETERS)


def wrong_cancel(domain: str, item: str, data: bytes) -> Refusal:
    """A Cancel that is not of the SBOw before it: the library deselects all the same."""
    refusal = failed("cancel", OBJECT_ACCESS_DENIED)
    return with_cause(refusal, domain, item, data, cause=INCONSISTENT_PARAMETERS)


def repeated(item: str, data: bytes) -> bytes:
    """What SBOw, Oper and Cancel of one operation have in common: origin, ctlNum and Test."""
    members = _members(item, data)
    assert members is not None
    origin, number, _, test, *_ = members[_origin_at(item) :]
    return b"".join((origin, number[-1:], b"\1" if test[-1] else b"\0"))


def with_cause(refusal: Refusal, domain: str, item: str, data: bytes, *, cause: int) -> Refusal:
    """The refusal, with its LastApplError before it."""
    members = _members(item, data) or []
    origin, number = members[_origin_at(item) :][:2] or (b"", b"")
    values = (
        encoded(_VISIBLE, f"{domain}/{item}".encode()),
        encoded(INTEGER, b"\0"),  # error: no error, the AddCause says it
        origin if origin[:1] == bytes((STRUCTURE,)) else _NO_ORIGIN,
        number if number[:1] in (bytes((INTEGER,)), bytes((UNSIGNED,))) else _NO_NUMBER,
        encoded(INTEGER, bytes((cause,))),
    )
    results = encoded(0xA0, encoded(STRUCTURE, b"".join(values)))
    return replace(refusal, before=encoded(_REPORT, encoded(_INFORMATION_REPORT, _NAME + results)))


def _origin_at(item: str) -> int:
    """Where origin is, from the end: {ctlVal, [operTm], origin, ctlNum, T, Test, [Check]}."""
    return -4 if item.endswith("$Cancel") else -5


def _members(item: str, data: bytes) -> list[bytes] | None:
    """The members of a command, each with its tag; None if it is no such structure."""
    outer = parts(data)
    if len(outer) != 1 or outer[0][0] != STRUCTURE:
        return None
    at, members = outer[0][1], []
    for _, _, end in parts(data, outer[0][1], outer[0][2]):
        members.append(data[at:end])
        at = end
    return members if 1 - _origin_at(item) <= len(members) <= 2 - _origin_at(item) else None


def _has_time(members: list[bytes]) -> bool:
    """Whether the second member is an operTm."""
    return members[1][:1] == bytes((UTC,))
