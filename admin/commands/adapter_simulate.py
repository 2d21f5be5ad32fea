"""``meter61850 adapter simulate``: other makers' devices that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated

import typer

from adapters.simulated import program
from adapters.simulated.device import device_families
from adapters.simulated.program import DevicesSettings
from admin.options import Mqtt, MqttVersion, mqtt_settings
from admin.output import line


def simulate(
    family: Annotated[
        list[str],
        typer.Option(help=f"Family of the devices: {', '.join(device_families())}; repeatable."),
    ],
    number: Annotated[int, typer.Option("-n", "--devices", min=1, help="How many of each family.")] = 1,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between a device's messages.")] = 10.0,
    mqtt: Mqtt = None,
    mqtt_version: MqttVersion = None,
) -> None:
    """Run simulated devices of other makers, each with its own connection, until Ctrl-C or SIGTERM.

    First it prints an adapters.toml with which the adapter hears them.

    \b
    meter61850 adapter simulate --family tasmota --family shelly2 -n 10 --mqtt localhost:1884
    """
    settings = DevicesSettings(
        families=tuple(family),
        n=number,
        interval=interval,
        mqtt=mqtt_settings(mqtt, None, mqtt_version),
    )
    program.simulated_devices(settings)  # names an unknown family, before anything is printed
    for text in _adapters_toml(settings):
        line(text)
    asyncio.run(program.run(settings))


def _adapters_toml(settings: DevicesSettings) -> Iterator[str]:
    yield 'data_dir = "adapter"'
    for family in settings.families:
        mqtt = settings.mqtt
        yield ""
        yield from program.source_lines(family, interval=settings.interval, host=mqtt.host, port=mqtt.port)
