"""PZEM-004T v3, PZEM-014 and PZEM-016: single phase AC meters on Modbus RTU.

Datasheet: Peacefair, "PZEM-004T V3.0 User Manual", section 1 (measuring ranges) and section 2.3
(input registers 0x0000 … 0x0009, function 04, 9600 8N1). 32-bit values come low word first. The
slave answers to its own address (1 … 247) and, alone on the line, to the general address 0xF8.

>>> PZEM004T.decode(dict(enumerate((2310, 191, 0, 213, 0, 32878, 1, 500, 48, 0))))["energy"]
98414.0
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register, Special, Words
from meter_firmware.sensors.sensor import Measurement

ALARM_REGISTER = 0x0009
ALARM = {0x0000: False, 0xFFFF: True}

# fmt: off
TABLE = (
    Register("voltage",      0x0000, "u16", over=10,   largest=300.0),
    Register("current",      0x0001, "u32", over=1000, largest=120.0),
    Register("power",        0x0003, "u32", over=10,   largest=36_000.0),
    Register("energy",       0x0005, "u32",            largest=9_999_990.0),
    Register("frequency",    0x0007, "u16", over=10,   largest=100.0),
    Register("power_factor", 0x0008, "u16", over=100),
)
# fmt: on


def _decode(words: Words, told: Measurement) -> Measurement:
    """With the alarm. 0 V and 0 Hz is no measurement: the sensor starts, or has no mains."""
    if told.get("voltage") == 0 and told.get("frequency") == 0:
        return {}
    alarm = ALARM.get(words.get(ALARM_REGISTER, -1))
    return told if alarm is None else told | {"alarm": alarm}


def _encode(measured: Measurement) -> dict[int, int]:
    return {ALARM_REGISTER: 0xFFFF if measured.get("alarm") else 0}


PZEM004T = Device(
    "pzem004t",
    "Peacefair PZEM-004T v3, PZEM-014, PZEM-016",
    function=4,
    table=TABLE,
    address=0xF8,
    low_word_first=True,
    special=Special((ALARM_REGISTER,), _decode, _encode),
    checked=False,
    tcp=False,
    answer_seconds=0.5,  # 25 bytes take 26 ms at 9600 Bd, and the sensor thinks for up to 100 ms
)

register_device(PZEM004T)
