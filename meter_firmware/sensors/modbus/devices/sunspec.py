"""SunSpec meters: Fronius Smart Meter (by its inverter or by IP), SolarEdge, Kostal and others.

The tables are those of the models with float32 (`meter_firmware.sensors.modbus.sunspec` has the others and
the source). The sign of the power, and what import is, depend on where the meter is: ``reverse`` turns it
round.

>>> SUNSPEC.decode({26: 0x4248, 27: 0x0000})
{'frequency': 50.0}
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from meter_firmware.sensors.modbus.registration import register_device
from meter_firmware.sensors.modbus.simulated import answered, on_tcp, refreshed
from meter_firmware.sensors.modbus.sunspec import END, MARK, STARTS, SunSpecSensor
from meter_firmware.sensors.modbus.table import Device, Register
from meter_firmware.sensors.sensor import Measurement
from meter_firmware.settings import SensorSettings

# fmt: off
THREE_PHASES = (
    Register("current_l1",         4, "f32"),
    Register("current_l2",         6, "f32"),
    Register("current_l3",         8, "f32"),
    Register("voltage_l1",        12, "f32"),
    Register("voltage_l2",        14, "f32"),
    Register("voltage_l3",        16, "f32"),
    Register("voltage_l12",       20, "f32"),
    Register("voltage_l23",       22, "f32"),
    Register("voltage_l31",       24, "f32"),
    Register("frequency",         26, "f32"),
    Register("power",             28, "f32"),
    Register("power_l1",          30, "f32"),
    Register("power_l2",          32, "f32"),
    Register("power_l3",          34, "f32"),
    Register("apparent_power",    36, "f32"),
    Register("apparent_power_l1", 38, "f32"),
    Register("apparent_power_l2", 40, "f32"),
    Register("apparent_power_l3", 42, "f32"),
    Register("reactive_power",    44, "f32"),
    Register("reactive_power_l1", 46, "f32"),
    Register("reactive_power_l2", 48, "f32"),
    Register("reactive_power_l3", 50, "f32"),
    Register("power_factor",      52, "f32"),
    Register("power_factor_l1",   54, "f32"),
    Register("power_factor_l2",   56, "f32"),
    Register("power_factor_l3",   58, "f32"),
    Register("energy_export",     60, "f32"),
    Register("energy_export_l1",  62, "f32"),
    Register("energy_export_l2",  64, "f32"),
    Register("energy_export_l3",  66, "f32"),
    Register("energy_import",     68, "f32"),
    Register("energy_import_l1",  70, "f32"),
    Register("energy_import_l2",  72, "f32"),
    Register("energy_import_l3",  74, "f32"),
)
SINGLE = (
    Register("current",         2, "f32"),
    Register("voltage",        12, "f32"),
    Register("frequency",      26, "f32"),
    Register("power",          28, "f32"),
    Register("apparent_power", 36, "f32"),
    Register("reactive_power", 44, "f32"),
    Register("power_factor",   52, "f32"),
    Register("energy_export",  60, "f32"),
    Register("energy_import",  68, "f32"),
)
# fmt: on
NAN = 0x7FC0_0000
COMMON, COMMON_WORDS = 1, 66
METER_WORDS = 124

SUNSPEC = Device(
    *("sunspec", "SunSpec, three phases: models 203, 204, 213, 214"),
    function=3,
    table=THREE_PHASES,
    gap=METER_WORDS,
    absent={"f32": NAN},
)
SUNSPEC_1P = Device(
    *("sunspec_1p", "SunSpec, single or split phase: models 201, 202, 211, 212"),
    function=3,
    table=SINGLE,
    gap=METER_WORDS,
    absent={"f32": NAN},
)


def image(device: Device, model: int, measured: Measurement) -> dict[int, int]:
    """All registers of a device with this model."""
    common = [COMMON, COMMON_WORDS, *([0] * COMMON_WORDS)]
    told = {0: model, 1: METER_WORDS} | device.encode(measured)
    meter = [told.get(offset, 0) for offset in range(METER_WORDS + 2)]
    return dict(enumerate([*MARK, *common, *meter, END, 0], STARTS[0]))


@asynccontextmanager
async def simulated(device: Device, measure: Callable[[], Measurement]) -> AsyncIterator[SensorSettings]:
    """A device on TCP, and the settings to read it."""
    model = 213 if device is SUNSPEC else 211

    registers = refreshed(lambda: image(device, model, measure()))

    def answer(pdu: bytes) -> bytes:
        return answered(device, registers(), pdu)

    async with on_tcp({device.address: answer}) as port:
        yield SensorSettings(kind=device.name, host="127.0.0.1", tcp_port=port)


register_device(SUNSPEC, SUNSPEC_1P, sensor=SunSpecSensor, simulated=simulated)
