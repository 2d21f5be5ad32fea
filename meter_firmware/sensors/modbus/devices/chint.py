"""Chint DTSU666 (plain): holding registers (function 03), float32, high word first.

Registers: DEVICES.md 2.3, from MBMD's `dtsu666.go`. Values are scaled, except for energy in kWh. The
variant -CT needs the ratio of its transformers (100:5 is 20), which the reader applies. The variants -H
(Huawei) and -FE, and the single-phase DDSU666, have other registers: they are not here.

>>> DTSU666.decode({0x2006: 0x4510, 0x2007: 0x6000})
{'voltage_l1': 231.0}
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register

# fmt: off
TABLE = (
    Register("voltage_l1",        0x2006, "f32", over=10),
    Register("voltage_l2",        0x2008, "f32", over=10),
    Register("voltage_l3",        0x200A, "f32", over=10),
    Register("current_l1",        0x200C, "f32", over=1000),
    Register("current_l2",        0x200E, "f32", over=1000),
    Register("current_l3",        0x2010, "f32", over=1000),
    Register("power",             0x2012, "f32", over=10),
    Register("power_l1",          0x2014, "f32", over=10),
    Register("power_l2",          0x2016, "f32", over=10),
    Register("power_l3",          0x2018, "f32", over=10),
    Register("reactive_power",    0x201A, "f32", over=10),
    Register("reactive_power_l1", 0x201C, "f32", over=10),
    Register("reactive_power_l2", 0x201E, "f32", over=10),
    Register("reactive_power_l3", 0x2020, "f32", over=10),
    Register("power_factor",      0x202A, "f32", over=1000),
    Register("power_factor_l1",   0x202C, "f32", over=1000),
    Register("power_factor_l2",   0x202E, "f32", over=1000),
    Register("power_factor_l3",   0x2030, "f32", over=1000),
    Register("frequency",         0x2044, "f32", over=100),
    Register("energy_import",     0x101E, "f32", times=1000),
    Register("energy_import_l1",  0x1020, "f32", times=1000),
    Register("energy_import_l2",  0x1022, "f32", times=1000),
    Register("energy_import_l3",  0x1024, "f32", times=1000),
    Register("energy_export",     0x1028, "f32", times=1000),
    Register("energy_export_l1",  0x102A, "f32", times=1000),
    Register("energy_export_l2",  0x102C, "f32", times=1000),
    Register("energy_export_l3",  0x102E, "f32", times=1000),
)
# fmt: on

DTSU666 = Device("dtsu666", "Chint DTSU666, DTSU666-CT", function=3, table=TABLE)

register_device(DTSU666)
