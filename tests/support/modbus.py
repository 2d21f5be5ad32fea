"""Modbus devices on a pseudo-terminal or a TCP port, which can also misbehave.

They follow the standard's frames (request: address, function, start, count, CRC; answer: address, function,
byte count, registers, CRC; CRC-16/MODBUS, low byte first) and share no code with the driver.

>>> with Slaves(tmp_path, {1: Image(4, {0: b"\\x09\\x06"})}) as slaves:  # doctest: +SKIP
...     slaves.mode = Mode.BAD_CRC
...     serial.Serial(slaves.port)
"""

from __future__ import annotations

import os
import select
import socket
import socketserver
import struct
import threading
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Self

import serial

ILLEGAL_DATA_ADDRESS = 0x02
REQUEST_BYTES = 8
GARBAGE = bytes(range(7, 60, 3)) * 2


class Mode(Enum):
    """How the device answers."""

    GOOD = auto()
    BAD_CRC = auto()
    SILENCE = auto()
    GARBAGE = auto()
    EXCEPTION = auto()
    PARTIAL = auto()
    ONE_BYTE = auto()
    OTHER_ADDRESS = auto()


FAILURES = {
    Mode.BAD_CRC: "sensor answer is damaged",
    Mode.GARBAGE: "sensor answer is damaged",
    Mode.PARTIAL: "sensor answer is damaged",
    Mode.ONE_BYTE: "sensor answer is damaged",
    Mode.OTHER_ADDRESS: "sensor answer is damaged",
    Mode.SILENCE: "sensor does not answer",
    Mode.EXCEPTION: "sensor refuses the request",
}
"""How it misbehaves, and the cause that the driver must name."""


@dataclass
class Image:
    """A device's registers, as bytes by address, and the function that reads them."""

    function: int
    registers: Mapping[int, bytes]

    def answer(self, pdu: bytes) -> bytes:
        """What it says to a request, without address and checksum."""
        function, start, count = struct.unpack(">BHH", pdu)
        wanted = [self.registers.get(address) for address in range(start, start + count)]
        if function != self.function or None in wanted:
            return bytes((function | 0x80, ILLEGAL_DATA_ADDRESS))
        data = b"".join(register for register in wanted if register is not None)
        return bytes((function, len(data))) + data


def image(function: int, words: Mapping[int, int], *, size: int = 2) -> Image:
    """An image of registers that are numbers."""
    return Image(function, {address: word.to_bytes(size, "big") for address, word in words.items()})


def crc16(frame: bytes) -> bytes:
    """CRC-16/MODBUS (polynomial 0x8005 reflected, start 0xFFFF), low byte first."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


class Slaves:
    """Devices on one line; ``port`` stays the same path when it is unplugged and plugged in again."""

    def __init__(self, folder: Path, units: Mapping[int, Image]) -> None:
        self.port = str(folder / "ttyPZEM")
        self.mode = Mode.GOOD
        self.units = dict(units)
        self.requests: list[bytes] = []
        self._master = self._slave = -1
        self._wake_read = self._wake_write = -1
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.unplug()

    def plug(self) -> None:
        """Put the devices on their port."""
        assert self._thread is None, "already plugged in"
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.symlink(os.ttyname(self._slave), self.port)
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="modbus", daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Take the devices away; their port is gone."""
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
        """What the devices say to ``request``; empty when they keep silent."""
        address = request[0]
        if request[6:] != crc16(request[:6]) or address not in self.units:
            return b""
        good = _framed(bytes((address,)) + self.units[address].answer(request[1:6]))
        return good if good[1] & 0x80 else self._spoiled(good)

    def _spoiled(self, good: bytes) -> bytes:
        return {
            Mode.GOOD: good,
            Mode.BAD_CRC: good[:-1] + bytes((good[-1] ^ 0x55,)),
            Mode.SILENCE: b"",
            Mode.GARBAGE: GARBAGE,
            Mode.EXCEPTION: _framed(bytes((good[0], good[1] | 0x80, ILLEGAL_DATA_ADDRESS))),
            Mode.PARTIAL: good[: len(good) // 2],
            Mode.ONE_BYTE: good[:1],
            Mode.OTHER_ADDRESS: _framed(bytes((good[0] ^ 0x01,)) + good[1:-2]),
        }[self.mode]


def _framed(frame: bytes) -> bytes:
    return frame + crc16(frame)


class TcpSlaves:
    """Devices behind one TCP port."""

    def __init__(self, units: Mapping[int, Image]) -> None:
        self.units = dict(units)
        self.mode = Mode.GOOD
        self.port = 0
        self.connections = 0
        self.closes = False
        """Whether it closes the connection after each answer."""

    def talk(self, connection: socket.socket) -> None:
        """Answer until the other side hangs up."""
        self.connections += 1
        while len(request := connection.recv(12, socket.MSG_WAITALL)) == 12:
            good = self.units[request[6]].answer(request[7:])
            head = request[:4] + struct.pack(">HB", len(good) + 1, request[6])
            late = struct.pack(">H", struct.unpack(">H", request[:2])[0] ^ 0x8000) + head[2:]
            connection.sendall(
                {
                    Mode.GOOD: late + good + head + good,  # an answer that nobody asked for, and ours
                    Mode.SILENCE: b"",
                    Mode.GARBAGE: GARBAGE,
                    Mode.EXCEPTION: request[:4] + struct.pack(">HBBB", 3, request[6], request[7] | 0x80, 2),
                    Mode.PARTIAL: (head + good)[:9],
                    Mode.ONE_BYTE: head[:1],
                    Mode.OTHER_ADDRESS: head[:6] + bytes((request[6] ^ 1,)) + good,
                }[self.mode]
            )
            if self.closes:
                return


@contextmanager
def over_tcp(units: Mapping[int, Image]) -> Iterator[TcpSlaves]:
    """Serve the devices on a free port of this machine."""
    slaves = TcpSlaves(units)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            slaves.talk(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        slaves.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield slaves
        finally:
            server.shutdown()


class Loop(serial.Serial):  # type: ignore[misc]
    """A serial port that is never opened, with devices behind it that answer at once."""

    def __init__(self, slaves: Slaves) -> None:
        super().__init__()
        self.is_open = True
        self._slaves = slaves
        self._answers = b""

    def write(self, request: bytes) -> int:
        """Send a request: its answer waits then."""
        self._slaves.requests.append(request)
        self._answers += self._slaves.answer(request)
        return len(request)

    def read(self, size: int = 1) -> bytes:
        """At most so many bytes; fewer are what a port gives after its timeout."""
        got, self._answers = self._answers[:size], self._answers[size:]
        return got

    def reset_input_buffer(self) -> None:
        """Forget what waits."""
        self._answers = b""

    def reset_output_buffer(self) -> None:
        """Nothing waits to be sent."""

    def close(self) -> None:
        """Nothing to close."""

    def _reconfigure_port(self, force_update: bool = False) -> None:
        """Nothing to set."""
