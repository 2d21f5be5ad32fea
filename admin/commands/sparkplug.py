"""``meter61850 sparkplug``: our meters as an edge node of Sparkplug B."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.sparkplug import service
from adapters.sparkplug.settings import SparkplugSettings, TargetSettings
from admin.lazy import new_app
from admin.options import DATA_DIR, Mqtt, MqttVersion, Prefix, mqtt_settings

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
) -> None:
    """Publish the meters in service as an edge node of Sparkplug B 3.0, until Ctrl-C or SIGTERM.

    Read-only: commands to the relays are refused. The login of another broker comes from
    METER61850_SPARKPLUG_TARGET_…; docs/sparkplug-out.md explains it.

    \b
    meter61850 sparkplug run --group Village --node office
    meter61850 sparkplug run --group Village --node office --target plant.local:1883 --host scada
    """
    source = mqtt_settings(mqtt, prefix, mqtt_version)
    told: dict[str, Any] = {"mqtt": source, "target": _target(target) if target else source}
    told |= {"group": group, "node": node, "host": host, "folder": data_dir}
    asyncio.run(service.run(SparkplugSettings(**told)))


def _target(text: str) -> TargetSettings:
    """Address of another broker; its login from the environment."""
    address = mqtt_settings(text, None)
    return TargetSettings(host=address.host, port=address.port)
