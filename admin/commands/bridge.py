"""``meter61850 bridge``: MQTT → database → SCL."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from admin.lazy import new_app
from admin.options import (
    DATABASE,
    METRICS_ADDRESS,
    Database,
    Keep,
    Mqtt,
    MqttVersion,
    Prefix,
    make_folder,
    metrics_address_option,
    metrics_option,
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
        help="MMS port of the first IED; each further IED has the next port, or the same with --mms-hosts.",
    ),
]
MmsHosts = Annotated[
    str | None,
    typer.Option(
        metavar="RANGE",
        envvar="METER61850_MMS_HOSTS",
        show_default=False,
        help="An address for each IED, all with the same ports: 10.0.0.10-10.0.0.19, or with commas.",
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
Spare = Annotated[
    int,
    typer.Option(
        min=0,
        max=MAX_METERS - 1,
        envvar="METER61850_SPARE",
        help="Spare logical devices in each IED, for meters to come; 0: none.",
    ),
]
Model = Annotated[
    ControlModel,
    typer.Option(
        metavar="MODEL",
        envvar="METER61850_CONTROL_MODEL",
        help=f"ctlModel of CSWI1.Pos: {', '.join(get_args(ControlModel))}.",
    ),
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
    mms_hosts: MmsHosts = None,
    mms_port: MmsPort = 102,
    mms_tls_port: MmsTlsPort = None,
    max_meters_per_ied: MetersPerIed = 50,
    spare: Spare = 10,
    control_model: Model = "sbo-with-enhanced-security",
    group: Group = None,
    instance: Instance = None,
    keep: Keep = None,
    metrics_port: Annotated[int | None, metrics_option("METER61850_METRICS_PORT")] = None,
    metrics_address: Annotated[str, metrics_address_option("METER61850_METRICS_ADDRESS")] = METRICS_ADDRESS,
) -> None:
    """Store the meters' messages and publish the SCD and the CIDs, until Ctrl-C or SIGTERM.

    docs/settings.md lists the environment variables for all other settings.

    \b
    meter61850 bridge run
    meter61850 bridge run --mms-hosts 10.0.0.10-10.0.0.19 --mms-tls-port 3782
    meter61850 bridge run --mqtt broker.local --database postgresql://meter61850@db/meter61850
    """
    make_folder(database)
    settings = {
        "mqtt": mqtt_settings(mqtt, prefix, mqtt_version),
        "database_url": database,
        "mms_host": mms_host,
        "mms_hosts": mms_hosts,
        "mms_port": mms_port,
        "mms_tls_port": mms_tls_port,
        "max_meters_per_ied": max_meters_per_ied,
        "spare": spare,
        "control_model": control_model,
        "group": group,
        "keep": keep,
        "metrics_port": metrics_port,
        "metrics_address": metrics_address,
    }
    if instance is not None:
        settings["instance"] = instance
    bridge.run(BridgeSettings.model_validate(settings))
