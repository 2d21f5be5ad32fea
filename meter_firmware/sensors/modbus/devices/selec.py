"""SELEC EM2M: input registers (function 04), float32 with the low word first, kW and kWh.

Registers: DEVICES.md 2.3, from ESPHome's `selec_meter`.

>>> EM2M.decode({0x14: 0x0000, 0x15: 0x4367})
{'voltage': 231.0}
"""

from __future__ import annotations

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register

# fmt: off
TABLE = (
    Register("energy_import",   0x02, "f32", times=1000),
    Register("energy_export",   0x04, "f32", times=1000),
    Register("reactive_import", 0x08, "f32", times=1000),
    Register("reactive_export", 0x0A, "f32", times=1000),
    Register("apparent_energy", 0x0C, "f32", times=1000),
    Register("power",           0x0E, "f32", times=1000),
    Register("reactive_power",  0x10, "f32", times=1000),
    Register("apparent_power",  0x12, "f32", times=1000),
    Register("voltage",         0x14, "f32"),
    Register("current",         0x16, "f32"),
    Register("power_factor",    0x18, "f32"),
    Register("frequency",       0x1A, "f32"),
    Register("demand_max",      0x1C, "f32", times=1000),
)
# fmt: on

EM2M = Device(
    "selec_em2m",
    "SELEC EM2M",
    function=4,
    table=TABLE,
    low_word_first=True,
    gap=2,  # the register between is the total kvarh
)

register_device(EM2M)
