"""``meter61850 identity``: operators and command issuers of a deployment."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from admin.exits import NotFoundError
from admin.lazy import new_app
from admin.options import DATA_DIR, DeploymentDir, Json, user_name
from admin.output import note, show
from admin.pending import finished, opened, pending
from bridge.store.audit import Kind
from broker.contract.errors import ConfigurationError
from broker.contract.roles import HOMEASSISTANTS, Role
from broker.mqtt.identity import KEY
from broker.mqtt.keypair import following
from registrar.identities import SERVICES, Identity
from registrar.transaction import Ending

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Identities of operators and command issuers.\n\n\b\nmeter61850 identity add anna --role operator",
)


class Staff(StrEnum):
    """Roles of people, of Home Assistant, and of the service of prepaid credit."""

    OPERATOR = "operator"
    ISSUER = "issuer"
    HOMEASSISTANT = "homeassistant"
    HOMEASSISTANT_ISSUER = "homeassistant-issuer"
    CREDIT = "credit"


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Small letters, digits, - and _.")],
    role: Annotated[
        Staff,
        typer.Option(
            help="An operator reads; an issuer may also switch relays; homeassistant: docs/home-assistant.md;"
            " credit: docs/credit.md."
        ),
    ],
    address_code: Annotated[
        list[str] | None,
        typer.Option(help="Only the meters with this address code; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write; default: DIR/identities/NAME.", show_default=False),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address of the broker for this person.", show_default=False)
    ] = "",
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Make an identity: a folder with a key and a certificate; hand it over in a safe way.

    One identity is one connection: a second one with the same identity ends the first.

    \b
    meter61850 identity add anna --role operator
    METER61850_MQTT_IDENTITY=data/identities/anna meter61850 subscribe
    """
    deployment = opened(folder)
    target = out or deployment.identity_folder(name)
    if target.exists() and {one.name for one in target.iterdir()} - {following(Path(KEY)).name}:
        raise ConfigurationError(f"{target} exists: choose another folder with --out, or remove it")
    codes = tuple(address_code or ())
    if any(not code or any(letter.isspace() for letter in code) for code in codes):
        raise ConfigurationError("--address-code: one code without spaces, several times for several")
    if codes and Role(role) in (*HOMEASSISTANTS, Role.CREDIT):
        raise ConfigurationError(f"--address-code: {role} gets all meters; leave it out")
    deployment.enlist(Identity(name, Role(role), codes), target, host=host, who=user_name())
    finished(deployment)
    note(f"{target}: METER61850_MQTT_IDENTITY={target} meter61850 …")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the identity.")],
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Remove an identity: revoke its certificates and end its rights.

    \b
    meter61850 identity remove anna
    """
    deployment = opened(folder)
    identity = deployment.identity_store.identity(name)
    if identity is None or identity.role is Role.METER:
        raise NotFoundError(f"identity {name!r} is not there: meter61850 identity list shows who is")
    if name in SERVICES:
        raise ConfigurationError(f"{name} is a service of ours: meter61850 credentials rotate {name}")
    with deployment.identity_store.change() as change:
        change.revoke(name)
        change.block(name, "removed")
        change.end_connection(name, Ending.REMOVE)
        change.note(Kind.CREDENTIALS_REVOKED, who=user_name(), identity=name, outcome="removed")
    finished(deployment)


@app.command("list")
def list_(as_json: Json = False, folder: DeploymentDir = DATA_DIR) -> None:
    """List the identities; pending: the broker has not confirmed the last change yet.

    \b
    meter61850 identity list --json | jq '.[] | select(.role == "issuer")'
    """
    deployment = opened(folder)
    store, waiting = deployment.identity_store, pending(deployment)
    ends = {one.name: one.not_after for one in store.certificates() if one.revoked is None}
    rows = [
        {
            "name": one.name,
            "role": str(one.role),
            "address codes": ", ".join(one.scope) or "all",
            "expires": ends.get(one.name),
            "blocked": one.blocked,
            "pending": one.name in waiting,
        }
        for one in store.identities()
    ]
    show(rows, as_json=as_json, empty="no identities")
