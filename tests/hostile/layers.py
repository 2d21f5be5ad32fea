"""A message taken apart, down to its BER, and put together again (RFC 1006, ISO 8073, ISO 8327-1).

>>> packet(b"\\x02\\xf0\\x80").hex()
'0300000702f080'
"""

from __future__ import annotations

from tests.hostile.ber import Node, encode, parse
from tests.hostile.capture import HEADER

TPDU = 8192
"""Octets of the largest COTP TPDU that the library takes; what is longer goes in several."""
TSDU = 64_000
"""Octets of a message that the library still puts together."""
COTP = HEADER + 3
"""Octets before the payload of a data TPDU: TPKT header, LI, DT, EOT."""
DATA = b"\x01\x00\x01\x00"
"""Session: give tokens, data transfer."""
CONNECT = 0x0D

Packets = list[bytes]


def packet(tpdu: bytes) -> bytes:
    """A TPKT around a TPDU; its length is what fits where it is too long."""
    return b"\x03\x00" + min(0xFFFF, HEADER + len(tpdu)).to_bytes(2, "big") + tpdu


def packets(tsdu: bytes, size: int = TPDU) -> Packets:
    """The data TPDUs of one message."""
    room = max(1, size - 3)
    parts = [tsdu[at : at + room] for at in range(0, len(tsdu), room)] or [b""]
    last = len(parts) - 1
    return [
        packet(b"\x02\xf0" + (b"\x80" if index == last else b"\x00") + part)
        for index, part in enumerate(parts)
    ]


def layers(data: bytes) -> tuple[bytes, list[Node]] | None:
    """Session header and the BER above it; None when this is no message that can be taken apart."""
    tsdu = data[COTP:]
    header = DATA if tsdu.startswith(DATA) else _connect_header(tsdu)
    if header is None:
        return None
    try:
        return header, parse(tsdu[len(header) :])
    except (ValueError, IndexError):
        return None


def _connect_header(tsdu: bytes) -> bytes | None:
    """Up to the user data parameter (193) of a CONNECT SPDU (ISO 8327-1)."""
    if not tsdu or tsdu[0] != CONNECT:
        return None
    at = 2
    while at + 2 <= len(tsdu):
        code, length = tsdu[at], tsdu[at + 1]
        at += 2
        if code == 0xC1:
            return tsdu[:at]
        at += length
    return None


def assemble(header: bytes, nodes: list[Node]) -> Packets:
    """The packets of a message that was taken apart; the session's lengths are made right."""
    body = encode(nodes)[:TSDU]
    if header[:1] == bytes([CONNECT]):
        total = len(header) + len(body) - 2
        header = header[:1] + bytes([min(total, 0xFE)]) + header[2:-1] + bytes([min(len(body), 0xFE)])
    return packets(header + body)
