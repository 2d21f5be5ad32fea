"""``meter61850 bridge``: MQTT → database → SCL."""

from __future__ import annotations

from typing import Annotated

import typer

from admin.lazy import new_app
from admin.options import (
    DATABASE,
    METRICS_ADDRESS,
    Database,
    Keep,
    MetricsAddress,
    MetricsPort,
    Mqtt,
    MqttVersion,
    Prefix,
    make_folder,
    mqtt_settings,
)
from bridge import run as bridge
from bridge.settings import BridgeSettings
from scl_builder.build.project import ControlModel
from scl_builder.model.logical_devices import MAX_METERS

app = new_app(no_args_is_help=True, rich_markup_mode=None, help="The bridge: MQTT to database and SCL.")


MmsHost = Annotated[
    str,
    typer.Option(
        metavar="IP",
        envvar="METER61850_MMS_HOST",
        help="Address of the MMS servers for SCADA; written into the SCD.",
    ),
]
MmsPort = Annotated[
    int,
    typer.Option(
        min=1,
        max=65535,
        envvar="METER61850_MMS_PORT",
        help="MMS port of the first IED; each further IED has the next port.",
    ),
]
MmsTlsPort = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        envvar="METER61850_MMS_TLS_PORT",
        show_default=False,
        help="The same for MMS over TLS, such as 3782; also written into the SCD.",
    ),
]
MetersPerIed = Annotated[
    int,
    typer.Option(
        min=1, max=MAX_METERS, envvar="METER61850_MAX_METERS_PER_IED", help="Meters in one IED, at most 100."
    ),
]
Model = Annotated[
    ControlModel, typer.Option(envvar="METER61850_CONTROL_MODEL", help="ctlModel of CSWI1.Pos.")
]
Group = Annotated[
    str | None,
    typer.Option(
        envvar="METER61850_GROUP",
        show_default=False,
        help="Share the meters with the other bridges of this group, on one PostgreSQL.",
    ),
]
Instance = Annotated[
    str | None,
    typer.Option(envvar="METER61850_INSTANCE", show_default=False, help="Name of this bridge in its group."),
]


@app.callback()
def group() -> None:
    """Keep `run` a command of its own."""


@app.command()
def run(
    mqtt: Mqtt = None,
    prefix: Prefix = None,
    mqtt_version: MqttVersion = None,
    database: Database = DATABASE,
    mms_host: MmsHost = "127.0.0.1",
    mms_port: MmsPort = 102,
    mms_tls_port: MmsTlsPort = None,
    max_meters_per_ied: MetersPerIed = 50,
    control_model: Model = "sbo-with-enhanced-security",
    group: Group = None,
    instance: Instance = None,
    keep: Keep = None,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = METRICS_ADDRESS,
) -> None:
    """Store the meters' messages and publish the SCD and the CIDs, until Ctrl-C or SIGTERM.

    Every other setting is an environment variable METER61850_…; docs/settings.md lists them.

    \b
    meter61850 bridge run
    meter61850 bridge run --mqtt broker.local --database postgresql://meter61850@db/meter61850
    """
    make_folder(database)
    settings = {
        "mqtt": mqtt_settings(mqtt, prefix, mqtt_version),
        "database_url": database,
        "mms_host": mms_host,
        "mms_port": mms_port,
        "mms_tls_port": mms_tls_port,
        "max_meters_per_ied": max_meters_per_ied,
        "control_model": control_model,
        "group": group,
        "keep": keep,
        "metrics_port": metrics_port,
        "metrics_address": metrics_address,
    }
    if instance is not None:
        settings["instance"] = instance
    bridge.run(BridgeSettings.model_validate(settings))
