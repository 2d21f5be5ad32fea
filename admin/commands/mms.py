"""``meter61850 mms``: the MMS bridge, and a small IEC 61850 client to look at any server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

import typer
from open61850.mms import OBJECT_CLASS_DOMAIN, MmsClient, Reference, discover, operate
from open61850.mms.control import CTL_MODELS, OR_CAT_MAINTENANCE, ControlError, Origin
from open61850.mms.errors import DataAccessError
from open61850.mms.types import label

from admin.commands.mms_compare import compare
from admin.commands.mms_watch import watch
from admin.exits import RefusedError
from admin.lazy import new_app
from admin.mms.association import Server, TlsCa, TlsCert, TlsKey, association, identity, plain
from admin.options import (
    METRICS_ADDRESS,
    Json,
    MetricsAddress,
    MetricsPort,
    Mqtt,
    MqttVersion,
    Prefix,
    mqtt_settings,
    user_name,
)
from admin.output import progress, show, show_one
from broker.contract.errors import ConfigurationError
from mms_bridge import run as bridge
from mms_bridge.settings import MmsSettings

READ_AT_ONCE = 20
"""Attributes in one request: its names must fit into one MMS message."""

app = new_app(
    no_args_is_help=True, rich_markup_mode=None, help="The MMS bridge, and a small IEC 61850 client."
)


class Position(StrEnum):
    """What a switch can be told."""

    OPEN = "open"
    CLOSED = "close"


Bind = Annotated[
    str | None,
    typer.Option(
        metavar="IP",
        envvar="METER61850_MMS_BIND",
        show_default=False,
        help="Address to listen on for TLS; default: that of the CID.",
    ),
]
PlainBind = Annotated[
    str | None,
    typer.Option(
        metavar="IP",
        envvar="METER61850_MMS_PLAIN_BIND",
        show_default=False,
        help="Address of the plain port; default: loopback. Its clients can read every meter.",
    ),
]
Ieds = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        envvar="METER61850_MMS_IEDS",
        show_default=False,
        help="Serve only these IEDs, so that several processes can share a town; default: all.",
    ),
]


@app.command()
def run(
    mqtt: Mqtt = None,
    prefix: Prefix = None,
    mqtt_version: MqttVersion = None,
    bind: Bind = None,
    plain_bind: PlainBind = None,
    ieds: Ieds = None,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = METRICS_ADDRESS,
) -> None:
    """Serve every IED that the bridge has published, until Ctrl-C or SIGTERM.

    Each CID has the addresses: `meter61850 bridge run --mms-host … --mms-port …
    --mms-tls-port …`. Certificates, clients and their rights: METER61850_MMS_TLS_… and
    METER61850_MMS_CLIENTS (docs/scada.md).

    \b
    meter61850 mms run
    meter61850 mms run --ieds SMGW001-SMGW100,SMGW150
    """
    settings = MmsSettings.model_validate(
        {
            "mqtt": mqtt_settings(mqtt, prefix, mqtt_version),
            "bind": bind,
            "plain_bind": plain_bind,
            "metrics_port": metrics_port,
            "metrics_address": metrics_address,
        }
        | ({"ieds": ieds} if ieds else {})
    )
    asyncio.run(bridge.run(settings))


@app.command()
def browse(
    server: Server,
    device: Annotated[
        str | None, typer.Argument(metavar="[LD]", help="Only this logical device, with its values.")
    ] = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> None:
    """List the logical devices and nodes of a server, or all values of one logical device.

    \b
    meter61850 mms browse 127.0.0.1:10102
    meter61850 mms browse 10.0.0.5 --tls-cert me.pem --tls-key me.key --tls-ca ca.pem
    meter61850 mms browse 127.0.0.1:10102 SM_3f2504e04f8941d39a0c0305e82c3301
    """
    with association(server, tls=identity(tls_cert, tls_key, tls_ca)) as client:
        if device is None:
            show(_overview(client), as_json=as_json, empty="no logical device")
        else:
            show(_values(client, device), as_json=as_json, empty="no value")


@app.command()
def read(
    server: Server,
    references: Annotated[
        list[str], typer.Argument(metavar="REFERENCE…", help="LD/LN.DO.DA[FC] or LD/LN$FC$DO$DA.")
    ],
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> None:
    """Read data by reference: an attribute, or a whole data object.

    \b
    meter61850 mms read 127.0.0.1:10102 'SM_3f2504e04f8941d39a0c0305e82c3301/MMXN1.Vol[MX]'
    """
    wanted = [_variable(reference) for reference in references]
    with association(server, tls=identity(tls_cert, tls_key, tls_ca)) as client:
        rows = [row for reference in wanted for row in _read(client, reference)]
    show(rows, as_json=as_json)


@app.command("operate")
def operate_(
    server: Server,
    switch: Annotated[str, typer.Argument(metavar="LD/LN.DO", help="Such as SM_…/CSWI1.Pos.")],
    position: Annotated[Position, typer.Argument(help="open or close.")],
    test: Annotated[
        bool, typer.Option("--test", help="Send a test command: it must not move the relay.")
    ] = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> None:
    """Select and operate a switch according to its ctlModel, and wait for the termination.

    Exit 5, with the AddCause, if the server refuses it or the termination is negative.

    \b
    meter61850 mms operate 127.0.0.1:10102 SM_3f2504e04f8941d39a0c0305e82c3301/CSWI1.Pos open
    """
    reference = _reference(switch)
    origin = Origin(OR_CAT_MAINTENANCE, user_name().encode())
    with association(server, tls=identity(tls_cert, tls_key, tls_ca)) as client:
        try:
            done = operate(
                client,
                reference,
                position is Position.CLOSED,
                origin=origin,
                test=test,
                termination_timeout=15.0,
            )
        except ControlError as error:
            cause = error.last_appl_error
            why = f"AddCause {cause.add_cause} ({cause.add_cause_name})" if cause else str(error)
            raise RefusedError(f"{reference}: {error.stage} ended negatively: {why}") from error
    row = {
        "object": str(reference),
        "position": position,
        "outcome": "done" if done.terminated else "accepted",
        "control_model": CTL_MODELS[done.ctl_model],
        "seconds": round(done.duration, 3),
    }
    show_one(row, as_json=as_json)


app.command()(watch)
app.command()(compare)


def _reference(text: str) -> Reference:
    try:
        return Reference.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{error}: write LD/LN.DO.DA[FC]") from error


def _variable(text: str) -> Reference:
    """A reference that MMS has a variable for: it names its functional constraint."""
    reference = _reference(text)
    if reference.path and reference.fc is None:
        raise ConfigurationError(f"{text!r} lacks its functional constraint: {text}[MX], [ST], [CF] …")
    return reference


def _overview(client: MmsClient) -> list[dict[str, Any]]:
    """A row for each logical device: its nodes, data sets and report control blocks."""
    domains = client.get_name_list(OBJECT_CLASS_DOMAIN)
    rows = []
    for domain in progress(domains, what="logical devices", total=len(domains)):
        nodes = discover(client, [domain]).logical_devices[domain].logical_nodes
        rows.append(
            {
                "logical_device": domain,
                "logical_nodes": " ".join(nodes),
                "data_sets": " ".join(
                    f"{name}.{data_set}" for name, node in nodes.items() for data_set in node.data_sets
                ),
                "reports": " ".join(
                    block.path[0] for node in nodes.values() for block in node.control_blocks()
                ),
            }
        )
    return rows


def _values(client: MmsClient, device: str) -> list[dict[str, Any]]:
    """A row for each data attribute of one logical device."""
    nodes = discover(client, [device]).logical_devices[device].logical_nodes.values()
    leaves = [reference for node in nodes for reference in node.references()]
    rows = []
    chunks = [leaves[start : start + READ_AT_ONCE] for start in range(0, len(leaves), READ_AT_ONCE)]
    for chunk in progress(chunks, what="attributes", total=len(chunks)):
        for reference, value in zip(chunk, client.read_many(chunk), strict=True):
            shown = str(value) if isinstance(value, DataAccessError) else plain(reference.name, value)
            rows.append({"reference": str(reference), "value": shown})
    return rows


def _read(client: MmsClient, reference: Reference) -> Iterator[dict[str, Any]]:
    """A row for each leaf of one variable, named after its type."""
    value = client.read(reference)
    for path, leaf in label(value, client.get_type(reference)):
        below = replace(reference, path=(*reference.path, *path.split("."))) if path else reference
        yield {"reference": str(below), "value": plain(below.name, leaf)}
