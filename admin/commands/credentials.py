"""``meter61850 credentials``: certificates and tokens, and their replacement."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.exits import NotFoundError, RefusedError
from admin.lazy import new_app
from admin.meter_ids import identity_of
from admin.options import DATA_DIR, DATABASE, Database, DeploymentDir, Json, duration, meter_names, user_name
from admin.output import note, show
from admin.pending import finished, opened, pending
from broker.contract.errors import ConfigurationError
from broker.contract.roles import Role
from registrar import renewal, rotation
from registrar.deployment import Deployment
from registrar.identities import SERVICES, Certificate, Identity, fingerprint

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Certificates and tokens: list, replace, revoke.\n\n\b\nmeter61850 credentials list",
)
SERVER = "server"
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A person or a meter: name or meter_id.", autocompletion=meter_names),
]
SPARE = ("serial", "ends", "revoked", "pending", "blocked", "kind", "authority")
"""Columns that a narrow terminal does without."""
Overlap = Annotated[
    str, typer.Option(metavar="TIME", help="Time until the old certificates end: 0h, 24h, 7d.")
]


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Include revoked and expired ones.")] = False,
    as_json: Json = False,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """List every certificate and token; pending: the broker has not confirmed the last change yet.

    \b
    meter61850 credentials list
    meter61850 credentials list --json | jq '.[] | select(.expires < "2027-01").name'
    """
    deployment = opened(folder)
    store = deployment.identity_store
    owners = {one.name: one for one in store.identities()}
    names, waiting = _authorities(deployment), pending(deployment)
    rows = [_row(owners.get(one.name), one, names) for one in store.certificates()]
    rows += [_token(one) for one in owners.values() if one.token]
    rows = [row | {"pending": row["name"] in waiting} for row in rows]
    now = datetime.now(UTC)
    kept = [row for row in rows if everything or (row["revoked"] is None and (row["expires"] or now) >= now)]
    show(
        sorted(kept, key=lambda row: (row["role"], row["name"])),
        as_json=as_json,
        empty="no credentials",
        spare=SPARE,
    )


@app.command()
def rotate(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A service, a person, a meter, or `server`.",
            show_default=False,
            autocompletion=meter_names,
        ),
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="Server, services, all meters, and people whose folder is in DIR.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The person's identity folder, if not in DIR.", show_default=False)
    ] = None,
    overlap: Overlap = "24h",
    database: Database = DATABASE,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Replace keys and certificates: a meter requests them, all others find them in their folder.

    Programs take the new one at their next connection.

    \b
    meter61850 credentials rotate bridge
    meter61850 credentials rotate --all
    """
    if (name is None) == (not everyone):
        raise ConfigurationError("say whose credentials, or --all")
    deployment = opened(folder)
    span = duration(overlap, option="--overlap")
    named = (
        [] if name in (None, SERVER) else [_known(deployment, identity_of(deployment, str(name), database))]
    )
    if named and named[0].token:
        raise ConfigurationError(f"{name} has a token: `credentials revoke {name}`, then it enrols anew")
    identities = _everyone(deployment) if name is None else named
    done: list[str] = []
    if name in (None, SERVER):
        rotation.rotate_server(deployment, who=user_name())
        done.append(SERVER)
    for identity in identities:
        if identity.role is not Role.METER:
            target = out or deployment.identity_folder(identity.name)
            renewal.rotate(deployment, identity, target, overlap=span, who=user_name())
            done.append(identity.name)
    meters = [one.name for one in identities if one.role is Role.METER and not one.token]
    renewal.want_renewed(deployment, meters)  # in the audit when it has done so
    finished(deployment)
    note(f"{len(done)} replaced, {len(meters)} meters are requested to renew")


@app.command()
def revoke(name: Name, database: Database = DATABASE, folder: DeploymentDir = DATA_DIR) -> None:
    """Revoke all credentials of an identity for good: a meter is disconnected and must enrol again.

    \b
    meter61850 credentials revoke "House 1"
    meter61850 credentials revoke anna
    """
    if name in SERVICES:
        raise ConfigurationError(
            f"{name} is a service of ours: meter61850 credentials rotate {name} --overlap 0h"
        )
    deployment = opened(folder)
    count = renewal.revoke(deployment, identity_of(deployment, name, database), who=user_name())
    finished(deployment)
    note(f"{count} revoked")


@app.command("rotate-ca")
def rotate_ca(overlap: Overlap = "24h", folder: DeploymentDir = DATA_DIR) -> None:
    """Make a new authority that signs from now on; the old one stays trusted until `retire-ca`.

    Services get new certificates at once; meters request theirs when they are notified.

    \b
    meter61850 credentials rotate-ca
    meter61850 credentials list --json | jq -r '.[] | select(.authority == "previous").name'
    meter61850 credentials retire-ca
    """
    deployment = opened(folder)
    rotation.rotate_authority(deployment, overlap=duration(overlap, option="--overlap"), who=user_name())
    finished(deployment)
    note(f"{len(rotation.dependent(deployment))} have a certificate of the authority before only")


@app.command("retire-ca")
def retire_ca(
    force: Annotated[bool, typer.Option("--force", help="Do it although this locks identities out.")] = False,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Stop trusting the old authority; refused while an identity depends on it.

    \b
    meter61850 credentials retire-ca
    """
    deployment = opened(folder)
    left = rotation.dependent(deployment)
    if left and not force:
        raise RefusedError(
            f"{len(left)} would be locked out: {', '.join(left[:5])}{' …' if len(left) > 5 else ''}; "
            "wait until they have connected, rotate them, or say --force"
        )
    rotation.retire_authority(deployment, who=user_name())
    finished(deployment)


def _everyone(deployment: Deployment) -> list[Identity]:
    return [
        one
        for one in deployment.identity_store.identities()
        if not one.blocked and (one.role is Role.METER or deployment.identity_folder(one.name).exists())
    ]


def _known(deployment: Deployment, name: str) -> Identity:
    identity = deployment.identity_store.identity(name)
    if identity is None:
        raise NotFoundError(f"no identity {name!r}: meter61850 credentials list shows all")
    return identity


def _authorities(deployment: Deployment) -> dict[str, str]:
    """Fingerprint → what we call it."""
    words = ("current", "previous")
    services = fingerprint(deployment.authority("services").certificate)
    return {services: "current"} | {
        fingerprint(one.certificate): word for one, word in zip(deployment.authorities(), words, strict=False)
    }


def _row(owner: Identity | None, one: Certificate, authorities: dict[str, str]) -> dict[str, Any]:
    return {
        "name": one.name,
        "role": str(owner.role) if owner else "removed",
        "kind": "certificate",
        "serial": f"{one.serial:x}",
        "authority": authorities.get(one.authority, "retired"),
        "expires": one.not_after,
        "ends": one.ends,
        "revoked": one.revoked,
        "blocked": (owner.blocked if owner else "") or None,
    }


def _token(owner: Identity) -> dict[str, Any]:
    empty = dict.fromkeys(("serial", "authority", "expires", "ends", "revoked"))
    return {
        "name": owner.name,
        "role": str(owner.role),
        "kind": "token",
        **empty,
        "blocked": owner.blocked or None,
    }
