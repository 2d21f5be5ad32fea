"""PZEM-004T v3: single phase AC meter on Modbus RTU.

Datasheet: Peacefair, "PZEM-004T V3.0 User Manual", section 1 (measuring ranges) and section 2.3
(input registers 0x0000 … 0x0009, function 04, 9600 8N1). 32-bit values come low word first. The
slave answers to its own address (1 … 247) and, alone on the line, to the general address 0xF8.

>>> decode((2310, 191, 0, 213, 0, 32878, 1, 500, 48, 0))["energy"]
98414.0
"""

from __future__ import annotations

import asyncio
import termios
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import minimalmodbus
import serial

from broker.contract.quantities import QUANTITIES
from meter_firmware.sensors.sensor import Measurement, SensorError

FIRST_REGISTER = 0x0000
REGISTERS = 10
READ_INPUT_REGISTERS = 4
BAUD_RATE = 9600
ALARM_REGISTER = 0x0009
ALARM = {0x0000: False, 0xFFFF: True}
ANSWER_SECONDS = 0.5
"""25 bytes take 26 ms at 9600 Bd, and the sensor thinks for up to 100 ms."""


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


# fmt: off
TABLE: tuple[Register, ...] = (
    #        quantity        address words divisor unit  largest
    Register("voltage",      0x0000, 1,      10,   "V",      300.0),
    Register("current",      0x0001, 2,    1000,   "A",      120.0),
    Register("power",        0x0003, 2,      10,   "W",   36_000.0),
    Register("energy",       0x0005, 2,       1,   "Wh", 9_999_990.0),
    Register("frequency",    0x0007, 1,      10,   "Hz",     100.0),
    Register("power_factor", 0x0008, 1,     100,   "1",        1.0),
)
# fmt: on

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


def decode(words: Sequence[int]) -> Measurement:
    """The ten input registers as V, A, W, Wh, Hz and 1; a value that cannot be is absent.

    A frame with 0 V and 0 Hz is no measurement, and gives nothing: the sensor starts, or has no mains.
    """
    told = {row.quantity: _value(row, words) for row in TABLE} | {"alarm": ALARM.get(words[ALARM_REGISTER])}
    if told["voltage"] == 0 and told["frequency"] == 0:
        return {}
    return {name: value for name, value in told.items() if value is not None}


def _value(row: Register, words: Sequence[int]) -> float | None:
    start = row.address - FIRST_REGISTER
    raw = sum(word << 16 * i for i, word in enumerate(words[start : start + row.words]))
    value = raw / row.divisor
    return value if value <= row.largest else None


def open_port(port: str) -> serial.Serial:
    """Open ``port`` at 9600 8N1 for us alone; OSError or termios.error if that fails."""
    return serial.Serial(
        port, BAUD_RATE, timeout=ANSWER_SECONDS, write_timeout=ANSWER_SECONDS, exclusive=True
    )


class Pzem004t:
    """The sensor on a serial port; after a failed read the port is opened anew by the next one."""

    measures = tuple(name for name in QUANTITIES if name in {row.quantity for row in TABLE})

    def __init__(self, port: str, *, address: int) -> None:
        self._port = port
        self._address = address
        self._serial: serial.Serial | None = None
        self._busy = threading.Lock()

    async def read(self) -> Measurement:
        """One request for all registers, at most half a second; SensorError if the answer is not good."""
        words = await asyncio.to_thread(self._read_registers)
        measured = decode(words)
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
            self._serial = open_port(self._port)
        instrument = minimalmodbus.Instrument(self._serial, self._address)
        words: list[int] = instrument.read_registers(
            FIRST_REGISTER, REGISTERS, functioncode=READ_INPUT_REGISTERS
        )
        return words

    def close(self) -> None:
        """Close the port; a port that is already gone is as good as closed."""
        with self._busy:
            port, self._serial = self._serial, None
            if port is not None:
                port.close()
