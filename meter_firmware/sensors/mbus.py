"""M-Bus electricity meters behind a level converter (2400 8E1), by primary address; 254 is any that is alone.

We reset the link (SND_NKE), then ask for data (REQ_UD2) until the meter has no more. Frames are decoded by
pymeterbus. The phase of a record stands in the manufacturer's VIFE FF 01 … FF 03, which it leaves raw.

>>> frame_of(bytes.fromhex("1040fe3e16"))
0
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Any

from broker.contract.quantities import QUANTITIES
from meter_firmware.sensors.kinds import Kind, register
from meter_firmware.sensors.sensor import Measurement, Sensor, SensorError
from meter_firmware.sensors.telegrams.encoders import mbus
from meter_firmware.sensors.telegrams.line import Line
from meter_firmware.sensors.telegrams.obis import completed
from meter_firmware.sensors.telegrams.polled import PolledSensor, Talk
from meter_firmware.sensors.telegrams.pymeterbus import library
from meter_firmware.sensors.telegrams.simulated import FRAME, SIMULATES, Measure, answering
from meter_firmware.sensors.telegrams.wired import wired
from meter_firmware.settings import SensorSettings

ANYBODY = 254
SND_NKE, REQ_UD2, NEXT = 0x40, 0x5B, 0x20
"""Control fields; NEXT is the frame count bit, which changes with each part of an answer."""
RSP_UD, STATUS = 0x08, 0x30
"""Of an answer; two of its bits may be set (access demand, flow control)."""
ACK, START, STOP = 0xE5, 0x68, 0x16
SILENCE_SECONDS = 1.0
SHORT_BYTES = 5
"""Of a request."""
SHORTEST = 15
"""Length field of a frame with a header and no records."""
PARTS = 8
"""Of one answer at most."""
LONGEST = 2 * 261
_BAD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
PHASES = {(0xFF, 0x01): "_l1", (0xFF, 0x02): "_l2", (0xFF, 0x03): "_l3", (): ""}
FORWARD, BACKWARD = 0x3B, 0x3C
"""VIFE: accumulation only of positive, and only of negative contributions."""
SUBUNIT_OF_EXPORT = 1
NAMES = {"V": "voltage", "A": "current", "W": "power"}
MEASURES = tuple(
    name
    for name in QUANTITIES
    if name == "energy"
    or name in {f"{base}{phase}" for base in NAMES.values() for phase in PHASES.values()}
    or (name.startswith(("energy_import", "energy_export")) and "_l" not in name)
)
"""The most that a meter gives; which of them it gives, its answers tell."""


def exchange(talk: Talk, *, address: int) -> Measurement:
    """All parts of one answer; SensorError if one is not good."""
    talk.send(_short(SND_NKE, address))
    talk.until(_acknowledged, silence=SILENCE_SECONDS, longest=LONGEST)
    found: dict[str, Decimal] = {}
    for part in range(PARTS):
        talk.send(_short(REQ_UD2 | (0 if part % 2 else NEXT), address))
        frame = talk.until(frame_of, silence=SILENCE_SECONDS, longest=LONGEST)
        values, more = decoded(frame)
        _answers(frame, address)
        found |= {name: value for name, value in values.items() if name not in found}
        if not more:
            break
    if not (measurement := completed(found)):
        raise SensorError("sensor measures nothing", "no quantity that we know in its records")
    return measurement


def _answers(received: bytes, address: int) -> None:
    """SensorError if the first frame in ``received`` is no answer of the meter at ``address``."""
    control, who = received[_span(received)[0] + 4 :][:2]
    if control & ~STATUS != RSP_UD:
        raise SensorError("sensor answer is damaged", f"control field {control:02X} is no answer")
    if address not in (ANYBODY, who):
        raise SensorError("sensor answer is another meter's", f"of address {who}, not {address}")


def frame_of(received: bytes) -> int:
    """Where the first whole frame with data ends; 0: not yet."""
    return _span(received)[1]


def _span(received: bytes) -> tuple[int, int]:
    """Where the first frame with data begins and ends; both are 0 while it is not whole."""
    for start in range(len(received) - 5):
        head = received[start : start + 4]
        if head[0] == head[3] == START and head[1] == head[2] >= SHORTEST:
            end = start + head[1] + 6
            return (start, end) if end <= len(received) else (0, 0)
    return 0, 0


def decoded(received: bytes) -> tuple[dict[str, Decimal], bool]:
    """Quantities of the first frame in ``received``, and whether more parts follow; SensorError."""
    start, end = _span(received)
    frame = received[start:end] or bytes(2)
    if frame[-1] != STOP or sum(frame[4:-2]) & 0xFF != frame[-2]:
        right = f"{sum(frame[4:-2]) & 0xFF:02X} {STOP:02X}"
        raise SensorError("sensor answer is damaged", f"ends with {frame[-2:].hex(' ').upper()}, not {right}")
    meterbus = library()
    try:
        telegram = meterbus.TelegramLong.parse(list(frame))
        found: dict[str, Decimal] = {}
        for record in telegram.records:
            name, value = _quantity(record)
            if name and value is not None:
                found.setdefault(name, value)
        return found, bool(telegram.more_records_follow)
    except (*_BAD, meterbus.exceptions.MBusError) as error:
        raise SensorError(
            "sensor answer is damaged", f"not M-Bus: {type(error).__name__}: {error}"
        ) from error


def _quantity(record: Any) -> tuple[str, Decimal | None]:
    """Name and value of a record of now; no name for others."""
    storage, tariff, subunit = record.dib.parse_dife()
    if storage or record.dib.parts[0] & 0x3F >= 0x10 or record.dib.is_eoud or not record.vib.parts:
        return "", None  # of the past, or a minimum, a maximum or an error
    vife = tuple(record.vib.parts[2 if record.vib.parts[0] in (0xFB, 0xFD) else 1 :])
    unit, value = record.unit, record.value
    if not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        return "", None
    if unit == "Wh":
        return _register(vife, tariff or 0, subunit or 0), Decimal(value)
    if unit not in NAMES or tariff or subunit or vife not in PHASES:
        return "", None
    return NAMES[unit] + PHASES[vife], round(Decimal(value), 6)


def _register(vife: Sequence[int], tariff: int, subunit: int) -> str:
    """By the direction in the VIFE; without one, subunit 1 counts what is fed in."""
    ways = {(): "import", (FORWARD,): "import", (BACKWARD,): "export"}
    way = ways.get(tuple(vife), "")
    if not way or subunit > SUBUNIT_OF_EXPORT:
        return ""
    if subunit == SUBUNIT_OF_EXPORT and not vife:
        way = "export"
    return f"energy_{way}" + (f"_t{tariff}" if tariff else "")


def _short(control: int, address: int) -> bytes:
    return bytes((0x10, control, address, control + address & 0xFF, STOP))


def _acknowledged(received: bytes) -> int:
    return received.find(ACK) + 1


def _open(settings: SensorSettings) -> Sensor:
    library()
    address = ANYBODY if settings.address is None else settings.address
    line = Line.given(settings, baud_rate=2400, frame="8E1")
    return wired(PolledSensor(line, partial(exchange, address=address)), settings)


@asynccontextmanager
async def _simulated(measure: Measure) -> AsyncIterator[SensorSettings]:
    def answer(received: bytes) -> tuple[bytes, int]:
        if len(received) < SHORT_BYTES:
            return b"", 0
        reply = bytes((ACK,)) if received[1] == SND_NKE else mbus(measure(), received[2])
        return reply, SHORT_BYTES

    async with answering(answer) as port:
        yield SensorSettings(kind="mbus", port=port, frame=FRAME)


register(Kind("mbus", "M-Bus electricity meters", MEASURES, _open, _simulated, SIMULATES))
