"""The process of one meter on a Raspberry Pi.

>>> asyncio.run(run(MeterSettings.load(Path("meter.toml"))))
"""

from __future__ import annotations

import asyncio

from broker.signals import stop_on_signals
from meter_firmware.identity import kept_meter_id
from meter_firmware.meter import Meter, Plan
from meter_firmware.process import run_meters
from meter_firmware.profile import Profile
from meter_firmware.relay.pin import GpioPin, Pin, SimulatedPin, simulated_pin
from meter_firmware.sensors.devices import device
from meter_firmware.sensors.modbus import ModbusSensor
from meter_firmware.settings import MeterSettings, RelaySettings

GENERAL_ADDRESS = 0xF8


async def run(settings: MeterSettings, *, stop: asyncio.Event | None = None) -> None:
    """Be the meter until SIGTERM or SIGINT (or ``stop``, if given); Meter61850Error if we cannot start."""
    given = settings.sensor
    sensor = ModbusSensor(device(given.kind), given.port, address=given.address or GENERAL_ADDRESS)
    profile = Profile(
        meter_id=kept_meter_id(settings.data_dir),
        identity=settings.identity,
        hardware=settings.hardware.as_message(),
        quantities=sensor.measures,
        interval=settings.interval,
        clock_synchronized=settings.clock_synchronized,
        relay=settings.relay.kind != "none",
    )
    plan = Plan(
        profile=profile,
        mqtt=settings.mqtt,
        data_dir=settings.data_dir,
        outbox=settings.outbox,
        clock_wait=settings.clock_wait,
        local=settings.relay.local,
        spared=settings.relay.kind == "gpio",
    )
    meter = Meter(plan, sensor=sensor, pin=_pin(settings.relay))
    await run_meters([meter], stop or stop_on_signals())


def _pin(relay: RelaySettings) -> Pin:
    if relay.kind == "simulated":
        return simulated_pin()
    if relay.kind == "none":
        return SimulatedPin()  # there is nothing to drive, and no command reaches it
    return GpioPin(relay.pin, active_low=relay.active_low)
