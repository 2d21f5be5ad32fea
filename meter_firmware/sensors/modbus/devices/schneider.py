"""Schneider iEM3x50 and iEM3x55: holding registers (function 03), high word first, kW and Wh.

Registers: DEVICES.md 2.3, from MBMD's `iem3000.go`; the address on the wire is the register's number less
1. The power factor has a coding of its own and is left out.

>>> IEM3000.decode({0x0BED: 0x3ECD, 0x0BEE: 0x4FDF})
{'power_l1': 401.0}
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register

# fmt: off
TABLE = (
    Register("current_l1",       0x0BB7, "f32"),
    Register("current_l2",       0x0BB9, "f32"),
    Register("current_l3",       0x0BBB, "f32"),
    Register("voltage_l1",       0x0BD3, "f32"),
    Register("voltage_l2",       0x0BD5, "f32"),
    Register("voltage_l3",       0x0BD7, "f32"),
    Register("power_l1",         0x0BED, "f32", times=1000),
    Register("power_l2",         0x0BEF, "f32", times=1000),
    Register("power_l3",         0x0BF1, "f32", times=1000),
    Register("power",            0x0BF3, "f32", times=1000),
    Register("reactive_power",   0x0BFB, "f32", times=1000),
    Register("apparent_power",   0x0C03, "f32", times=1000),
    Register("frequency",        0x0C25, "f32"),
    Register("energy_import",    0x0C83, "i64"),
    Register("energy_export",    0x0C87, "i64"),
    Register("reactive_import",  0x0C93, "i64"),
    Register("reactive_export",  0x0C97, "i64"),
    Register("energy_import_l1", 0x0DBD, "i64"),
    Register("energy_import_l2", 0x0DC1, "i64"),
    Register("energy_import_l3", 0x0DC5, "i64"),
)
# fmt: on

IEM3000 = Device("iem3000", "Schneider iEM3150, iEM3155, iEM3250, iEM3255", function=3, table=TABLE)

register_device(IEM3000)
