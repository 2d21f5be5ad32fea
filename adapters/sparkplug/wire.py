"""Protobuf's wire format, as far as Sparkplug's payload needs it: varint, fixed and length-delimited fields.

Groups (wire types 3 and 4) are refused: Sparkplug has none, and they would need recursion. Nothing here
recurses, and nothing allocates more than the message itself is long.

>>> list(fields(bytes.fromhex("089601")))
[(1, 0, 150)]
>>> varint_field(1, 150).hex()
'089601'
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.contract.errors import ContractError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT = 10
"""Bytes of a 64-bit number."""
MASK64 = 2**64 - 1
Field = tuple[int, int, int | bytes]
"""Number, wire type, content: an int of a varint, bytes of the others."""


class PayloadError(ContractError):
    """The bytes are no Sparkplug B payload; the only error that decoding raises."""


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message in their order; PayloadError where the bytes are no protobuf."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if not 1 <= number < 2**29:
            raise PayloadError(f"field number {number} at byte {at}: 1 to 536870911 would be right")
        content: int | bytes
        if kind == VARINT:
            content, at = _varint(data, at)
        else:
            content, at = _bytes(data, at, kind=kind)
        yield number, kind, content


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at``, and where the next byte is."""
    value = 0
    for place, byte in enumerate(data[at : at + _MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & MASK64, at + place + 1
    raise PayloadError(f"the number at byte {at} has no end within {_MAX_VARINT} bytes")


def _bytes(data: bytes, at: int, *, kind: int) -> tuple[bytes, int]:
    """The content at ``at`` of a wire type that is no varint, and where the next field is."""
    if kind == LENGTH:
        length, at = _varint(data, at)
    elif kind in _WIDTHS:
        length = _WIDTHS[kind]
    else:
        raise PayloadError(f"wire type {kind} at byte {at}: 0, 1, 2 or 5 would be right")
    if length > len(data) - at:
        raise PayloadError(
            f"a field of {length} bytes at byte {at}, but only {len(data) - at} bytes are left"
        )
    return data[at : at + length], at + length


def varint(value: int) -> bytes:
    """A number of at most 64 bits."""
    value &= MASK64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_field(number: int, value: int) -> bytes:
    """A field whose content is a number."""
    return varint(number << 3 | VARINT) + varint(value)


def fixed_field(number: int, content: bytes) -> bytes:
    """A field of 4 or 8 bytes, little-endian."""
    return varint(number << 3 | (FIXED32 if len(content) == 4 else FIXED64)) + content


def length_field(number: int, content: bytes) -> bytes:
    """A field whose length stands before it."""
    return varint(number << 3 | LENGTH) + varint(len(content)) + content
