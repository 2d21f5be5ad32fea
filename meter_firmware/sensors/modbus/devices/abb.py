"""ABB A43, A44, B21, B23, B24: holding registers (function 03), high word first.

Registers: DEVICES.md 2.3, from MBMD's `abb.go`. A value that does not exist reads as all ones, or as the
largest value of a signed type: a B21 has no L2 and L3.

>>> ABB_B2X.decode({0x5B2C: 0x1388}), ABB_B2X.decode({0x5B2C: 0xFFFF})
({'frequency': 50.0}, {})
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import ALL_ONES, Device, Register

# fmt: off
TABLE = (
    Register("voltage_l1",       0x5B00, "u32", over=10),
    Register("voltage_l2",       0x5B02, "u32", over=10),
    Register("voltage_l3",       0x5B04, "u32", over=10),
    Register("current_l1",       0x5B0C, "u32", over=100),
    Register("current_l2",       0x5B0E, "u32", over=100),
    Register("current_l3",       0x5B10, "u32", over=100),
    Register("power",            0x5B14, "i32", over=100),
    Register("power_l1",         0x5B16, "i32", over=100),
    Register("power_l2",         0x5B18, "i32", over=100),
    Register("power_l3",         0x5B1A, "i32", over=100),
    Register("frequency",        0x5B2C, "u16", over=100),
    Register("power_factor",     0x5B3A, "i16", over=1000),
    Register("power_factor_l1",  0x5B3B, "i16", over=1000),
    Register("power_factor_l2",  0x5B3C, "i16", over=1000),
    Register("power_factor_l3",  0x5B3D, "i16", over=1000),
    Register("energy_import",    0x5000, "u64", times=10),
    Register("energy_export",    0x5004, "u64", times=10),
    Register("energy_import_l1", 0x5460, "u64", times=10),
    Register("energy_import_l2", 0x5464, "u64", times=10),
    Register("energy_import_l3", 0x5468, "u64", times=10),
    Register("energy_export_l1", 0x546C, "u64", times=10),
    Register("energy_export_l2", 0x5470, "u64", times=10),
    Register("energy_export_l3", 0x5474, "u64", times=10),
)
# fmt: on

ABB_B2X = Device("abb_b2x", "ABB A43, A44, B21, B23, B24", function=3, table=TABLE, absent=ALL_ONES)

register_device(ABB_B2X)
