"""Makes a kind of sensor of a Modbus device.

>>> Model(PZEM004T, ModbusSensor).open(SensorSettings(kind="pzem004t", address=3))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from broker.contract.errors import ConfigurationError
from meter_firmware.sensors.kinds import Kind, register
from meter_firmware.sensors.modbus.bus import TCP_PORT, Bus, Line, serial_bus, tcp_bus
from meter_firmware.sensors.modbus.sensor import ModbusSensor
from meter_firmware.sensors.modbus.simulated import simulated
from meter_firmware.sensors.modbus.table import Device
from meter_firmware.sensors.sensor import Measurement, Sensor
from meter_firmware.sensors.wiring import Wiring

if TYPE_CHECKING:
    from meter_firmware.settings import SensorSettings

LAST_ADDRESS, GENERAL_ADDRESS = 247, 0xF8
"""Of Modbus, and the one that every PZEM answers that is alone on its line."""

Simulated = Callable[[Device, Callable[[], Measurement]], AbstractAsyncContextManager["SensorSettings"]]


@dataclass(frozen=True)
class Model:
    """A device, and the class of the sensor that reads it."""

    device: Device
    sensor: type[ModbusSensor]

    def on(self, bus: Bus, address: int, wiring: Wiring | None = None) -> ModbusSensor:
        """A sensor that reads it on this bus."""
        return self.sensor(self.device, bus, address=address, wiring=wiring)

    def open(self, settings: SensorSettings) -> Sensor:
        """A sensor as the settings say; ConfigurationError names the setting that does not fit."""
        address = address_of(self.device, settings)
        wiring = wiring_of(settings, self.device.measures)
        return self.on(bus_of(self.device, settings), address, wiring)


MODELS: dict[str, Model] = {}
"""What is on Modbus, by kind."""


def register_device(
    *devices: Device, sensor: type[ModbusSensor] = ModbusSensor, simulated: Simulated = simulated
) -> None:
    """Register each as a kind; the file of a device ends with this."""
    for device in devices:
        model = MODELS[device.name] = Model(device, sensor)
        register(Kind(device.name, device.title, device.measures, model.open, partial(simulated, device)))


def bus_of(device: Device, settings: SensorSettings) -> Bus:
    """The bus that the settings name."""
    if settings.host is None:
        line = Line(settings.baud_rate or device.baud_rate, settings.frame or device.frame)
        return serial_bus(settings.port, line)
    return tcp_bus(settings.host, settings.tcp_port or TCP_PORT)


def address_of(device: Device, settings: SensorSettings) -> int:
    """The address on the bus; ConfigurationError if there is no such address."""
    address = device.address if settings.address is None else settings.address
    if not 1 <= address <= LAST_ADDRESS and not (address == GENERAL_ADDRESS == device.address):
        raise ConfigurationError(f"sensor.address {address}: an address of Modbus is 1 to {LAST_ADDRESS}")
    return address


def wiring_of(settings: SensorSettings, measures: tuple[str, ...]) -> Wiring:
    """How the meter is installed; ConfigurationError if it cannot be."""
    if settings.reverse and "energy_import" not in measures:
        raise ConfigurationError(
            f"sensor.reverse: a {settings.kind} does not tell the direction of the power"
        )
    return Wiring(settings.reverse, settings.ratio)
