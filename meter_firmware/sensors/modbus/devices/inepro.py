"""Inepro PRO380: holding registers (function 03), float32, high word first, kW and kWh.

Registers: DEVICES.md 2.3, from MBMD's `inepro.go`. The registers between those of the table exist, so they
are read through.

>>> PRO380.decode({0x5002: 0x4367, 0x5003: 0x0000})
{'voltage_l1': 231.0}
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register

# fmt: off
TABLE = (
    Register("voltage_l1",         0x5002, "f32"),
    Register("voltage_l2",         0x5004, "f32"),
    Register("voltage_l3",         0x5006, "f32"),
    Register("frequency",          0x5008, "f32"),
    Register("current_l1",         0x500C, "f32"),
    Register("current_l2",         0x500E, "f32"),
    Register("current_l3",         0x5010, "f32"),
    Register("power",              0x5012, "f32", times=1000),
    Register("power_l1",           0x5014, "f32", times=1000),
    Register("power_l2",           0x5016, "f32", times=1000),
    Register("power_l3",           0x5018, "f32", times=1000),
    Register("reactive_power",     0x501A, "f32", times=1000),
    Register("reactive_power_l1",  0x501C, "f32", times=1000),
    Register("reactive_power_l2",  0x501E, "f32", times=1000),
    Register("reactive_power_l3",  0x5020, "f32", times=1000),
    Register("apparent_power",     0x5022, "f32", times=1000),
    Register("apparent_power_l1",  0x5024, "f32", times=1000),
    Register("apparent_power_l2",  0x5026, "f32", times=1000),
    Register("apparent_power_l3",  0x5028, "f32", times=1000),
    Register("power_factor",       0x502A, "f32"),
    Register("power_factor_l1",    0x502C, "f32"),
    Register("power_factor_l2",    0x502E, "f32"),
    Register("power_factor_l3",    0x5030, "f32"),
    Register("energy_import",      0x600C, "f32", times=1000),
    Register("energy_import_t1",   0x600E, "f32", times=1000),
    Register("energy_import_t2",   0x6010, "f32", times=1000),
    Register("energy_import_l1",   0x6012, "f32", times=1000),
    Register("energy_import_l2",   0x6014, "f32", times=1000),
    Register("energy_import_l3",   0x6016, "f32", times=1000),
    Register("energy_export",      0x6018, "f32", times=1000),
    Register("energy_export_t1",   0x601A, "f32", times=1000),
    Register("energy_export_t2",   0x601C, "f32", times=1000),
    Register("energy_export_l1",   0x601E, "f32", times=1000),
    Register("energy_export_l2",   0x6020, "f32", times=1000),
    Register("energy_export_l3",   0x6022, "f32", times=1000),
    Register("reactive_import",    0x6030, "f32", times=1000),
    Register("reactive_import_l1", 0x6036, "f32", times=1000),
    Register("reactive_import_l2", 0x6038, "f32", times=1000),
    Register("reactive_import_l3", 0x603A, "f32", times=1000),
    Register("reactive_export",    0x603C, "f32", times=1000),
    Register("reactive_export_l1", 0x6042, "f32", times=1000),
    Register("reactive_export_l2", 0x6044, "f32", times=1000),
    Register("reactive_export_l3", 0x6046, "f32", times=1000),
)
# fmt: on

PRO380 = Device("pro380", "Inepro PRO380", function=3, table=TABLE, gap=4)

register_device(PRO380)
