"""JSY-MK-163, JSY-MK-194 (two channels) and JSY-MK-333 (three phases): function 03, high word first.

Registers: DEVICES.md 2.4, from `MycilaJSY.cpp` and FConcept/ESP32-conx-to-JSY-MK-194. Power has no sign:
another register has the signs. The registers of a JSY-MK-194 have 4 bytes each. All registers are read in
one request, as those sources do.

>>> JSY_MK_163.decode({0x48: 23100, 0x4A: 401, 0x50: 0x0001})
{'voltage': 231.0, 'power': -401.0}
"""

from __future__ import annotations

from collections.abc import Mapping

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.table import Device, Register, Special, Words
from meter_firmware.sensors.sensor import Measurement

# fmt: off
SINGLE = (
    Register("voltage",       0x48, "u16", over=100),
    Register("current",       0x49, "u16", over=100),
    Register("power",         0x4A, "u16"),
    Register("energy_import", 0x4B, "u32", times=5, over=16),
    Register("power_factor",  0x4D, "u16", over=1000),
    Register("energy_export", 0x4E, "u32", times=5, over=16),
    Register("frequency",     0x51, "u16", over=100),
)
CHANNEL_1 = (
    Register("voltage",       0x48, "u32", over=10_000),
    Register("current",       0x49, "u32", over=10_000),
    Register("power",         0x4A, "u32", over=10_000),
    Register("energy_import", 0x4B, "u32", over=10),
    Register("power_factor",  0x4C, "u32", over=1000),
    Register("energy_export", 0x4D, "u32", over=10),
    Register("frequency",     0x4F, "u32", over=100),
)
CHANNEL_2 = (
    Register("frequency",     0x4F, "u32", over=100),
    Register("voltage",       0x50, "u32", over=10_000),
    Register("current",       0x51, "u32", over=10_000),
    Register("power",         0x52, "u32", over=10_000),
    Register("energy_import", 0x53, "u32", over=10),
    Register("power_factor",  0x54, "u32", over=1000),
    Register("energy_export", 0x55, "u32", over=10),
)
THREE_PHASES = (
    Register("voltage_l1",       0x100, "u16", over=100),
    Register("voltage_l2",       0x101, "u16", over=100),
    Register("voltage_l3",       0x102, "u16", over=100),
    Register("current_l1",       0x103, "u16", over=100),
    Register("current_l2",       0x104, "u16", over=100),
    Register("current_l3",       0x105, "u16", over=100),
    Register("power_l1",         0x106, "u16"),
    Register("power_l2",         0x107, "u16"),
    Register("power_l3",         0x108, "u16"),
    Register("power",            0x109, "u32"),
    Register("frequency",        0x115, "u16", over=100),
    Register("power_factor_l1",  0x116, "u16", over=1000),
    Register("power_factor_l2",  0x117, "u16", over=1000),
    Register("power_factor_l3",  0x118, "u16", over=1000),
    Register("power_factor",     0x119, "u16", over=1000),
    Register("energy_import_l1", 0x134, "u32", times=10),
    Register("energy_import_l2", 0x136, "u32", times=10),
    Register("energy_import_l3", 0x138, "u32", times=10),
    Register("energy_import",    0x13A, "u32", times=10),
    Register("energy_export_l1", 0x13C, "u32", times=10),
    Register("energy_export_l2", 0x13E, "u32", times=10),
    Register("energy_export_l3", 0x140, "u32", times=10),
    Register("energy_export",    0x142, "u32", times=10),
)
# fmt: on


def _signs(address: int, masks: Mapping[str, int], *, all_of: tuple[int, ...] = ()) -> Special:
    """Power is negative where a bit of the register ``address`` in its mask is set."""

    def decode(words: Words, told: Measurement) -> Measurement:
        if address not in words:  # without the signs there is no power
            return {name: value for name, value in told.items() if name not in masks}
        negative = {name for name, mask in masks.items() if name in told and words[address] & mask}
        return told | {name: 0.0 - told[name] for name in negative}

    def encode(measured: Measurement) -> dict[int, int]:
        words = dict.fromkeys(all_of, 0)
        return words | {address: sum(mask & -mask for n, mask in masks.items() if measured.get(n, 0) < 0)}

    return Special(all_of or (address,), decode, encode)


def _channel(number: int, table: tuple[Register, ...], mask: int) -> Device:
    return Device(
        f"jsy_mk_194_{number}",
        f"JSY-MK-194, channel {number}",
        function=3,
        table=table,
        baud_rate=4800,
        wide=True,
        special=_signs(0x4E, {"power": mask}, all_of=tuple(range(0x48, 0x56))),
        tcp=False,
    )


JSY_MK_163 = Device(
    *("jsy_mk_163", "JSY-MK-163"),
    function=3,
    table=SINGLE,
    baud_rate=4800,
    special=_signs(0x50, {"power": 0x00FF}),
    tcp=False,
)
JSY_MK_194_1 = _channel(1, CHANNEL_1, 0xFF00_0000)
JSY_MK_194_2 = _channel(2, CHANNEL_2, 0x00FF_0000)
JSY_MK_333 = Device(
    *("jsy_mk_333", "JSY-MK-333"),
    function=3,
    table=THREE_PHASES,
    gap=32,
    special=_signs(0x132, {"power_l1": 1, "power_l2": 2, "power_l3": 4, "power": 8}),
    tcp=False,
)

register_device(JSY_MK_163, JSY_MK_194_1, JSY_MK_194_2, JSY_MK_333)
