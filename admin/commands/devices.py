"""``meter61850 devices``: which serial number is which meter."""

from __future__ import annotations

from typing import Annotated

import typer

from admin.lazy import new_app
from admin.options import DATA_DIR, DeploymentDir, Json, user_name
from admin.output import note, show
from admin.pending import opened
from registrar import devices, requests
from registrar.audit_queue import AuditQueue

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Serial numbers of the meters.\n\n\b\nmeter61850 devices list",
)


@app.command("list")
def list_(as_json: Json = False, folder: DeploymentDir = DATA_DIR) -> None:
    """List the serial number of every meter that enrolled with a code.

    \b
    meter61850 devices list
    """
    deployment = opened(folder)
    names = {one.meter_id: one.ask.name for one in requests.listed(deployment)}
    rows = [
        {"serial": serial, "meter_id": meter_id, "name": names.get(meter_id)}
        for serial, meter_id in devices.listed(deployment.identity_store)
    ]
    show(rows, as_json=as_json, empty="no device is known")


@app.command()
def forget(
    serial: Annotated[str, typer.Argument(metavar="SERIAL", help="As `devices list` shows it.")],
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Free a serial number, so that its device can be enrolled as another meter.

    If a thief has enrolled with this serial number: revoke the thief's credential, forget the serial number,
    and the true device can enrol. Refused while the meter that has it now has a credential.

    \b
    meter61850 credentials revoke "House 1"
    meter61850 devices forget PZEM-000017
    """
    deployment = opened(folder)
    meter_id = devices.forget(deployment.identity_store, serial, who=user_name())
    AuditQueue(deployment).move()
    note(f"{serial} is free; it was meter {meter_id}")
