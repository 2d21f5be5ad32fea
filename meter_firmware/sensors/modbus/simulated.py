"""Simulated Modbus devices on a wire: a pseudo-terminal that speaks RTU, or a port that speaks TCP.

A device answers from its own table, inverted: what the function returns at that moment stands in its
registers.

>>> async with simulated(SDM120, lambda: {"voltage": 231.0}) as settings:  # doctest: +SKIP
...     await kind("sdm120").open(settings).read()
{'voltage': 231.0}
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from time import monotonic

from meter_firmware.sensors.modbus import frames
from meter_firmware.sensors.modbus.table import Device
from meter_firmware.sensors.sensor import Measurement
from meter_firmware.sensors.terminal import terminal
from meter_firmware.settings import SensorSettings

REQUEST_BYTES = 8
"""Of a frame that reads registers, on RTU."""
REFRESH_SECONDS = 0.2
Answer = Callable[[bytes], bytes]
"""From the request (function and data) to the answer."""


@asynccontextmanager
async def simulated(device: Device, measure: Callable[[], Measurement]) -> AsyncIterator[SensorSettings]:
    """The device, alone on a serial line, and the settings to read it."""

    registers = refreshed(lambda: device.encode(measure()))

    def answer(pdu: bytes) -> bytes:
        return answered(device, registers(), pdu)

    async with on_serial_line({device.address: answer}) as port:
        yield SensorSettings(kind=device.name, port=port, frame="8N1")  # a pseudo-terminal has no parity


def refreshed(make: Callable[[], dict[int, int]]) -> Callable[[], dict[int, int]]:
    """The registers, made anew a few times a second, as a meter does: the blocks of one read fit together."""
    made, at = make(), monotonic()

    def registers() -> dict[int, int]:
        nonlocal made, at
        if monotonic() - at > REFRESH_SECONDS:
            made, at = make(), monotonic()
        return made

    return registers


def answered(device: Device, words: Mapping[int, int], pdu: bytes) -> bytes:
    """What a device with these registers answers."""
    function, first, count = struct.unpack(">BHH", pdu[:5])
    if function != device.function:
        return bytes((function | 0x80, frames.ILLEGAL_FUNCTION))
    known = range(min(words), max(words) + 1) if device.gap else words
    if any(address not in known for address in range(first, first + count)):
        return bytes((function | 0x80, frames.ILLEGAL_ADDRESS))
    size = 4 if device.wide else 2
    told = (words.get(address, 0).to_bytes(size, "big") for address in range(first, first + count))
    return bytes((function, size * count)) + b"".join(told)


@asynccontextmanager
async def on_serial_line(units: Mapping[int, Answer]) -> AsyncIterator[str]:
    """Units by address on a pseudo-terminal; gives its name."""
    loop = asyncio.get_running_loop()
    async with terminal() as (master, name):
        received = bytearray()

        def serve() -> None:
            received.extend(os.read(master, 256))
            while len(received) >= REQUEST_BYTES:
                frame = bytes(received[:REQUEST_BYTES])
                if frames.checksum(frame[:-2]) != frame[-2:]:
                    received.clear()  # out of step: the next request begins after a silence
                    return
                del received[:REQUEST_BYTES]
                if frame[0] in units:
                    os.write(master, frames.rtu(frame[0], units[frame[0]](frame[1:-2])))

        loop.add_reader(master, serve)
        try:
            yield name
        finally:
            loop.remove_reader(master)


@asynccontextmanager
async def on_tcp(units: Mapping[int, Answer]) -> AsyncIterator[int]:
    """Units by address on a TCP port of this machine; gives its number."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(frames.HEADER.size)
                transaction, _, length, unit = frames.HEADER.unpack(head)
                pdu = await reader.readexactly(length - 1)
                if unit in units:
                    writer.write(frames.tcp(transaction, unit, units[unit](pdu)))
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the reader has gone
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
