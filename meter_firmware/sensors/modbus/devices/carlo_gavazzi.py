"""Carlo Gavazzi: input registers (function 04), int32 with the low word first, int16.

Registers: DEVICES.md 2.3, from MBMD's `carlogavazzi-*.go` and EVCC's `cg-emt1xx.yaml`. The EM24 has other
registers on RS-485 than on Ethernet. Whether it counts the export depends on the application that is set on
the meter.

>>> EM111.decode({0: 0x0906, 1: 0x0000})
{'voltage': 231.0}
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register

# fmt: off
PHASES = (
    Register("voltage_l1", 0x00, "i32", over=10),
    Register("voltage_l2", 0x02, "i32", over=10),
    Register("voltage_l3", 0x04, "i32", over=10),
    Register("current_l1", 0x0C, "i32", over=1000),
    Register("current_l2", 0x0E, "i32", over=1000),
    Register("current_l3", 0x10, "i32", over=1000),
    Register("power_l1",   0x12, "i32", over=10),
    Register("power_l2",   0x14, "i32", over=10),
    Register("power_l3",   0x16, "i32", over=10),
    Register("power",      0x28, "i32", over=10),
)
RS_485 = (
    Register("power_factor_l1",  0x32, "i16", over=1000),
    Register("power_factor_l2",  0x33, "i16", over=1000),
    Register("power_factor_l3",  0x34, "i16", over=1000),
    Register("power_factor",     0x35, "i16", over=1000),
    Register("frequency",        0x37, "i16", over=10),
    Register("energy_import",    0x42, "i32", times=100),
    Register("energy_import_l1", 0x46, "i32", times=100),
    Register("energy_import_l2", 0x48, "i32", times=100),
    Register("energy_import_l3", 0x4A, "i32", times=100),
    Register("energy_export",    0x5C, "i32", times=100),
)
ETHERNET = (
    Register("power_factor_l1",  0x2E, "i16", over=1000),
    Register("power_factor_l2",  0x2F, "i16", over=1000),
    Register("power_factor_l3",  0x30, "i16", over=1000),
    Register("power_factor",     0x31, "i16", over=1000),
    Register("frequency",        0x33, "i16", over=10),
    Register("energy_import",    0x34, "i32", times=100),
    Register("energy_import_l1", 0x40, "i32", times=100),
    Register("energy_import_l2", 0x42, "i32", times=100),
    Register("energy_import_l3", 0x44, "i32", times=100),
    Register("energy_export",    0x4E, "i32", times=100),
)
ONE_PHASE = (
    Register("voltage",       0x00, "i32", over=10),
    Register("current",       0x02, "i32", over=1000),
    Register("power",         0x04, "i32", over=10),
    Register("energy_import", 0x10, "i32", times=100),
    Register("energy_export", 0x20, "i32", times=100),
)
# fmt: on


def _device(name: str, models: str, table: tuple[Register, ...]) -> Device:
    return Device(name, f"Carlo Gavazzi {models}", function=4, table=table, low_word_first=True)


EM24 = _device("cg_em24", "EM24 (RS-485)", PHASES + RS_485)
EM24_E1 = _device("cg_em24_e1", "EM24 E1 (Ethernet)", PHASES + ETHERNET)
EM330 = _device("cg_em330", "EM330, EM340, ET330, ET340, EM530, EM540", PHASES + ETHERNET)
EM111 = _device("cg_em111", "EM110, EM111, EM112, ET112", ONE_PHASE)

register_device(EM24, EM24_E1, EM330, EM111)
