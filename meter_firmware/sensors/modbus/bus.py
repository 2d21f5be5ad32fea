"""A Modbus bus: a serial line, or a connection on TCP. Meters of one process on the same bus share one.

>>> line = bus_of(SensorSettings(kind="sdm120", host="192.0.2.7"), device)  # doctest: +SKIP
>>> line.read(Query(unit=1, function=4, address=0, count=2))  # doctest: +SKIP
[17255, 0]
"""

from __future__ import annotations

import asyncio
import socket
import termios
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn
from weakref import WeakValueDictionary

import minimalmodbus
import serial

from broker.contract.errors import ConfigurationError
from meter_firmware.sensors.modbus import frames
from meter_firmware.sensors.sensor import SensorError

TCP_PORT = 502
CONNECT_SECONDS = 2.0
REFUSAL_BYTES = 5
"""Of an RTU frame: address, function, code and checksum."""
PARITIES = {"N": serial.PARITY_NONE, "E": serial.PARITY_EVEN, "O": serial.PARITY_ODD}


class NoAnswerError(SensorError):
    """The device kept silent."""


class RefusedError(SensorError):
    """The device answered that it does not do this."""


@dataclass(frozen=True)
class Query:
    """``count`` registers from ``address`` on, of the device ``unit``; ``size`` bytes each."""

    unit: int
    function: int
    address: int
    count: int
    size: int = 2
    seconds: float = 0.5
    """How long we wait for the answer."""

    @property
    def pdu(self) -> bytes:
        """The request."""
        return frames.request(self.function, self.address, self.count)


@dataclass(frozen=True)
class Line:
    """A serial line: baud rate, and ``8N1`` or the like."""

    baud_rate: int
    frame: str

    def __str__(self) -> str:
        return f"{self.baud_rate} Bd {self.frame}"


# What can go wrong on the wire, from the special to the general. minimalmodbus' errors are OSErrors;
# pyserial raises OSError for a port that is gone, but its termios calls raise termios.error.
_CAUSES: tuple[tuple[type[Exception], str, type[SensorError]], ...] = (
    (minimalmodbus.NoResponseError, "sensor does not answer", NoAnswerError),
    (minimalmodbus.SlaveReportedException, "sensor refuses the request", RefusedError),
    (minimalmodbus.ModbusException, "sensor answer is damaged", SensorError),
    (frames.RefusalError, "sensor refuses the request", RefusedError),
    (TimeoutError, "sensor does not answer", NoAnswerError),
    (OSError, "sensor port is not available", SensorError),
    (termios.error, "sensor port is not available", SensorError),
    (ValueError, "sensor answer is damaged", SensorError),
)


class Bus(ABC):
    """Devices that are reached over one wire, one request at a time."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.turn = asyncio.Lock()
        """Held by the sensor that reads, so that those that wait need no thread."""
        self.units = 0
        """Sensors that use it."""
        self._busy = threading.Lock()

    def join(self) -> None:
        """One more sensor uses it."""
        self.units += 1

    def leave(self) -> None:
        """One sensor less; the last one closes it. A later read opens it again."""
        self.units -= 1
        if self.units <= 0 and _buses.get(self.place) is self:
            del _buses[self.place]
        self.close()

    def read(self, query: Query) -> list[int]:
        """The registers; SensorError if there is no good answer. After an error the port is opened anew."""
        with self._busy:
            try:
                return self._ask(query)
            except tuple(kind for kind, _, _ in _CAUSES) as error:
                self._hang_up()
                self._fail(error)

    def close(self) -> None:
        """Give the port back; a later read opens it again."""
        with self._busy:
            self._hang_up()

    def _fail(self, error: Exception) -> NoReturn:
        cause, made = next((text, made) for kind, text, made in _CAUSES if isinstance(error, kind))
        raise made(cause, f"{self.place}: {error}") from error

    @abstractmethod
    def _ask(self, query: Query) -> list[int]: ...

    @abstractmethod
    def _hang_up(self) -> None: ...


class Port(serial.Serial):  # type: ignore[misc]
    """A serial port that waits for no more bytes after a refusal, which is shorter than other answers."""

    def read(self, size: int = 1) -> bytes:
        """At most so many bytes, or a refusal."""
        return _read_frame(super().read, size)


def _read_frame(read: Callable[[int], bytes], size: int) -> bytes:
    head = read(min(size, REFUSAL_BYTES))
    if len(head) < REFUSAL_BYTES or head[1] & 0x80:
        return head
    return head + (read(size - len(head)) if size > len(head) else b"")


class SerialBus(Bus):
    """Modbus RTU on a serial port, which is ours alone, or on a gateway's (``socket://host:port``)."""

    def __init__(self, port: str, line: Line) -> None:
        super().__init__(port)
        self.line = line
        self._serial: serial.SerialBase | None = None

    def _ask(self, query: Query) -> list[int]:
        port = self._serial = self._serial or self._open(query.seconds)
        port.timeout = query.seconds
        if query.size != 2 or not isinstance(port, serial.Serial):
            return self._ask_plainly(port, query)
        words: list[int] = minimalmodbus.Instrument(port, query.unit).read_registers(
            query.address, query.count, functioncode=query.function
        )
        return words

    @staticmethod
    def _ask_plainly(port: serial.SerialBase, query: Query) -> list[int]:
        """The library knows registers of 2 bytes and ports of this machine only."""
        port.reset_input_buffer()
        port.write(frames.rtu(query.unit, query.pdu))
        size = frames.RTU_OVERHEAD + 2 + query.size * query.count
        answer = port.read(size) if isinstance(port, Port) else _read_frame(port.read, size)
        if not answer:
            raise TimeoutError("no answer")
        return frames.words(
            query.function, frames.of_rtu(answer, unit=query.unit), count=query.count, size=query.size
        )

    def _open(self, seconds: float) -> serial.SerialBase:
        """The port, for us alone; OSError, ValueError or termios.error if that fails."""
        made = serial.serial_for_url if "://" in self.place else Port
        return made(
            self.place,
            self.line.baud_rate,
            bytesize=int(self.line.frame[0]),
            parity=PARITIES[self.line.frame[1]],
            stopbits=int(self.line.frame[2]),
            timeout=seconds,
            write_timeout=seconds,
            exclusive=True,
        )

    def _hang_up(self) -> None:
        port, self._serial = self._serial, None
        if port is not None:
            port.close()


class TcpBus(Bus):
    """Modbus TCP: a device with an Ethernet port, or a gateway with devices behind it."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port}")
        self._target = (host, port)
        self._socket: socket.socket | None = None
        self._transaction = 0

    def _ask(self, query: Query) -> list[int]:
        if self._socket is not None:
            try:
                return self._ask_on(self._socket, query)
            except ConnectionError:  # the device has closed an idle connection, as many do
                self._hang_up()
        self._socket = socket.create_connection(self._target, timeout=max(CONNECT_SECONDS, query.seconds))
        return self._ask_on(self._socket, query)

    def _ask_on(self, connection: socket.socket, query: Query) -> list[int]:
        self._transaction = self._transaction % 0xFFFF + 1
        until = time.monotonic() + query.seconds
        connection.settimeout(query.seconds)
        connection.sendall(frames.tcp(self._transaction, query.unit, query.pdu))
        answer = self._answer(connection, until, query.unit)
        return frames.words(query.function, answer, count=query.count, size=query.size)

    def _answer(self, connection: socket.socket, until: float, unit: int) -> bytes:
        """The answer to our newest request; one to an older request is dropped."""
        while True:
            head = _received(connection, frames.HEADER.size, until)
            transaction, protocol, length, who = frames.HEADER.unpack(head)
            if protocol or not 2 <= length <= frames.LONGEST_PDU + 1:
                raise frames.FrameError(f"header {head.hex()}")
            pdu = _received(connection, length - 1, until)
            if transaction == self._transaction:
                if who != unit:
                    raise frames.FrameError(f"answer of unit {who}")
                return pdu

    def _hang_up(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()


def _received(connection: socket.socket, count: int, until: float) -> bytes:
    got = b""
    while len(got) < count:
        left = until - time.monotonic()
        if left <= 0:
            raise frames.FrameError(f"only {len(got)} bytes") if got else TimeoutError("no answer")
        connection.settimeout(left)
        try:
            more = connection.recv(count - len(got))
        except TimeoutError:
            continue
        if not more:
            raise ConnectionError("connection closed")
        got += more
    return got


_buses: WeakValueDictionary[str, Bus] = WeakValueDictionary()
"""Those in use in this process, by place."""


def serial_bus(port: str, line: Line) -> Bus:
    """The bus on this port; ConfigurationError if another meter uses it with another line."""
    bus = _buses.get(port)
    if isinstance(bus, SerialBus):
        if bus.line != line:
            raise ConfigurationError(
                f"sensor.port {port}: one meter says {bus.line}, another {line}:"
                " meters on one port need the same line"
            )
        return bus
    bus = _buses[port] = SerialBus(port, line)
    return bus


def tcp_bus(host: str, port: int) -> Bus:
    """The bus on this TCP port."""
    bus = _buses.get(f"{host}:{port}")
    if bus is None:
        bus = _buses[f"{host}:{port}"] = TcpBus(host, port)
    return bus
