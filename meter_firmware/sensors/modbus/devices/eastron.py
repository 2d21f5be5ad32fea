"""Eastron SDM: input registers (function 04), float32, high word first.

Registers: DEVICES.md 2.2, from MBMD's `sdm.go`, `sdm54.go`, `sdm72.go`, `sdm72v2.go`, `sdm120.go`,
`sdm220.go` and `sdm230.go`, and ESPHome's `sdm_meter_registers.h`. Energy is in kWh. A float32 has steps of
2 Wh from 16 384 kWh on, and of 16 Wh from 131 072 kWh on.

>>> SDM120.decode({0: 0x4367, 1: 0x0000})
{'voltage': 231.0}
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register

# fmt: off
PHASES = (
    Register("voltage_l1",        0x00, "f32"),
    Register("voltage_l2",        0x02, "f32"),
    Register("voltage_l3",        0x04, "f32"),
    Register("current_l1",        0x06, "f32"),
    Register("current_l2",        0x08, "f32"),
    Register("current_l3",        0x0A, "f32"),
    Register("power_l1",          0x0C, "f32"),
    Register("power_l2",          0x0E, "f32"),
    Register("power_l3",          0x10, "f32"),
    Register("apparent_power_l1", 0x12, "f32"),
    Register("apparent_power_l2", 0x14, "f32"),
    Register("apparent_power_l3", 0x16, "f32"),
    Register("reactive_power_l1", 0x18, "f32"),
    Register("reactive_power_l2", 0x1A, "f32"),
    Register("reactive_power_l3", 0x1C, "f32"),
    Register("power_factor_l1",   0x1E, "f32"),
    Register("power_factor_l2",   0x20, "f32"),
    Register("power_factor_l3",   0x22, "f32"),
)
TOTALS = (
    Register("power",          0x34, "f32"),
    Register("apparent_power", 0x38, "f32"),
    Register("reactive_power", 0x3C, "f32"),
    Register("power_factor",   0x3E, "f32"),
    Register("frequency",      0x46, "f32"),
)
ENERGY = (
    Register("energy_import", 0x48, "f32", times=1000),
    Register("energy_export", 0x4A, "f32", times=1000),
)
REACTIVE_ENERGY = (
    Register("reactive_import", 0x4C, "f32", times=1000),
    Register("reactive_export", 0x4E, "f32", times=1000),
)
PHASES_ENERGY = (
    Register("energy_import_l1", 0x15A, "f32", times=1000),
    Register("energy_import_l2", 0x15C, "f32", times=1000),
    Register("energy_import_l3", 0x15E, "f32", times=1000),
    Register("energy_export_l1", 0x160, "f32", times=1000),
    Register("energy_export_l2", 0x162, "f32", times=1000),
    Register("energy_export_l3", 0x164, "f32", times=1000),
)
THD_U = (
    Register("thd_u_l1", 0xEA, "f32"),
    Register("thd_u_l2", 0xEC, "f32"),
    Register("thd_u_l3", 0xEE, "f32"),
)
ONLY_630 = (
    Register("apparent_energy",    0x050, "f32", times=1000),
    Register("demand",             0x054, "f32"),
    Register("demand_max",         0x056, "f32"),
    Register("voltage_l12",        0x0C8, "f32"),
    Register("voltage_l23",        0x0CA, "f32"),
    Register("voltage_l31",        0x0CC, "f32"),
    Register("current_n",          0x0E0, "f32"),
    Register("thd_i_l1",           0x0F0, "f32"),
    Register("thd_i_l2",           0x0F2, "f32"),
    Register("thd_i_l3",           0x0F4, "f32"),
    Register("reactive_import_l1", 0x16C, "f32", times=1000),
    Register("reactive_import_l2", 0x16E, "f32", times=1000),
    Register("reactive_import_l3", 0x170, "f32", times=1000),
    Register("reactive_export_l1", 0x172, "f32", times=1000),
    Register("reactive_export_l2", 0x174, "f32", times=1000),
    Register("reactive_export_l3", 0x176, "f32", times=1000),
)
ONLY_54 = (
    Register("energy_import_t1", 0x1314, "f32", times=1000),
    Register("energy_import_t2", 0x1316, "f32", times=1000),
    Register("energy_export_t1", 0x131C, "f32", times=1000),
    Register("energy_export_t2", 0x131E, "f32", times=1000),
)
ONE_PHASE = (
    Register("voltage",        0x00, "f32"),
    Register("current",        0x06, "f32"),
    Register("power",          0x0C, "f32"),
    Register("apparent_power", 0x12, "f32"),
    Register("reactive_power", 0x18, "f32"),
    Register("power_factor",   0x1E, "f32"),
    Register("frequency",      0x46, "f32"),
)
# fmt: on

SDM630 = Device(
    "sdm630",
    "Eastron SDM630",
    function=4,
    table=PHASES + TOTALS + ENERGY + REACTIVE_ENERGY + PHASES_ENERGY + THD_U + ONLY_630,
)
SDM54 = Device(
    "sdm54",
    "Eastron SDM54",
    function=4,
    table=PHASES + TOTALS + ENERGY + PHASES_ENERGY + THD_U + ONLY_54,
)
SDM72V2 = Device("sdm72v2", "Eastron SDM72D-M v2", function=4, table=PHASES + TOTALS + ENERGY)
SDM72 = Device("sdm72", "Eastron SDM72D-M (v1)", function=4, table=(TOTALS[0], *ENERGY))
SDM120, SDM220, SDM230 = (
    Device(f"sdm{model}", f"Eastron SDM{model}", function=4, table=ONE_PHASE + ENERGY + REACTIVE_ENERGY)
    for model in (120, 220, 230)
)

register_device(SDM630, SDM54, SDM72V2, SDM72, SDM120, SDM220, SDM230)
