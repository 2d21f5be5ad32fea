"""Frames of Modbus, for what the library for serial lines does not do: TCP, wide registers, the slave.

Modbus over Serial Line V1.02, 2.5.1 (RTU) and Modbus Messaging on TCP/IP V1.0b, 3.1 (the header of TCP).

>>> rtu(1, request(4, 0, 10)).hex()
'01040000000a700d'
>>> words(4, bytes.fromhex("040200fa"), count=1)
[250]
"""

from __future__ import annotations

import struct

from meter_firmware.sensors.crc16 import crc16

RTU_OVERHEAD = 3
"""Bytes of a frame besides function and data: address and checksum."""
HEADER = struct.Struct(">HHHB")
"""Of TCP: transaction, protocol (0), bytes that follow, unit."""
LONGEST_PDU = 253
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS = 1, 2


class FrameError(ValueError):
    """An answer is damaged, or is none to our request."""


class RefusalError(FrameError):
    """The device refuses a request; ``code`` is the exception's."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception code {code}")
        self.code = code


def checksum(frame: bytes) -> bytes:
    """Of an RTU frame, low byte first."""
    return crc16(frame, start=0xFFFF).to_bytes(2, "little")


def request(function: int, address: int, count: int) -> bytes:
    """A request to read ``count`` registers."""
    return struct.pack(">BHH", function, address, count)


def rtu(unit: int, pdu: bytes) -> bytes:
    """The frame on a serial line."""
    frame = bytes((unit,)) + pdu
    return frame + checksum(frame)


def of_rtu(frame: bytes, *, unit: int) -> bytes:
    """What is in the frame; FrameError if it is damaged, or another unit's."""
    if len(frame) < RTU_OVERHEAD + 1 or checksum(frame[:-2]) != frame[-2:]:
        raise FrameError(f"checksum of {frame.hex()}")
    if frame[0] != unit:
        raise FrameError(f"answer of unit {frame[0]}")
    return frame[1:-2]


def tcp(transaction: int, unit: int, pdu: bytes) -> bytes:
    """The frame on TCP."""
    return HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu


def words(function: int, pdu: bytes, *, count: int, size: int = 2) -> list[int]:
    """The registers (of ``size`` bytes) of an answer; RefusalError if it is a refusal, else FrameError."""
    if len(pdu) == 2 and pdu[0] == function | 0x80:
        raise RefusalError(pdu[1])
    if len(pdu) != 2 + size * count or pdu[0] != function or pdu[1] != size * count:
        raise FrameError(f"{len(pdu)} bytes: {pdu[:16].hex()}")
    return [value for (value,) in struct.iter_unpack(">H" if size == 2 else ">I", pdu[2:])]
