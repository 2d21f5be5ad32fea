"""The line to a sensor: a serial device, or a TCP port of a gateway that passes the bytes on.

>>> Line("/dev/ttyUSB0", baud_rate=115_200).frame
'8N1'
"""

from __future__ import annotations

import termios
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import serial

from broker.contract.errors import ConfigurationError

if TYPE_CHECKING:
    from meter_firmware.settings import SensorSettings

ERRORS = (OSError, termios.error, ValueError)
"""What pyserial raises for a port that cannot be opened, or is gone."""
CHUNK = 1024
"""Bytes that are read at most in one step."""


@dataclass(frozen=True)
class Line:
    """Where, how fast (Bd), and data bits, parity and stop bits; TCP has only the first."""

    url: str
    baud_rate: int
    frame: str = "8N1"

    @classmethod
    def given(cls, settings: SensorSettings, *, baud_rate: int, frame: str) -> Line:
        """As the settings say, or as is usual for the kind; ConfigurationError if a TCP port is missing."""
        speed, bits = settings.baud_rate or baud_rate, settings.frame or frame
        if settings.host is None:
            return cls(settings.port, speed, bits)
        if settings.tcp_port is None:
            raise ConfigurationError(
                f"sensor.tcp_port is missing: name the port of {settings.host} that passes the bytes on"
            )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return cls(f"socket://{host}:{settings.tcp_port}", speed, bits)

    @property
    def speed_is_ours(self) -> bool:
        """Whether the baud rate can be changed from here: behind a plain TCP port it cannot."""
        return not self.url.startswith("socket://")

    def open(self, *, timeout: float) -> Any:
        """The pyserial port, for us alone; reads end after ``timeout`` s. One of ERRORS if that fails."""
        port = serial.serial_for_url(self.url, do_not_open=True)
        port.baudrate = self.baud_rate
        port.bytesize, port.parity, port.stopbits = int(self.frame[0]), self.frame[1], int(self.frame[2])
        port.timeout = port.write_timeout = timeout
        if self.speed_is_ours:
            port.exclusive = True
        port.open()
        return port


def received(port: Any) -> bytes:
    """What has come, as soon as it has; nothing after the port's timeout. One of ERRORS if it is gone."""
    data = bytearray(port.read(1))
    try:
        while len(data) < CHUNK and (waiting := port.in_waiting):
            data += port.read(min(waiting, CHUNK - len(data)))
    except ERRORS:
        if not data:
            raise
    return bytes(data)  # if the port is gone, the next read fails as well
