"""``meter61850 meters block`` and ``unblock``: shut a meter out within seconds, and let it in again."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from admin import directory
from admin.options import DATA_DIR, DATABASE, Database, DeploymentDir, Meter, user_name
from admin.output import note
from admin.stores import open_store
from bridge.audit import Kind
from registrar import blocking
from registrar.deployment import Deployment
from registrar.post import deliver_now
from registrar.trail import Trail


def block(
    meter: Meter,
    reason: Annotated[str, typer.Option(help="Why; shown in lists and to the audit.")],
    for_good: Annotated[
        bool, typer.Option("--for-good", help="Revoke its credential: to come back it must be enrolled anew.")
    ] = False,
    database: Database = DATABASE,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Cut a meter off, at once: it publishes nothing, receives nothing, and cannot connect again.

    Its relay stays as it is, and its readings stay in it. In MMS it is off, with quality invalid.

    \b
    meter61850 meters block "House 1" --reason "stolen from its cabinet"
    """
    deployment = Deployment.open(folder)
    meter_id = _meter_id(meter, database)
    blocking.block(deployment, meter_id, reason=reason, for_good=for_good)
    try:
        gone = asyncio.run(blocking.cut_off_now(deployment, meter_id))
    finally:  # last, since it may wait for the database
        Trail(deployment).note(
            Kind.METER_BLOCKED, who=user_name(), meter_id=meter_id, reason=reason, for_good=for_good
        )
    note(f"{meter_id} is " + ("cut off" if gone else "blocked; the broker is not there to be told"))


def unblock(meter: Meter, database: Database = DATABASE, folder: DeploymentDir = DATA_DIR) -> None:
    """Let a meter in again that was blocked; it comes back by itself, with all that it has kept.

    \b
    meter61850 meters unblock "House 1"
    """
    deployment = Deployment.open(folder)
    meter_id = _meter_id(meter, database)
    lives = blocking.unblock(deployment, meter_id)
    Trail(deployment).note(Kind.METER_UNBLOCKED, who=user_name(), meter_id=meter_id)
    asyncio.run(deliver_now(deployment))
    note(
        f"{meter_id} may come back"
        + ("" if lives else "; its credential was revoked: meter61850 meter enrol")
    )


def _meter_id(meter: str, database: str) -> str:
    """A meter_id needs no database."""
    exact = directory.exact(meter)
    if exact is not None:
        return exact
    with open_store(database) as store:
        return store.meter(meter).meter.meter_id
