"""PZEM-004T v3: single phase AC meter on Modbus RTU.

Datasheet: Peacefair, "PZEM-004T V3.0 User Manual", section 1 (measuring ranges) and section 2.3
(input registers 0x0000 … 0x0009, function 04, 9600 8N1). 32-bit values come low word first. The
slave answers to its own address (1 … 247) and, alone on the line, to the general address 0xF8.

>>> decode((2310, 191, 0, 213, 0, 32878, 1, 500, 48, 0))["energy"]
98414.0
"""

from __future__ import annotations

from collections.abc import Sequence

from meter_firmware.sensors.modbus import Device, Register, values
from meter_firmware.sensors.sensor import Measurement

REGISTERS = 10
ALARM_REGISTER = 0x0009
ALARM = {0x0000: False, 0xFFFF: True}

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


def decode(words: Sequence[int]) -> Measurement:
    """The ten input registers as V, A, W, Wh, Hz and 1; a value that cannot be is absent.

    A frame with 0 V and 0 Hz is no measurement, and gives nothing: the sensor starts, or has no mains.
    """
    told = values(TABLE, words) | {"alarm": ALARM.get(words[ALARM_REGISTER])}
    if told["voltage"] == 0 and told["frequency"] == 0:
        return {}
    return {name: value for name, value in told.items() if value is not None}


PZEM004T = Device(
    name="pzem004t",
    baud_rate=9600,
    answer_seconds=0.5,  # 25 bytes take 26 ms at 9600 Bd, and the sensor thinks for up to 100 ms
    first=0x0000,
    count=REGISTERS,
    table=TABLE,
    decode=decode,
)
