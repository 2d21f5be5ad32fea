"""``meter61850 mms``: the MMS bridge, and a small IEC 61850 client to look at any server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

import typer
from open61850.mms import MmsClient, Reference, discover, operate
from open61850.mms.control import CTL_MODELS, OR_CAT_MAINTENANCE, ControlError, Origin
from open61850.mms.errors import DataAccessError
from open61850.mms.types import label

from admin.commands.mms_compare import compare
from admin.commands.mms_watch import watch
from admin.exits import RefusedError
from admin.lazy import new_app
from admin.mms.association import Server, TlsCa, TlsCert, TlsKey, association, identity, plain
from admin.mms.name_plates import find, read_plates
from admin.options import (
    METRICS_ADDRESS,
    Json,
    Mqtt,
    MqttVersion,
    Prefix,
    metrics_address_option,
    metrics_option,
    mqtt_settings,
    user_name,
)
from admin.output import note, progress, show, show_one
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
    metrics_port: Annotated[int | None, metrics_option("METER61850_MMS_METRICS_PORT")] = None,
    metrics_address: Annotated[
        str, metrics_address_option("METER61850_MMS_METRICS_ADDRESS")
    ] = METRICS_ADDRESS,
) -> None:
    """Serve every IED that the bridge has published, until Ctrl-C or SIGTERM.

    Each CID has the addresses, from the options --mms-host, --mms-port and --mms-tls-port of `meter61850
    bridge run`. docs/scada.md explains certificates, clients and their rights.

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
        str | None,
        typer.Argument(metavar="[LD]", help="Only this logical device, with its values.", show_default=False),
    ] = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> None:
    """List the logical devices and nodes of a server, or all values of one logical device.

    LD is the MMS domain, the number at its end (M17), the meter_id, or the name of the house if only one
    device of the server has it. All commands of `mms` take these.

    \b
    meter61850 mms browse 127.0.0.1:10102
    meter61850 mms browse 10.0.0.5 --tls-cert me.pem --tls-key me.key --tls-ca ca.pem
    meter61850 mms browse 127.0.0.1:10102 "House 17"
    """
    with association(server, tls=identity(tls_cert, tls_key, tls_ca)) as client:
        if device is None:
            show(_overview(client), as_json=as_json, empty="no logical device", spare=("meter_id",))
        else:
            plate = find(client, device)
            note(str(plate))
            show(_values(client, plate.domain), as_json=as_json, empty="no value")


@app.command()
def read(
    server: Server,
    references: Annotated[
        list[str],
        typer.Argument(metavar="REFERENCE", help="LD/LN.DO.DA[FC] or LD/LN$FC$DO$DA; LD as in browse."),
    ],
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> None:
    """Read data by reference: an attribute, or a whole data object.

    \b
    meter61850 mms read 127.0.0.1:10102 'SMGW001M17/MMXN1.Vol[MX]' 'House 18/MMXN1.Vol[MX]'
    """
    wanted = [_split(reference) for reference in references]
    for _, item in wanted:
        _variable("LD", item)
    with association(server, tls=identity(tls_cert, tls_key, tls_ca)) as client:
        devices = {text: find(client, text) for text, _ in wanted}
        rows = [
            row
            for text, item in wanted
            for row in _read(client, _variable(devices[text].domain, item), devices[text].name)
        ]
    show(rows, as_json=as_json)


@app.command("operate")
def operate_(
    server: Server,
    switch: Annotated[str, typer.Argument(metavar="LD/LN.DO", help="Such as 'House 17/CSWI1.Pos'.")],
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
    meter61850 mms operate 127.0.0.1:10102 SMGW001M17/CSWI1.Pos open
    """
    device, item = _split(switch)
    _reference("LD", item)
    origin = Origin(OR_CAT_MAINTENANCE, user_name().encode())
    with association(server, tls=identity(tls_cert, tls_key, tls_ca)) as client:
        plate = find(client, device)
        reference = _reference(plate.domain, item)
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
        "name": plate.name,
        "position": position,
        "outcome": "done" if done.terminated else "accepted",
        "control_model": CTL_MODELS[done.ctl_model],
        "seconds": round(done.duration, 3),
    }
    show_one(row, as_json=as_json)


app.command()(watch)
app.command()(compare)


def _split(text: str) -> tuple[str, str]:
    """What names the device, which may be any name of a house, and what is in it."""
    device, slash, item = text.strip().rpartition("/")
    if not (device and slash):
        raise ConfigurationError(f"{text[:200]!r} names no logical device: write LD/LN.DO.DA[FC]")
    return device, item


def _reference(domain: str, item: str) -> Reference:
    try:
        return Reference.parse(f"{domain}/{item}")
    except ValueError as error:
        raise ConfigurationError(f"{error}: write LD/LN.DO.DA[FC]") from error


def _variable(domain: str, item: str) -> Reference:
    """A reference that MMS has a variable for: it names its functional constraint."""
    reference = _reference(domain, item)
    if reference.path and reference.fc is None:
        raise ConfigurationError(f"{item!r} lacks its functional constraint: {item}[MX], [ST] or [CF]")
    return reference


def _overview(client: MmsClient) -> list[dict[str, Any]]:
    """A row for each logical device: its nodes, data sets and report control blocks."""
    plates = read_plates(client).plates
    rows = []
    for plate in progress(plates, what="logical devices", total=len(plates)):
        nodes = discover(client, [plate.domain]).logical_devices[plate.domain].logical_nodes
        rows.append(
            {
                "logical_device": plate.domain,
                "name": plate.name,
                "meter_id": plate.meter_id,
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


def _read(client: MmsClient, reference: Reference, name: str) -> Iterator[dict[str, Any]]:
    """A row for each leaf of one variable of the device called ``name``."""
    value = client.read(reference)
    for path, leaf in label(value, client.get_type(reference)):
        below = replace(reference, path=(*reference.path, *path.split("."))) if path else reference
        yield {"reference": str(below), "name": name, "value": plain(below.name, leaf)}
