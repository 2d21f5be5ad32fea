"""Siemens PAC2200: holding registers (function 03), float32, energy as float64 in Wh, high word first.

Registers: DEVICES.md 2.3, from MBMD's `pac2200.go`; addresses are decimal in that source. The frequency is
left out: its address there (46) is even, and all others are odd.

>>> PAC2200.decode({1: 0x4367, 2: 0x0000})
{'voltage_l1': 231.0}
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register

# fmt: off
TABLE = (
    Register("voltage_l1",       1, "f32"),
    Register("voltage_l2",       3, "f32"),
    Register("voltage_l3",       5, "f32"),
    Register("current_l1",      13, "f32"),
    Register("current_l2",      15, "f32"),
    Register("current_l3",      17, "f32"),
    Register("power_l1",        25, "f32"),
    Register("power_l2",        27, "f32"),
    Register("power_l3",        29, "f32"),
    Register("power",           65, "f32"),
    Register("reactive_power",  67, "f32"),
    Register("power_factor",    69, "f32"),
    Register("energy_import",  801, "f64"),
    Register("energy_export",  809, "f64"),
)
# fmt: on

PAC2200 = Device("pac2200", "Siemens PAC2200", function=3, table=TABLE)

register_device(PAC2200)
