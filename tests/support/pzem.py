"""A PZEM-004T v3 on a pseudo-terminal: a small Modbus RTU server that can also misbehave.

It follows the datasheet's frames (request: address, 04, start, count, CRC; answer: address, 04, byte
count, registers, CRC; CRC-16/MODBUS, low byte first) and shares no code with the driver.

>>> with Pzem(tmp_path) as pzem:  # doctest: +SKIP
...     pzem.mode = Mode.BAD_CRC
...     serial.Serial(pzem.port)
"""

from __future__ import annotations

import os
import select
import struct
import threading
import tty
from collections.abc import Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Self

THESIS = (2310, 191, 0, 213, 0, 32878, 1, 500, 48, 0)
"""The thesis's raw registers: 231.0 V, 0.191 A, 21.3 W, 98,414 Wh, 50.0 Hz, 0.48, no alarm."""
GENERAL_ADDRESS = 0xF8
READ_INPUT_REGISTERS = 0x04
ILLEGAL_DATA_ADDRESS = 0x02
REQUEST_BYTES = 8
GARBAGE = bytes(range(7, 60, 3)) * 2


class Mode(Enum):
    """How the sensor answers."""

    GOOD = auto()
    BAD_CRC = auto()
    SILENCE = auto()
    GARBAGE = auto()
    EXCEPTION = auto()
    PARTIAL = auto()
    ONE_BYTE = auto()
    OTHER_ADDRESS = auto()


def crc16(frame: bytes) -> bytes:
    """CRC-16/MODBUS (polynomial 0x8005 reflected, start 0xFFFF), low byte first."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


class Pzem:
    """The sensor; ``port`` stays the same path when it is unplugged and plugged in again."""

    def __init__(self, folder: Path, *, address: int = 1, registers: Sequence[int] = THESIS) -> None:
        self.port = str(folder / "ttyPZEM")
        self.mode = Mode.GOOD
        self.registers = tuple(registers)
        self.requests: list[bytes] = []
        self._address = address
        self._master = self._slave = -1
        self._wake_read = self._wake_write = -1
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.unplug()

    def plug(self) -> None:
        """Put the sensor on its port."""
        assert self._thread is None, "already plugged in"
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.symlink(os.ttyname(self._slave), self.port)
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="pzem", daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Take the sensor away; its port is gone."""
        if self._thread is None:
            return
        os.write(self._wake_write, b"x")
        self._thread.join()
        self._thread = None
        os.unlink(self.port)
        for descriptor in (self._master, self._slave, self._wake_read, self._wake_write):
            os.close(descriptor)

    def _serve(self) -> None:
        received = b""
        while True:
            ready, _, _ = select.select([self._master, self._wake_read], [], [])
            if self._wake_read in ready:
                return
            received += os.read(self._master, 256)
            while len(received) >= REQUEST_BYTES:
                request, received = received[:REQUEST_BYTES], received[REQUEST_BYTES:]
                self.requests.append(request)
                os.write(self._master, self.answer(request))

    def answer(self, request: bytes) -> bytes:
        """What the sensor says to ``request``; empty when it keeps silent."""
        address, function, start, count = struct.unpack(">BBHH", request[:6])
        if request[6:] != crc16(request[:6]) or address not in (self._address, GENERAL_ADDRESS):
            return b""
        if function != READ_INPUT_REGISTERS or start + count > len(self.registers):
            return _framed(bytes((address, function | 0x80, ILLEGAL_DATA_ADDRESS)))
        words = self.registers[start : start + count]
        good = _framed(struct.pack(f">BBB{count}H", address, function, 2 * count, *words))
        return self._spoiled(good, address)

    def _spoiled(self, good: bytes, address: int) -> bytes:
        return {
            Mode.GOOD: good,
            Mode.BAD_CRC: good[:-1] + bytes((good[-1] ^ 0x55,)),
            Mode.SILENCE: b"",
            Mode.GARBAGE: GARBAGE,
            Mode.EXCEPTION: _framed(bytes((address, READ_INPUT_REGISTERS | 0x80, ILLEGAL_DATA_ADDRESS))),
            Mode.PARTIAL: good[:11],
            Mode.ONE_BYTE: good[:1],
            Mode.OTHER_ADDRESS: _framed(bytes((address ^ 0x01,)) + good[1:-2]),
        }[self.mode]


def _framed(frame: bytes) -> bytes:
    return frame + crc16(frame)
