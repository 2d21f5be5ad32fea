"""MMS PDUs (ISO 9506-2) that we answer with ourselves.

>>> rejected("file services", UNRECOGNIZED_SERVICE).pdu(b"\\x07").hex()
'a406800107810101'
>>> failed("two operates", OBJECT_ACCESS_UNSUPPORTED, 2).pdu(b"\\x07").hex()
'a10b020107a506800109800109'
"""

from __future__ import annotations

from dataclasses import dataclass

from mms_bridge.guard.ber import encoded

UNRECOGNIZED_SERVICE, INVALID_ARGUMENT = 1, 4
"""RejectPDU, reasons of confirmed-requestPDU."""
ACCESS_UNSUPPORTED, ACCESS_NON_EXISTENT, ACCESS_DENIED = 1, 2, 3
"""ServiceError, class access."""
TEMPORARILY_UNAVAILABLE, OBJECT_ACCESS_DENIED, TYPE_INCONSISTENT = 2, 3, 7
OBJECT_ACCESS_UNSUPPORTED, OBJECT_VALUE_INVALID = 9, 11
"""DataAccessError."""
INVALID_PDU = bytes.fromhex("a4038b0101")
"""RejectPDU without invokeID: pdu-error, invalid-pdu."""
CONCLUDED = bytes.fromhex("8c00")
"""Conclude-ResponsePDU."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer but for its invokeID, and the rule that gives it."""

    rule: str
    kind: int
    invoke_tag: int
    tail: bytes
    before: bytes = b""
    """A PDU that goes before the answer: the LastApplError of a command."""

    def pdu(self, invoke: bytes) -> bytes:
        """The answer to the request with this invokeID."""
        return encoded(self.kind, encoded(self.invoke_tag, invoke) + self.tail)


def rejected(rule: str, reason: int) -> Refusal:
    """RejectPDU."""
    return Refusal(rule, 0xA4, 0x80, bytes((0x81, 1, reason)))


def errored(rule: str, reason: int) -> Refusal:
    """Confirmed-ErrorPDU of class access."""
    return Refusal(rule, 0xA2, 0x80, encoded(0xA2, encoded(0xA0, bytes((0x87, 1, reason)))))


def unanswered() -> Refusal:
    """Confirmed-ErrorPDU for what the library left without an answer: class service, other."""
    return Refusal("not answered", 0xA2, 0x80, encoded(0xA2, encoded(0xA0, bytes((0x84, 1, 0)))))


def failed(rule: str, error: int, count: int = 1) -> Refusal:
    """Response to a Write: every variable failed."""
    return Refusal(rule, 0xA1, 0x02, encoded(0xA5, bytes((0x80, 1, error)) * count))
