"""ORNO WE-514, WE-515 (single phase), WE-516, WE-517 (three phases): holding registers (function 03).

Line: 9600 8E1. Registers: DEVICES.md 2.3, from MBMD's `orno1p.go` and `orno3p.go`. The single-phase meters
tell no direction. The three-phase ones have float32, high word first, with kW and kWh.

>>> WE_514.decode({0x130: 5000, 0x131: 23100})
{'frequency': 50.0, 'voltage': 231.0}
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register

# fmt: off
ONE_PHASE = (
    Register("frequency",      0x0130, "u16", over=100),
    Register("voltage",        0x0131, "u16", over=100),
    Register("current",        0x0139, "u32", over=1000),
    Register("power",          0x0140, "u32"),
    Register("reactive_power", 0x0148, "u32"),
    Register("apparent_power", 0x0150, "u32"),
    Register("power_factor",   0x0158, "u16", over=1000),
    Register("energy",         0xA000, "u32", times=10),
)
THREE_PHASES = (
    Register("voltage_l1",         0x000E, "f32"),
    Register("voltage_l2",         0x0010, "f32"),
    Register("voltage_l3",         0x0012, "f32"),
    Register("frequency",          0x0014, "f32"),
    Register("current_l1",         0x0016, "f32"),
    Register("current_l2",         0x0018, "f32"),
    Register("current_l3",         0x001A, "f32"),
    Register("power",              0x001C, "f32", times=1000),
    Register("power_l1",           0x001E, "f32", times=1000),
    Register("power_l2",           0x0020, "f32", times=1000),
    Register("power_l3",           0x0022, "f32", times=1000),
    Register("reactive_power",     0x0024, "f32", times=1000),
    Register("reactive_power_l1",  0x0026, "f32", times=1000),
    Register("reactive_power_l2",  0x0028, "f32", times=1000),
    Register("reactive_power_l3",  0x002A, "f32", times=1000),
    Register("apparent_power",     0x002C, "f32", times=1000),
    Register("apparent_power_l1",  0x002E, "f32", times=1000),
    Register("apparent_power_l2",  0x0030, "f32", times=1000),
    Register("apparent_power_l3",  0x0032, "f32", times=1000),
    Register("power_factor",       0x0034, "f32"),
    Register("power_factor_l1",    0x0036, "f32"),
    Register("power_factor_l2",    0x0038, "f32"),
    Register("power_factor_l3",    0x003A, "f32"),
    Register("energy_import",      0x0108, "f32", times=1000),
    Register("energy_import_l1",   0x010A, "f32", times=1000),
    Register("energy_import_l2",   0x010C, "f32", times=1000),
    Register("energy_import_l3",   0x010E, "f32", times=1000),
    Register("energy_export",      0x0110, "f32", times=1000),
    Register("energy_export_l1",   0x0112, "f32", times=1000),
    Register("energy_export_l2",   0x0114, "f32", times=1000),
    Register("energy_export_l3",   0x0116, "f32", times=1000),
    Register("reactive_import",    0x0120, "f32", times=1000),
    Register("reactive_import_l1", 0x0122, "f32", times=1000),
    Register("reactive_import_l2", 0x0124, "f32", times=1000),
    Register("reactive_import_l3", 0x0126, "f32", times=1000),
    Register("reactive_export",    0x0128, "f32", times=1000),
    Register("reactive_export_l1", 0x012A, "f32", times=1000),
    Register("reactive_export_l2", 0x012C, "f32", times=1000),
    Register("reactive_export_l3", 0x012E, "f32", times=1000),
    Register("energy_import_t1",   0x0132, "f32", times=1000),
    Register("energy_export_t1",   0x0134, "f32", times=1000),
    Register("energy_import_t2",   0x013E, "f32", times=1000),
    Register("energy_export_t2",   0x0140, "f32", times=1000),
)
# fmt: on

WE_514 = Device("orno_we514", "ORNO WE-514, WE-515", function=3, table=ONE_PHASE, frame="8E1")
WE_516 = Device("orno_we516", "ORNO WE-516, WE-517", function=3, table=THREE_PHASES, frame="8E1")

register_device(WE_514, WE_516)
