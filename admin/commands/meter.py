"""``meter61850 meter``: one meter on a Raspberry Pi, or many simulated ones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from admin.lazy import new_app
from admin.options import DATA_DIR, Mqtt, MqttVersion, Prefix, mqtt_settings
from meter_firmware import run as firmware
from meter_firmware import simulate as simulator
from meter_firmware.settings import MeterSettings, SimulateSettings

app = new_app(no_args_is_help=True, rich_markup_mode=None, help="A meter, or many simulated ones.")


@app.command()
def run(
    config: Annotated[
        Path, typer.Option(help="The meter's settings; meter_firmware/meter.example.toml explains each.")
    ] = Path("meter.toml"),
) -> None:
    """Be the meter on this Raspberry Pi, until Ctrl-C or SIGTERM.

    \b
    cp meter_firmware/meter.example.toml meter.toml    # then edit it
    meter61850 meter run --config meter.toml
    """
    asyncio.run(firmware.run(MeterSettings.load(config)))


@app.command()
def simulate(
    number: Annotated[int, typer.Option("-n", "--meters", min=1, help="How many meters.")] = 10,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between a meter's readings.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same meters.")] = 1,
    first: Annotated[
        int, typer.Option(min=1, help="Number of the first; other processes may be the rest.")
    ] = 1,
    data_dir: Annotated[Path, typer.Option(help="The meters' outboxes and relays are kept here.")] = DATA_DIR
    / "meters",
    identities: Annotated[
        Path | None,
        typer.Option(show_default=False, help="Folder with an identity folder for each meter."),
    ] = None,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
    mqtt_version: MqttVersion = None,
) -> None:
    """Be many meters: the very same program with simulated sensors and relays.

    \b
    meter61850 meter simulate -n 100 --interval 5
    """
    settings = SimulateSettings(
        n=number,
        first=first,
        seed=seed,
        interval=interval,
        data_dir=data_dir,
        identities=identities,
        mqtt=mqtt_settings(mqtt, prefix, mqtt_version),
    )
    asyncio.run(simulator.run(settings))
