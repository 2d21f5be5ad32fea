"""IEC 62056-21 mode C: a meter with an optical head gives all its registers when it is asked.

We ask at 300 Bd; the meter tells its name and how fast it can send; we confirm that, and both change to it.
The answer ends with a check character, the exclusive or of all after STX. Baud rates and pauses are those of
iec62056-21 0.0.2. Behind a plain TCP port the rate cannot be changed from here: there we confirm the first.

>>> decoded(b"\\x021-0:1.8.0(001.5*kWh)\\r\\n!\\r\\n\\x03\\x58")
{'energy': 1500.0}
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial, reduce
from operator import xor

from meter_firmware.sensors.kinds import Kind, register
from meter_firmware.sensors.sensor import Measurement, Sensor, SensorError
from meter_firmware.sensors.telegrams.data_lines import values
from meter_firmware.sensors.telegrams.encoders import IDENTIFICATION
from meter_firmware.sensors.telegrams.encoders import iec62056_21 as encoded
from meter_firmware.sensors.telegrams.line import Line
from meter_firmware.sensors.telegrams.obis import MEASURES, measured
from meter_firmware.sensors.telegrams.polled import PolledSensor, Talk
from meter_firmware.sensors.telegrams.simulated import FRAME, SIMULATES, Measure, answering
from meter_firmware.sensors.telegrams.wired import wired
from meter_firmware.settings import SensorSettings

REQUEST = b"/?!\r\n"
STX, ETX, ACK = b"\x02", b"\x03", b"\x06"
END = b"!\r\n" + ETX
BAUD_RATES = {b"0": 300, b"1": 600, b"2": 1200, b"3": 2400, b"4": 4800, b"5": 9600, b"6": 19_200}
LONGEST = 16 * 1024
SILENCE_SECONDS = 2.5
REACTION_SECONDS = 0.25
"""A meter needs 200 ms between what it sends and what it hears."""
_IDENTIFICATION = re.compile(rb"/([A-Za-z]{3})([0-9A-Za-z])[^\r\n]{0,64}\r\n")


def exchange(talk: Talk, *, change: bool) -> Measurement:
    """One readout; ``change`` to the meter's baud rate. SensorError if it is not good."""
    talk.send(REQUEST)
    told = talk.until(_identified, silence=SILENCE_SECONDS, longest=LONGEST)
    found = _IDENTIFICATION.search(told)
    rate = found[2] if found else b""
    if rate not in BAUD_RATES:
        raise SensorError("sensor speaks another mode", f"{told[-80:]!r}: of IEC 62056-21, mode C is read")
    confirmed = rate if change else b"0"
    time.sleep(REACTION_SECONDS)
    talk.send(ACK + b"0" + confirmed + b"0\r\n")
    if change:
        talk.port.baudrate = BAUD_RATES[rate]
    return decoded(talk.until(_ended, silence=SILENCE_SECONDS, longest=LONGEST))


def decoded(answer: bytes) -> Measurement:
    """The quantities of a readout from STX to the check character; SensorError if that is wrong."""
    block = answer[answer.index(STX) + 1 : -1] if STX in answer else b""
    right = reduce(xor, block, 0)
    if not block.endswith(END) or answer[-1] != right:
        found = f"{answer[-1]:02X}" if answer else "none"
        raise SensorError("sensor answer is damaged", f"check character {found}, not {right:02X}")
    if not (measurement := measured(values(block.decode("latin-1")))):
        raise SensorError("sensor measures nothing", f"no quantity that we know in {len(block)} bytes")
    return measurement


def _identified(received: bytes) -> int:
    found = _IDENTIFICATION.search(received)
    return found.end() if found else 0


def _ended(received: bytes) -> int:
    """ETX counts only after STX; the check character follows it."""
    begin = received.find(STX)
    etx = received.find(ETX, begin) if begin >= 0 else -1
    return etx + 2 if 0 <= etx < len(received) - 1 else 0


def _open(settings: SensorSettings) -> Sensor:
    line = Line.given(settings, baud_rate=300, frame="7E1")
    return wired(PolledSensor(line, partial(exchange, change=line.speed_is_ours)), settings)


@asynccontextmanager
async def _simulated(measure: Measure) -> AsyncIterator[SensorSettings]:
    def answer(received: bytes) -> tuple[bytes, int]:
        if received.endswith(REQUEST):
            return IDENTIFICATION, len(received)
        if received.startswith(ACK) and received.endswith(b"\n"):
            return encoded(measure()), len(received)
        return b"", 0

    async with answering(answer) as port:
        yield SensorSettings(kind="iec62056_21", port=port, frame=FRAME)


register(
    Kind("iec62056_21", "IEC 62056-21 mode C with an optical head", MEASURES, _open, _simulated, SIMULATES)
)
