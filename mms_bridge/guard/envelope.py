"""Session (ISO 8327-1) and presentation (ISO 8823-1) around an MMS PDU, once an association is there.

>>> inner = opened(closed(3, bytes.fromhex("8b00")))
>>> inner.context, inner.pdu.hex()
(3, '8b00')
"""

from __future__ import annotations

from dataclasses import dataclass

from mms_bridge.guard.ber import MalformedError, check, encoded, only, parts

CONNECT, ACCEPT, FINISH, ABORT = 0x0D, 0x0E, 0x09, 0x19
"""SPDUs by their first octet."""
DATA = b"\x01\x00\x01\x00"
"""Give tokens, data transfer."""
_USER_DATA = 0xC1
SHORT = range(26, 128 + 13)
"""Lengths of a TPKT whose BER lengths have one octet each."""
INVOKE_AT = 23
"""Where the length of the invokeID stands in such a packet."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A PDU, and the presentation context in which it came."""

    context: int
    pdu: bytes


def head(size: int, tag: int, context: int = 3) -> bytes:
    """How a TPKT of ``size`` octets begins that has one PDU with this tag, up to the tag of its invokeID."""
    outer = bytes((3, 0, 0, size, 2, 0xF0, 0x80)) + DATA + bytes((0x61, size - 13, 0x30, size - 15))
    return outer + bytes((2, 1, context, 0xA0, size - 20, tag, size - 22, 0x02 if tag != 0xA2 else 0x80))


def opened(data: bytes) -> Envelope:
    """What a message of an association carries; MalformedError if it is none."""
    if not data.startswith(DATA):
        raise MalformedError("no data of a session")
    at, end = only(data, len(DATA), len(data), 0x61)
    at, end = only(data, at, end, 0x30)
    found = parts(data, at, end)
    if [tag for tag, *_ in found] != [0x02, 0xA0] or found[0][2] - found[0][1] != 1:
        raise MalformedError("no single value of one presentation context")
    return Envelope(data[found[0][1]], data[found[1][1] : found[1][2]])


def closed(context: int, pdu: bytes) -> bytes:
    """A message with this PDU."""
    inner = bytes((0x02, 0x01, context)) + encoded(0xA0, pdu)
    return DATA + encoded(0x61, encoded(0x30, inner))


def check_connect(data: bytes) -> None:
    """MalformedError unless the parameters and the BER of a CONNECT SPDU are whole."""
    at, end = _length(data, 1)
    if end != len(data):
        raise MalformedError("a CONNECT SPDU of the wrong length")
    while at < end:
        begin, stop = _length(data, at + 1)
        if stop > end:
            raise MalformedError("a session parameter beyond its SPDU")
        if data[at] == _USER_DATA:
            check(data, begin, stop)
        at = stop


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Begin and end of a session parameter whose length is at ``at``."""
    if at >= len(data):
        raise MalformedError("a session parameter without length")
    if data[at] != 0xFF:
        return at + 1, at + 1 + data[at]
    return at + 3, at + 3 + int.from_bytes(data[at + 1 : at + 3])
