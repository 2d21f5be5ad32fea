"""``meter61850 sparkplug``: our meters as an edge node of Sparkplug B."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.sparkplug import run as edge_node
from adapters.sparkplug.settings import SparkplugSettings, TargetSettings
from admin.deployments import DIR, IDENTITY
from admin.lazy import new_app
from admin.options import (
    DATA_DIR,
    METRICS_ADDRESS,
    MetricsAddress,
    Mqtt,
    MqttVersion,
    Prefix,
    broker_address,
    metrics_option,
    metrics_place,
    mqtt_settings,
)
from broker.contract.errors import ConfigurationError
from broker.mqtt.settings import MqttSettings

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Our meters for Sparkplug B hosts.\n\n\b\nmeter61850 sparkplug run --group Village --node meters",
)

Group = Annotated[
    str, typer.Option(envvar="METER61850_SPARKPLUG_GROUP", metavar="NAME", help="Group id of the edge node.")
]
Node = Annotated[
    str,
    typer.Option(
        envvar="METER61850_SPARKPLUG_NODE", metavar="NAME", help="Its edge node id; no other program has it."
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="HOST[:PORT]",
        show_default=False,
        help="Another broker to publish to; default: the one that the meters use.",
    ),
]
Host = Annotated[
    str,
    typer.Option(
        envvar="METER61850_SPARKPLUG_HOST",
        metavar="NAME",
        help="Primary host: births wait until its STATE is online. Default: none.",
    ),
]
DataDir = Annotated[Path, typer.Option(metavar="DIR", help="Where bdSeq is kept.")]
MetricsPort = Annotated[int | None, metrics_option("METER61850_SPARKPLUG_METRICS_PORT")]
TARGET_HOST = "METER61850_SPARKPLUG_TARGET_HOST"


@app.callback()
def group() -> None:
    """Keep `run` a command of its own."""


@app.command()
def run(
    group: Group,
    node: Node,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
    mqtt_version: MqttVersion = None,
    target: Target = None,
    host: Host = "",
    data_dir: DataDir = DATA_DIR,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = METRICS_ADDRESS,
) -> None:
    """Publish the meters in service as an edge node of Sparkplug B 3.0, until Ctrl-C or SIGTERM.

    Read-only: commands to the relays are refused. With a deployment it needs an identity, and --target: the
    deployment's broker lets no identity publish on spBv1.0/. The login at the target comes from the
    environment: docs/sparkplug-out.md.

    \b
    meter61850 sparkplug run --group Village --node office
    meter61850 sparkplug run --group Village --node office --target plant.local:1883 --host scada
    """
    if os.environ.get(DIR) and not os.environ.get(IDENTITY):
        raise ConfigurationError(
            "the deployment has no such identity: meter61850 identity add sparkplug --role operator"
        )
    source = mqtt_settings(mqtt, prefix, mqtt_version)
    told: dict[str, Any] = {"mqtt": source, "target": _target(target) or source}
    told |= {"group": group, "node": node, "host": host, "folder": data_dir}
    place = metrics_place(metrics_port, metrics_address)
    asyncio.run(edge_node.run(SparkplugSettings(**told), metrics=place))


def _target(text: str | None) -> MqttSettings | None:
    """Another broker: its address from the command or the environment, its login from the environment."""
    if text is None and not os.environ.get(TARGET_HOST):
        return None
    address: dict[str, Any] = dict(broker_address(text)) if text is not None else {}
    return TargetSettings(**address)
