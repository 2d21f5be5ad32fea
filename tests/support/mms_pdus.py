"""MMS requests octet by octet, also those that no client library makes, and a client that sends them.

>>> tlv(0xA0, tlv(0x02, b"\\x05")).hex()
'a003020105'
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from tests.hostile.ber import length_octets, parse
from tests.hostile.capture import Capture, load
from tests.hostile.layers import DATA, packets

RESPONSE, ERROR, REJECT, REPORT, CONCLUDED = 0xA1, 0xA2, 0xA4, 0xA3, 0x8C


def tlv(tag: int, *values: bytes) -> bytes:
    """Tag of one or two octets, length, and the values one after the other."""
    value = b"".join(values)
    return tag.to_bytes(1 + (tag > 0xFF)) + length_octets(len(value)) + value


def object_name(domain: str, item: str) -> bytes:
    """A domain-specific ObjectName."""
    return tlv(0xA1, tlv(0x1A, domain.encode()), tlv(0x1A, item.encode()))


def variables(*names: bytes) -> bytes:
    """A list of variables, each by its ObjectName."""
    return tlv(0xA0, *(tlv(0x30, tlv(0xA0, name)) for name in names))


def read(*names: bytes) -> bytes:
    """Read of variables."""
    return tlv(0xA4, tlv(0xA1, variables(*names)))


def write(*pairs: tuple[bytes, bytes]) -> bytes:
    """Write of variables and their values."""
    return tlv(0xA5, variables(*(name for name, _ in pairs)), tlv(0xA0, *(value for _, value in pairs)))


def define(name: bytes, *members: bytes) -> bytes:
    """DefineNamedVariableList."""
    return tlv(0xAB, name, variables(*members))


def number(value: int, tag: int = 0x86) -> bytes:
    """Unsigned; 0x85: integer."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def text(value: str) -> bytes:
    """A VisibleString."""
    return tlv(0x8A, value.encode())


def command(
    *,
    close: bool,
    ctl_num: int = 1,
    category: int = 3,
    who: bytes = b"desk",
    check: bool = True,
    oper_tm: bytes = b"",
) -> bytes:
    """Oper or SBOw; Cancel without ``check``."""
    origin = tlv(0xA2, number(category, 0x85), tlv(0x89, who))
    tail = [tlv(0x84, b"\x06\x40")] if check else []
    at = tlv(0x91, bytes.fromhex("65a0000000000000"))
    return tlv(0xA2, tlv(0x83, bytes([close])), oper_tm, origin, number(ctl_num), at, tlv(0x83, b"\0"), *tail)


def confirmed(service: bytes, invoke: int = 1) -> bytes:
    """Confirmed-RequestPDU."""
    return tlv(0xA0, number(invoke, 0x02), service)


def message(pdu: bytes, context: int = 3) -> bytes:
    """Session and presentation around a PDU."""
    return DATA + tlv(0x61, tlv(0x30, bytes((2, 1, context)), tlv(0xA0, pdu)))


def next_message(stream: BinaryIO) -> bytes:
    """The user data of the next data TPDUs up to the last of a message; the TPDU if it is another."""
    data = b""
    while True:
        head = stream.read(4)
        tpdu = stream.read(int.from_bytes(head[2:], "big") - 4) if len(head) == 4 else b""
        if not tpdu:
            raise EOFError("the server has closed")
        if tpdu[1] != 0xF0:
            return tpdu
        data += tpdu[3:]
        if tpdu[2] & 0x80:
            return data


def pdu_of(data: bytes) -> bytes:
    """The MMS PDU in a message of an association."""
    [presentation] = parse(data[len(DATA) :], levels=1)
    [value] = parse(presentation.parts[0].value[3:], levels=0)
    return value.value


@dataclass
class RawClient:
    """An association, whose messages are made by hand."""

    connection: socket.socket
    stream: BinaryIO
    invoke: int = 0

    def send(self, pdu: bytes) -> None:
        """One PDU."""
        self.connection.sendall(b"".join(packets(message(pdu))))

    def hear(self) -> bytes:
        """The next PDU that is no report; EOFError at the end."""
        while True:
            pdu = pdu_of(next_message(self.stream))
            if pdu[0] != REPORT:
                return pdu

    def ask(self, service: bytes) -> bytes:
        """The answer to a confirmed request, without its invokeID checked: the PDU."""
        self.invoke += 1
        self.send(confirmed(service, self.invoke))
        pdu = self.hear()
        assert invoke_of(pdu) == self.invoke
        return pdu


def invoke_of(pdu: bytes) -> int | None:
    """The invokeID of an answer."""
    [outer] = parse(pdu, levels=1)
    first = outer.parts[0] if outer.parts else None
    return int.from_bytes(first.value) if first is not None and first.tag in (b"\x02", b"\x80") else None


def capture(name: str) -> Capture:
    """A recorded session."""
    return next(one for one in load() if one.name == name)


@contextmanager
def raw_client(
    port: int, opening: Sequence[bytes] | None = None, *, source: str = "127.0.0.1"
) -> Iterator[RawClient]:
    """An association from address ``source``; ``opening`` instead of a recorded one."""
    address = ("127.0.0.1", port)
    with (
        socket.create_connection(address, timeout=60, source_address=(source, 0)) as connection,
        connection.makefile("rb") as stream,  # as long as it is open, the connection is not closed
    ):
        for packet in opening or capture("reads").opening:
            connection.sendall(packet)
            next_message(stream)
        yield RawClient(connection, stream)
