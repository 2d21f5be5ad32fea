"""PZEM-003 and PZEM-017: direct current meters on Modbus RTU.

Registers: DEVICES.md 2.4, from ESPHome's `pzemdc.cpp`. Function 04, 8 registers from 0, low word first.
Line: 9600 8N2 in the configurations of users.

>>> PZEM017.decode(dict(enumerate((2412, 350, 844, 0, 1207, 0, 0, 0))))["voltage"]
24.12
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register, Special, Words
from meter_firmware.sensors.sensor import Measurement

HIGH_VOLTAGE, LOW_VOLTAGE = 6, 7
"""Alarms: 0xFFFF when it is one."""

# fmt: off
TABLE = (
    Register("voltage", 0x0000, "u16", over=100),
    Register("current", 0x0001, "u16", over=100),
    Register("power",   0x0002, "u32", over=10),
    Register("energy",  0x0004, "u32"),
)
# fmt: on


def _decode(words: Words, told: Measurement) -> Measurement:
    alarms = {words.get(HIGH_VOLTAGE), words.get(LOW_VOLTAGE)}
    return told | {"alarm": 0xFFFF in alarms} if alarms <= {0, 0xFFFF} else told


def _encode(measured: Measurement) -> dict[int, int]:
    return {HIGH_VOLTAGE: 0xFFFF if measured.get("alarm") else 0, LOW_VOLTAGE: 0}


PZEM017 = Device(
    "pzem017",
    "Peacefair PZEM-003, PZEM-017 (direct current)",
    function=4,
    table=TABLE,
    frame="8N2",
    low_word_first=True,
    special=Special((HIGH_VOLTAGE, LOW_VOLTAGE), _decode, _encode),
    checked=False,
    alternating=False,
    tcp=False,
)

register_device(PZEM017)
