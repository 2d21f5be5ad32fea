"""The process of one meter on a Raspberry Pi, or of several on the same bus.

>>> asyncio.run(run(MeterSettings.load(Path("meter.toml"))))
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from functools import partial

from broker.contract.errors import ConfigurationError
from broker.signals import stop_on_signals
from meter_firmware.identity import kept_meter_id
from meter_firmware.learning import LearningMeter
from meter_firmware.meter import Meter, Plan
from meter_firmware.process import run_meters
from meter_firmware.profile import Profile
from meter_firmware.relay.pin import GpioPin, Pin, SimulatedPin, simulated_pin
from meter_firmware.sensors.kinds import kind
from meter_firmware.sensors.sensor import Sensor
from meter_firmware.settings import MeterSettings, RelaySettings


async def run(*meters: MeterSettings, stop: asyncio.Event | None = None) -> None:
    """Be the meters until SIGTERM or SIGINT (or ``stop``, if given); Meter61850Error if one cannot start."""
    check_apart(meters)
    await run_meters([_meter(settings) for settings in meters], stop or stop_on_signals())


def check_apart(meters: Iterable[MeterSettings]) -> None:
    """ConfigurationError if two meters have one data folder, or one pin."""
    folders = Counter(settings.data_dir.resolve() for settings in meters)
    pins = Counter(settings.relay.pin for settings in meters if settings.relay.kind == "gpio")
    for key, counts in (("data_dir", folders), ("relay.pin", pins)):
        for value, count in counts.items():
            if count > 1:
                raise ConfigurationError(f"{key} {value}: {count} meters have it; give each its own")


def _meter(settings: MeterSettings) -> Meter | LearningMeter:
    sensor = kind(settings.sensor.kind).open(settings.sensor)
    if sensor.measures:
        return _with(sensor, settings, sensor.measures)
    build = partial(_with, sensor, settings)
    return LearningMeter(sensor, build, kind=settings.sensor.kind, data_dir=settings.data_dir)


def _with(sensor: Sensor, settings: MeterSettings, quantities: tuple[str, ...]) -> Meter:
    profile = Profile(
        meter_id=kept_meter_id(settings.data_dir),
        identity=settings.identity,
        hardware=settings.hardware.as_message(),
        quantities=quantities,
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
    return Meter(plan, sensor=sensor, pin=_pin(settings.relay))


def _pin(relay: RelaySettings) -> Pin:
    if relay.kind == "simulated":
        return simulated_pin()
    if relay.kind == "none":
        return SimulatedPin()  # there is nothing to drive, and no command reaches it
    return GpioPin(relay.pin, active_low=relay.active_low)
