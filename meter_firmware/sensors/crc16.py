"""The checksum that Modbus and P1 have: CRC-16, polynomial 0x8005 reflected; they begin with another value.

>>> f"{crc16(b'123456789', start=0):04X} {crc16(b'123456789', start=0xFFFF):04X}"
'BB3D 4B37'
"""

from __future__ import annotations


def crc16(data: bytes, *, start: int) -> int:
    """The checksum of ``data``: CRC-16/ARC with ``start`` 0, CRC-16/MODBUS with 0xFFFF."""
    crc = start
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
