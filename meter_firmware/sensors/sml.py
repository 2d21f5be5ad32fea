"""SML: German meters with an optical head (9600 8N1); a telegram comes each 1 … 4 s.

The checksum of a telegram is X.25; Holley DTZ541 sends that of Kermit. What the first good telegram of a line
has, is expected of the others. Framing and structure are read by smllib.

>>> list(SmlDecoder().feed(b"no telegram"))
[]
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Literal

from smllib.const import UNITS as SML_UNITS
from smllib.crc import kermit
from smllib.errors import CrcError, SmlLibException
from smllib.reader import SmlStreamReader
from smllib.sml_frame import SmlFrame
from smllib.sml_frame_snippet import SmlFrameSnippet

from meter_firmware.sensors.kinds import Kind, register
from meter_firmware.sensors.sensor import Measurement, Sensor
from meter_firmware.sensors.telegrams.decoder import Damaged
from meter_firmware.sensors.telegrams.encoders import sml
from meter_firmware.sensors.telegrams.line import Line
from meter_firmware.sensors.telegrams.obis import MEASURES, UNITS, measured
from meter_firmware.sensors.telegrams.simulated import SIMULATES, Measure, sending
from meter_firmware.sensors.telegrams.stream import StreamSensor
from meter_firmware.sensors.telegrams.wired import wired
from meter_firmware.settings import SensorSettings

PATIENCE = 8.0
"""s: two telegrams of a slow meter."""
LONGEST = 8 * 1024
"""Bytes of a telegram; a longer one has lost its end."""
LARGEST_SCALER = 9
_START = b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01"
_LIST = 0x70
_BAD = (
    SmlLibException,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What smllib raises for a telegram whose structure is not SML's."""

Crc = Literal["x25", "kermit"]


class _Frame(SmlFrame):
    """Each part takes at least a byte, and no list is very long: no telegram takes long to read."""

    def get_value(self, pos: int | None = None) -> SmlFrameSnippet:
        start = self.next_pos if pos is None else pos
        first = self.bytes[start]
        if first & 0x80 and self.bytes[start + 1] & 0x80:
            raise ValueError(f"a length of more than 255 at {start}")
        found = super().get_value(pos)
        if first & 0x70 != _LIST and self.next_pos <= start:
            raise ValueError(f"an empty part at {start}")
        return found


class SmlDecoder:
    """Finds SML telegrams in the bytes of a line."""

    def __init__(self) -> None:
        self._crc: Crc | None = None
        self._reader = SmlStreamReader()

    def feed(self, data: bytes) -> Iterator[Measurement | Damaged]:
        """The telegrams that end in ``data``; what came before a telegram's beginning is left out."""
        self._reader.add(data)
        while True:
            try:
                frame = self._reader.get_frame()
            except CrcError as error:
                if (complaint := self._wrong(error)) is not None:
                    yield complaint
                continue
            if frame is None:
                break
            self._crc = self._crc or "x25"
            yield decoded(frame.bytes)
        if len(self._reader.bytes) > LONGEST:
            yield Damaged(f"no end of a telegram in {LONGEST} bytes")
            self._reader.bytes = self._reader.bytes[-len(_START) :]

    def _wrong(self, error: CrcError) -> Damaged | None:
        """None if it is Kermit's checksum, and the telegram is to be read once more with that."""
        rest = self._reader.bytes
        if self._crc is None and kermit.get_crc(error.msg[:-2]) == error.crc_msg:
            self._crc = "kermit"
            self._reader = SmlStreamReader(crc="kermit")
            self._reader.add(error.msg + rest)
            return None
        if (again := error.msg.rfind(_START)) > 0:  # the telegram before has lost its end
            self._reader.bytes = error.msg[again:] + rest
            return Damaged("a telegram begins before the end of the one before")
        return Damaged(f"checksum {error.crc_msg:04X}, not {error.crc_calc:04X}")


def decoded(content: bytes) -> Measurement | Damaged:
    """The quantities of a telegram, without its escape sequences; Damaged if it is not SML, or has none."""
    try:
        entries = _Frame(content).get_obis()
    except _BAD as error:
        return Damaged(f"not SML: {type(error).__name__}: {error}"[:200])
    told: dict[str, Decimal] = {}
    for entry in entries:
        code, value, scaler = entry.obis.obis_short, entry.value, entry.scaler or 0
        now = entry.obis.startswith("01") and entry.obis.endswith("ff")  # electricity, and no past period
        right = UNITS.get(code) == SML_UNITS.get(entry.unit or 0) and abs(scaler) <= LARGEST_SCALER
        if now and right and isinstance(value, int):
            told.setdefault(code, Decimal(value).scaleb(scaler))
    return measured(told) or Damaged("no quantity that we know")


def _open(settings: SensorSettings) -> Sensor:
    line = Line.given(settings, baud_rate=9600, frame="8N1")
    return wired(StreamSensor(line, SmlDecoder, patience=PATIENCE), settings)


@asynccontextmanager
async def _simulated(measure: Measure) -> AsyncIterator[SensorSettings]:
    async with sending(lambda: sml(measure()), every=1.0) as port:
        yield SensorSettings(kind="sml", port=port)


register(Kind("sml", "SML meters with an optical head", MEASURES, _open, _simulated, SIMULATES))
