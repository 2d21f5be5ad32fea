"""Sensors on Modbus RTU: what all of them share. A kind of sensor is a :class:`Device`, in a file of its own.

One request reads all registers. 32-bit values come low word first. The line is 8N1.

>>> sensor = ModbusSensor(PZEM004T, "/dev/serial0", address=0xF8)  # doctest: +SKIP
>>> await sensor.read()  # doctest: +SKIP
{'voltage': 231.0, …}
"""

from __future__ import annotations

import asyncio
import termios
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import minimalmodbus
import serial

from broker.contract.quantities import QUANTITIES
from meter_firmware.sensors.sensor import Measurement, SensorError

READ_INPUT_REGISTERS = 4


@dataclass(frozen=True)
class Register:
    """``words`` registers from ``address`` on, low word first, give ``quantity`` in ``1/divisor`` unit."""

    quantity: str
    address: int
    words: int
    divisor: int
    unit: str
    largest: float
    """Well above the measuring range, or the end of the counter: a larger value is damage."""


@dataclass(frozen=True)
class Device:
    """A kind of sensor: its line, its registers, and what they mean."""

    name: str
    """As `sensor.kind` in meter.toml."""
    baud_rate: int
    answer_seconds: float
    first: int
    """Address of the first register."""
    count: int
    table: tuple[Register, ...]
    decode: Callable[[Sequence[int]], Measurement]
    """The registers as quantities; empty if they are no measurement."""

    @property
    def measures(self) -> tuple[str, ...]:
        """The quantities that it gives, in the order of the contract."""
        own = {row.quantity for row in self.table}
        return tuple(name for name in QUANTITIES if name in own)


# What can go wrong on the wire, from the special to the general. minimalmodbus' errors are OSErrors;
# pyserial raises OSError for a port that is gone, but its termios calls raise termios.error.
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (minimalmodbus.NoResponseError, "sensor does not answer"),
    (minimalmodbus.SlaveReportedException, "sensor refuses the request"),
    (minimalmodbus.ModbusException, "sensor answer is damaged"),
    (OSError, "sensor port is not available"),
    (termios.error, "sensor port is not available"),
    (ValueError, "sensor answer is damaged"),
)


def values(table: Sequence[Register], words: Sequence[int], *, first: int = 0) -> dict[str, float | None]:
    """The quantities of ``table`` in the registers from ``first`` on; None for a value that cannot be."""
    found: dict[str, float | None] = {}
    for row in table:
        start = row.address - first
        raw = sum(word << 16 * place for place, word in enumerate(words[start : start + row.words]))
        value = raw / row.divisor
        found[row.quantity] = value if value <= row.largest else None
    return found


class ModbusSensor:
    """A sensor on a serial port; after a failed read the port is opened anew by the next one."""

    def __init__(self, device: Device, port: str, *, address: int) -> None:
        self._device = device
        self._port = port
        self._address = address
        self._serial: serial.Serial | None = None
        self._busy = threading.Lock()

    @property
    def measures(self) -> tuple[str, ...]:
        """The quantities that it gives when it is well."""
        return self._device.measures

    async def read(self) -> Measurement:
        """One request for all registers; SensorError if the answer is not good."""
        words = await asyncio.to_thread(self._read_registers)
        measured = self._device.decode(words)
        if not measured:
            raise SensorError("sensor measures nothing", f"{self._port}: registers {words}")
        return measured

    def _read_registers(self) -> list[int]:
        try:
            with self._busy:
                return self._request()
        except tuple(kind for kind, _ in _CAUSES) as error:
            self.close()
            cause = next(text for kind, text in _CAUSES if isinstance(error, kind))
            raise SensorError(cause, f"{self._port}: {error}") from error

    def _request(self) -> list[int]:
        if self._serial is None:
            self._serial = self._open()
        instrument = minimalmodbus.Instrument(self._serial, self._address)
        words: list[int] = instrument.read_registers(
            self._device.first, self._device.count, functioncode=READ_INPUT_REGISTERS
        )
        return words

    def _open(self) -> serial.Serial:
        """The port, for us alone; OSError or termios.error if that fails."""
        seconds = self._device.answer_seconds
        return serial.Serial(
            self._port, self._device.baud_rate, timeout=seconds, write_timeout=seconds, exclusive=True
        )

    def close(self) -> None:
        """Close the port; a port that is already gone is as good as closed."""
        with self._busy:
            port, self._serial = self._serial, None
            if port is not None:
                port.close()
