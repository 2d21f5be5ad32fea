"""``meter61850 homeassistant``: our meters in Home Assistant."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from adapters.homeassistant import run as announcing
from adapters.homeassistant.service import HomeAssistantSettings
from admin.deployments import DIR, IDENTITY
from admin.lazy import new_app
from admin.options import (
    METRICS_ADDRESS,
    MetricsAddress,
    Mqtt,
    MqttVersion,
    Prefix,
    metrics_option,
    metrics_place,
    mqtt_settings,
)
from broker.contract.errors import ConfigurationError

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Our meters in Home Assistant.\n\n\b\nmeter61850 homeassistant run --mqtt localhost:1883",
)

Switches = Annotated[
    bool,
    typer.Option(
        "--switches", help="Also announce the relays: everybody who uses it can then cut a house off."
    ),
]
DiscoveryPrefix = Annotated[
    str | None,
    typer.Option(
        metavar="WORD", show_default=False, help="Discovery prefix of Home Assistant; default: homeassistant."
    ),
]
MetricsPort = Annotated[int | None, metrics_option("METER61850_HOMEASSISTANT_METRICS_PORT")]


@app.callback()
def group() -> None:
    """Keep `run` a command of its own."""


@app.command()
def run(
    mqtt: Mqtt = None,
    prefix: Prefix = None,
    mqtt_version: MqttVersion = None,
    discovery_prefix: DiscoveryPrefix = None,
    switches: Switches = False,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = METRICS_ADDRESS,
) -> None:
    """Announce the meters in service to Home Assistant by MQTT discovery, until Ctrl-C or SIGTERM.

    With a deployment it needs an identity of its own, and Home Assistant another one: docs/home-assistant.md.

    \b
    meter61850 identity add homeassistant --role homeassistant
    meter61850 homeassistant run
    """
    if os.environ.get(DIR) and not os.environ.get(IDENTITY):
        raise ConfigurationError(
            "the deployment has no such identity: meter61850 identity add homeassistant --role homeassistant"
        )
    told = {"discovery_prefix": discovery_prefix, "switches": switches or None}
    given = {name: value for name, value in told.items() if value is not None}
    mqtt_given = mqtt_settings(mqtt, prefix, mqtt_version)
    settings = HomeAssistantSettings.model_validate(given | {"mqtt": mqtt_given})
    asyncio.run(announcing.run(settings, metrics=metrics_place(metrics_port, metrics_address)))
