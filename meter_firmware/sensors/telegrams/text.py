"""Text telegrams: ``/`` and the name of the meter, an empty line, data lines, ``!`` and, with P1, a checksum.

The checksum is the CRC-16/ARC of all from ``/`` to ``!``, as four hexadecimal digits. Telegrams of older
meters (DSMR 2.2 and 3.0, IEC 62056-21 mode D) have none: of those each line must be one of data.

>>> list(TextDecoder(checksum=True).feed(b"/ABC5X\\r\\n\\r\\n1-0:1.7.0(00.5*kW)\\r\\n!0000\\r\\n"))
[Damaged(why='checksum 0000, not 9579')]
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from meter_firmware.sensors.crc16 import crc16
from meter_firmware.sensors.sensor import Measurement
from meter_firmware.sensors.telegrams.data_lines import DATA_LINE, values
from meter_firmware.sensors.telegrams.decoder import Damaged
from meter_firmware.sensors.telegrams.obis import measured

LONGEST = 16 * 1024
"""Bytes of a telegram; a longer one has lost its end."""
_HEAD = re.compile(rb"(?=/[A-Za-z]{3}[^\r\n/]{1,64}\r\n\r\n)")
_END = re.compile(rb"\n!([^\r\n]{0,8})\r\n")
_CRC_DIGITS = re.compile(rb"[0-9A-F]{4}")


def crc16_arc(data: bytes) -> int:
    """The checksum of a telegram."""
    return crc16(data, start=0)


class TextDecoder:
    """Finds telegrams in the bytes of a line; with ``checksum``, only those whose checksum is right."""

    def __init__(self, *, checksum: bool) -> None:
        self._checksum = checksum
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Measurement | Damaged]:
        """The telegrams that end in ``data``; what came before a telegram's beginning is left out."""
        self._buffer += data
        while end := _END.search(self._buffer):
            body, check = bytes(self._buffer[: end.start() + 2]), end[1]
            del self._buffer[: end.end()]
            yield from self._telegram(body, check)
        if len(self._buffer) > LONGEST:
            yield Damaged(f"no end of a telegram in {LONGEST} bytes")
            del self._buffer[:-64]

    def _telegram(self, body: bytes, check: bytes) -> Iterator[Measurement | Damaged]:
        heads = [found.start() for found in _HEAD.finditer(body)]
        if len(heads) > 1:
            yield Damaged("a telegram begins before the end of the one before")
        if heads:
            yield self._judged(body[heads[-1] :], check)

    def _judged(self, telegram: bytes, check: bytes) -> Measurement | Damaged:
        if self._checksum:
            right = f"{crc16_arc(telegram):04X}".encode()
            if not _CRC_DIGITS.fullmatch(check.upper()) or check.upper() != right:
                return Damaged(f"checksum {check.decode('ascii', 'replace')}, not {right.decode()}")
        text = telegram.decode("latin-1")
        if not self._checksum and (strange := [*_strange(text), *filter(None, [check.decode("latin-1")])]):
            return Damaged(f"no data line: {strange[0][:80]!r}")
        return measured(values(text)) or Damaged("no quantity that we know")


def _strange(text: str) -> list[str]:
    """The lines between head and end that are not of data."""
    return [line for line in text.split("\r\n")[2:-1] if not DATA_LINE.fullmatch(line)]
