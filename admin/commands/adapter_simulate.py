"""``meter61850 adapter simulate``: other makers' devices that are not there."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from adapters.simulated import program
from adapters.simulated.program import DevicesSettings
from admin.options import Mqtt, MqttVersion, mqtt_settings


def simulate(
    family: Annotated[list[str], typer.Option(help="Family of the devices; repeatable.")],
    number: Annotated[int, typer.Option("-n", "--devices", min=1, help="How many of each family.")] = 1,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between a device's messages.")] = 10.0,
    mqtt: Mqtt = None,
    mqtt_version: MqttVersion = None,
) -> None:
    """Run simulated devices of other makers, each with its own connection, until Ctrl-C or SIGTERM.

    \b
    meter61850 adapter simulate --family tasmota --family shelly2 -n 10 --mqtt localhost:1884
    """
    settings = DevicesSettings(
        families=tuple(family),
        n=number,
        interval=interval,
        mqtt=mqtt_settings(mqtt, None, mqtt_version),
    )
    asyncio.run(program.run(settings))
