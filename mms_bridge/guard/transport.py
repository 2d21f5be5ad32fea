"""Takes messages out of a client's octets: TPKT (RFC 1006), and TPDUs of class 0 (ISO 8073) put together.

>>> stream = Stream()
>>> stream.feed(bytes.fromhex("0300000802f08009") + b"\\x03")
>>> stream.next()
Message(raw=b'\\x03\\x00\\x00\\x08\\x02\\xf0\\x80\\t', data=b'\\t', tpdus=1)
>>> stream.next() is None
True
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mms_bridge.guard.ber import MalformedError

HEADER, DATA_HEADER = 4, 7
LARGEST_PACKET = 8192 + HEADER
"""The largest TPDU of class 0 in a TPKT."""
LARGEST_MESSAGE = 65_000
"""Octets of one message: the PDU size that libiec61850 negotiates."""
MOST_TPDUS = 1024
CONNECTION_REQUEST, DATA, DISCONNECT_REQUEST = 0xE0, 0xF0, 0x80
_ALTERNATIVES = 0xC7
_LAST = 0x80


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came, and what its TPDUs carry; ``data`` is None in a connection request."""

    raw: bytes
    data: bytes | None
    tpdus: int = 1


class Stream:
    """What a client sends, in whatever pieces."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._at = 0  # where the first TPDU begins that was not looked at
        self._carried = bytearray()
        self._tpdus = 0

    def feed(self, octets: bytes) -> None:
        """More has come."""
        self._octets += octets

    @property
    def size(self) -> int:
        """Octets that wait."""
        return len(self._octets)

    def next(self) -> Message | None:
        """The next whole message; None if it is not here yet, MalformedError if it is none."""
        octets = self._octets
        while (whole := self._length()) is not None:
            at, self._at = self._at, self._at + whole
            if octets[at + 5] & 0xF0 == CONNECTION_REQUEST and not self._tpdus:
                if octets[at + HEADER] != whole - 5 or whole < 11:
                    raise MalformedError("a connection request of the wrong length")
                return Message(self._taken(), None)
            if octets[at + 5] != DATA or octets[at + HEADER] != 2 or whole < DATA_HEADER:
                raise MalformedError("neither a connection request nor data")
            self._tpdus += 1
            self._carried += octets[at + DATA_HEADER : self._at]
            if len(self._carried) > LARGEST_MESSAGE or self._tpdus > MOST_TPDUS:
                raise MalformedError("a message that is too long")
            if octets[at + 6] & _LAST:
                data, tpdus = bytes(self._carried), self._tpdus
                self._carried.clear()
                self._tpdus = 0
                return Message(self._taken(), data, tpdus)
        return None

    def _length(self) -> int | None:
        """Of the next TPKT, if it is here."""
        waiting = len(self._octets) - self._at
        if waiting < HEADER:
            return None
        head = self._octets[self._at : self._at + HEADER]
        length = head[2] << 8 | head[3]
        if head[0] != 3 or head[1] != 0 or not HEADER + 2 <= length <= LARGEST_PACKET:
            raise MalformedError("no TPKT")
        return length if waiting >= length else None

    def _taken(self) -> bytes:
        raw = bytes(self._octets[: self._at])
        del self._octets[: self._at]
        self._at = 0
        return raw


class Written:
    """Finds the messages in what the library writes, in whatever pieces; of well-formed TPDUs with data.

    >>> written = Written()
    >>> [*written.messages(packets(b"one")[:9])], [*written.messages(packets(b"one")[9:])]
    ([], [(b'one', True)])
    """

    def __init__(self) -> None:
        self._rest = b""  # a TPKT that is not here whole
        self._carried = bytearray()

    def is_one(self, octets: bytes) -> bool:
        """Whether these are one message, whole and alone: then they need no second look."""
        if self._rest or self._carried or len(octets) < DATA_HEADER:
            return False
        return octets[2] << 8 | octets[3] == len(octets) and bool(octets[DATA_HEADER - 1] & _LAST)

    def messages(self, octets: bytes) -> Iterator[tuple[bytes, bool]]:
        """Each message that ends in ``octets``, then what there is of the next; whether it is whole."""
        octets, at = self._rest + octets, 0
        while len(octets) >= at + DATA_HEADER:
            end = at + max(DATA_HEADER, int.from_bytes(octets[at + 2 : at + HEADER]))
            if end > len(octets):
                break
            self._carried += octets[at + DATA_HEADER : end]
            if octets[at + DATA_HEADER - 1] & _LAST:
                yield bytes(self._carried), True
                self._carried.clear()
            at = end
        self._rest = octets[at:]
        if self._carried:
            yield bytes(self._carried), False


def of_class_0(request: bytes) -> bytes | None:
    """The connection request in class 0, if the client can do with it; None if not."""
    at, end = 11, len(request)
    alternatives = b""
    while at + 2 <= end:
        size = request[at + 1]
        if request[at] == _ALTERNATIVES:
            alternatives = request[at + 2 : at + 2 + size]
        at += 2 + size
    if at != end:
        return None
    if request[10] >> 4 == 0:
        return request
    if any(one >> 4 == 0 for one in alternatives):
        return request[:10] + b"\0" + request[11:]
    return None


def disconnect(request: bytes) -> bytes:
    """The answer to a connection request that is refused: DR, negotiation failed."""
    return b"\x03\x00\x00\x0b\x06\x80" + request[8:10] + b"\0\0\x82"


def packets(data: bytes) -> bytes:
    """The TPKTs that carry ``data``."""
    room = LARGEST_PACKET - DATA_HEADER
    made = b""
    for at in range(0, len(data), room):
        part = data[at : at + room]
        last = _LAST if at + room >= len(data) else 0
        made += b"\x03\x00" + (len(part) + DATA_HEADER).to_bytes(2) + bytes((2, DATA, last)) + part
    return made
