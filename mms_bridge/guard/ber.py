"""Reads BER (X.690) of a stranger: definite lengths, hard limits, no recursion.

>>> parts(bytes.fromhex("020105a003800101"))
[(2, 2, 3), (160, 5, 8)]
>>> encoded(0x80, b"\\x05").hex()
'800105'
"""

from __future__ import annotations

DEEPEST = 24
"""Levels of one message; the deepest that clients need is ten."""
MOST = 20_000
"""Values in one message."""

Part = tuple[int, int, int]
"""Tag (a second octet follows in the low bits), begin and end of the value."""


class MalformedError(ValueError):
    """These octets are no message that we know."""


def parts(data: bytes, at: int = 0, end: int | None = None) -> list[Part]:
    """The values between two places of ``data``, which they fill; MalformedError otherwise."""
    end = len(data) if end is None else end
    found = []
    while at < end:
        part = _part(data, at, end)
        found.append(part)
        at = part[2]
    return found


def only(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Begin and end of the one value there, which has to have this tag."""
    part = _part(data, at, end)
    if part[0] != tag or part[2] != end:
        raise MalformedError(f"tag {part[0]:#x} where only {tag:#x} may be")
    return part[1], end


def _part(data: bytes, at: int, end: int) -> Part:
    if at + 2 > end:
        raise MalformedError("truncated")
    tag, length = data[at], data[at + 1]
    at += 2
    if tag & 0x1F == 0x1F:
        if length & 0x80 or at >= end:
            raise MalformedError("a tag of more than two octets")
        tag, length = tag << 8 | length, data[at]
        at += 1
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4 or at + size > end:
            raise MalformedError("no definite length")
        length = int.from_bytes(data[at : at + size])
        at += size
    if at + length > end:
        raise MalformedError("longer than what it is in")
    return tag, at, at + length


def check(data: bytes, at: int = 0, end: int | None = None) -> None:
    """MalformedError unless all values at all levels are whole, and neither too deep nor too many."""
    waiting = [(at, len(data) if end is None else end, 0)]
    count = 0
    while waiting:
        begin, stop, level = waiting.pop()
        found = parts(data, begin, stop)
        count += len(found)
        if level > DEEPEST or count > MOST:
            raise MalformedError("too deep" if level > DEEPEST else "too many values")
        waiting += [
            (first, last, level + 1)
            for tag, first, last in found
            if (tag >> 8 or tag) & 0x20 and last > first
        ]


def encoded(tag: int, value: bytes) -> bytes:
    """A value with its tag and length."""
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + value
